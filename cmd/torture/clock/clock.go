// Package clock holds the rows in which time jumps and calls panic.
//
//	A8   a bug strikes in one call's media: the others lose nothing
//	A10  the wall clock is set back and forth under live calls
//
// A10 runs the real binary, and only its wall clock is moved: see package fault.
// A8 has no seam in the binary, and must have none; it runs the media engine
// with a call whose sink panics, which is where a bug on foreign bytes ends up.
package clock

import (
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"siprecd/cmd/torture/calls"
	"siprecd/cmd/torture/fault"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
	"siprecd/store"
)

// Rows are A8 and A10 of the goal table.
func Rows() []rig.Row {
	return []rig.Row{
		{ID: "A8", What: "a panic in one call's media", Rounds: 50, Short: 3, Run: panics},
		{ID: "A10", What: "the wall clock jumps under live calls", Rounds: 14, Short: 3, Needs: []rig.Need{fault.Possible()}, Run: jumps},
	}
}

const day = 24 * time.Hour

// talk is how long a call of A10 is.
const talk = 2500 * time.Millisecond

// jumper moves the clock of a server.
type jumper struct {
	lab *rig.Lab
	s   *rig.Server
	inj *fault.Injector

	known     map[string]bool // recordings of earlier rounds
	off       []time.Duration // by which recordings are longer or shorter than the client's calls
	backwards int             // recordings that end before they begin, or take no time
}

// jumps moves the clock in the midst of calls, and back in the midst of others.
func jumps(l *rig.Lab) error {
	s, err := l.Server("store.segment=5s")
	if err != nil {
		return err
	}
	inj, err := fault.New(l, s)
	if err != nil {
		return err
	}
	if err := inj.OwnClock(); err != nil {
		return err
	}
	if _, err := s.Start(); err != nil {
		return err
	}
	j := &jumper{lab: l, s: s, inj: inj, known: map[string]bool{}}
	steps := []time.Duration{-day, 3650 * day, -time.Second, day, time.Hour, -time.Hour, 90 * time.Minute}
	for round := range l.Rounds {
		to := steps[round/2%len(steps)]
		if round%2 == 1 {
			to = 0 // back again
		}
		if err := j.round(to); err != nil {
			return fmt.Errorf("jump to %v: %w", to, err)
		}
	}
	rows, err := calls.List(l, s, time.Time{})
	if err != nil {
		return err
	}
	slices.Sort(j.off)
	l.Count("recordings there at the end", len(rows), 2*l.Rounds)
	l.Count("recordings that end before they begin, or take no time", j.backwards, 0)
	l.AtMost("a recording's length is off by, median", j.off[len(j.off)/2], off(l, 20*time.Millisecond))
	l.AtMost("and at the most", j.off[len(j.off)-1], off(l, 300*time.Millisecond))
	if code := s.Stop(unix.SIGTERM); code != 0 {
		return fmt.Errorf("stopped with %d", code)
	}
	return calls.Verify(l, s.Dir)
}

// off is how far off a length may be; the short form, with every look at the
// clock answered by a busy machine, need only tell it from a jump.
func off(l *rig.Lab, goal time.Duration) time.Duration {
	if l.Short {
		return 10 * goal
	}
	return goal
}

// round has two calls live while the clock jumps.
func (j *jumper) round(to time.Duration) error {
	l, s := j.lab, j.s
	done := calls.Place(l, l, s, siprectest.Options{Calls: 2, Duration: talk})
	if err := l.Await("live calls with audio on disk", 10*time.Second, func() bool { return calls.Stored(s, 500*time.Millisecond) }); err != nil {
		return err
	}
	j.inj.Clock(to)
	rep := <-done
	if rep.Totals.Completed != 2 {
		return fmt.Errorf("calls did not come to their end: %v", rep)
	}
	if err := j.moved(to); err != nil {
		return err
	}
	var rows []store.Row
	err := l.Await("the recordings are finished", 10*time.Second, func() bool {
		all, err := calls.List(l, s, time.Time{})
		rows = slices.DeleteFunc(all, func(r store.Row) bool { return j.known[r.ID] || r.State != store.Finished })
		return err == nil && len(rows) == 2
	})
	if err != nil {
		return err
	}
	talked := []float64{rep.Calls[0].TalkSeconds, rep.Calls[1].TalkSeconds}
	lasted := []float64{rows[0].Duration, rows[1].Duration}
	slices.Sort(talked)
	slices.Sort(lasted)
	for i, row := range rows {
		j.known[row.ID] = true
		j.off = append(j.off, time.Duration(math.Abs(lasted[i]-talked[i])*float64(time.Second)))
		if row.Duration <= 0 || !row.Ended.After(row.Started) {
			j.backwards++
			l.Logf("%s: from %v to %v, %v s", row.ID, row.Started, row.Ended, row.Duration)
		}
	}
	return nil
}

// moved makes sure that the server's clock is where it was put: else the row
// would show nothing.
func (j *jumper) moved(to time.Duration) error {
	began := time.Now()
	st, err := j.s.Status()
	if err != nil {
		return err
	}
	took := time.Since(began)
	text, _ := st["at"].(string)
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return err
	}
	if d := time.Until(at); (d - to).Abs() > 500*time.Millisecond+took {
		return fmt.Errorf("the server's clock is %v off: the rig does not work here", d)
	}
	return nil
}
