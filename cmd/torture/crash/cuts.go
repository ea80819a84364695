package crash

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"siprecd/cmd/torture/calls"
	"siprecd/cmd/torture/fault"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
	"siprecd/store"
)

// cuts takes the power away under live calls that come and go.
func cuts(l *rig.Lab) error {
	b, err := NewBench(l, 512)
	if err != nil {
		return err
	}
	c := &cutter{lab: l, bench: b}
	if err := c.run("data", l.Rounds, nil); err != nil {
		return err
	}
	l.Figure("recordings looked at after a cut", fmt.Sprint(c.looked), "> 0", c.looked > 0)
	l.Count("cuts with acknowledged audio, recordings or files lost", c.lost, 0)
	l.Count("starts that failed", c.failed, 0)
	l.Within("slowest recovery", c.slowest, maxReady)
	if err := l.Err(); err != nil {
		return err
	}
	n := min(20, max(2, l.Rounds/10))
	for name, lies := range map[string]func(fault.Op) bool{
		"no sync of the databases": func(op fault.Op) bool { return strings.HasSuffix(op.Path, ".db") },
		"no sync at all":           func(fault.Op) bool { return true },
	} {
		control := &cutter{lab: l, bench: b, quiet: true}
		if err := control.run(strings.ReplaceAll(name, " ", "-"), n, lies); err != nil {
			return err
		}
		l.Control(name, control.caught, n)
	}
	return folderControl(l, b, n)
}

// cutter runs a server on the bench and cuts.
type cutter struct {
	lab    *rig.Lab
	bench  *Bench
	quiet  bool // losses are wanted
	holder age.Identity
	over   map[string]bool // listed as finished at the cut before

	looked, lost, failed, caught int
	slowest                      time.Duration
}

// run makes so many cuts. Operations for which lies is true are not synced.
func (c *cutter) run(name string, rounds int, lies func(fault.Op) bool) error {
	l := c.lab
	s, err := l.ServerIn(filepath.Join(c.bench.Inner, name), "store.segment=5s")
	if err != nil {
		return err
	}
	defer s.Kill()
	if c.holder, err = calls.Identity(s.Dir); err != nil {
		return err
	}
	if lies != nil {
		inj, err := fault.New(l, s)
		if err != nil {
			return err
		}
		inj.Judge(func(op fault.Op) fault.Answer { return fault.Answer{Lie: op.Kind == fault.Sync && lies(op)} })
	}
	if _, err := s.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(l)
	done := calls.Place(ctx, l, s, siprectest.Options{Calls: 100000, Concurrent: 10, Rate: 4, Duration: 6 * time.Second})
	defer func() { cancel(); <-done }()
	if err := l.Await("live calls with audio on disk", 20*time.Second, func() bool { return calls.Stored(s, time.Second) }); err != nil {
		return err
	}
	for round := range rounds {
		pause(l, rand.N(300*time.Millisecond))
		if err := c.cut(s, round); err != nil {
			return fmt.Errorf("cut %d: %w", round, err)
		}
		if round%100 == 99 {
			l.Logf("%d cuts, %d recordings looked at, %d lost", round+1, c.looked, c.lost)
		}
	}
	return nil
}

// pause waits, or until the row is given up.
func pause(l *rig.Lab, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.Done():
	}
}

// cut notes what is acknowledged, takes the power away and compares.
func (c *cutter) cut(s *rig.Server, round int) error {
	known := map[string]calls.Seen{}
	if err := calls.Look(s, known); err != nil {
		return err
	}
	rows, err := calls.List(c.lab, s, time.Now().Add(-15*time.Second))
	if err != nil {
		return err
	}
	// A list may show what is a moment from being synced: what it showed at the
	// cut before counts as acknowledged.
	over := map[string]bool{}
	for _, row := range rows {
		if row.State == store.Finished {
			over[row.ID] = true
		}
		if c.over[row.ID] {
			known[row.ID] = calls.Seen{Over: true, Stored: time.Duration(row.Duration * float64(time.Second))}
		}
	}
	c.over = over
	restore, err := c.bench.Cut()
	if err != nil {
		if c.quiet {
			c.caught++
			return nil
		}
		return err
	}
	bad := c.inspect(c.bench.At(s.Dir), known, round%50 == 49)
	if bad != nil && !c.quiet {
		c.lab.Logf("cut %d: %v", round, bad)
	}
	if bad != nil {
		c.lost++
		c.caught++
	}
	return restore()
}

// inspect starts the store on what the cut has left and says what is not there.
func (c *cutter) inspect(dir string, known map[string]calls.Seen, whole bool) (bad error) {
	began := time.Now()
	st, err := store.Open(c.lab, store.Options{Dir: dir, Segment: 5 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		c.failed++
		return fmt.Errorf("start: %w", err)
	}
	c.slowest = max(c.slowest, time.Since(began))
	for id, k := range known {
		c.looked++
		if err := c.kept(st, id, k); err != nil && bad == nil {
			bad = err
		}
	}
	if err := st.Close(c.lab); err != nil && bad == nil {
		bad = err
	}
	if whole && bad == nil {
		bad = calls.Verify(c.lab, dir)
	}
	return bad
}

// kept says what is wrong with a recording that was acknowledged so far.
func (c *cutter) kept(st *store.Store, id string, k calls.Seen) error {
	row, err := st.Get(id)
	if err != nil {
		return err
	}
	have := time.Duration(row.Duration * float64(time.Second))
	if row.State != store.Finished || k.Over && row.Interrupted || have+20*time.Millisecond < k.Stored {
		return fmt.Errorf("%s: %v of %v, state %s, was finished: %v", id, have, k.Stored, row.State, k.Over)
	}
	_, err = calls.Hear(c.lab, st, id, c.holder)
	return err
}

// folderControl writes files by the recorder's own way with its last step left
// out, the sync of the folder, and cuts at once: that the name is gone must be
// seen. With the step it must not be.
func folderControl(l *rig.Lab, b *Bench, n int) error {
	caught, held := 0, 0
	for i := range n {
		gone, err := putAndCut(b, fmt.Sprintf("without-%d", i), false)
		if err != nil {
			return err
		}
		if gone {
			caught++
		}
		if gone, err = putAndCut(b, fmt.Sprintf("with-%d", i), true); err != nil {
			return err
		}
		if !gone {
			held++
		}
	}
	l.Control("no sync of a folder", caught, n)
	l.Count("files written with all steps and there after a cut", held, n)
	return nil
}
