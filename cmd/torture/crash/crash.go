// Package crash holds the rows that end the recorder at the worst moment.
//
//	A1  kill -9 with live calls, again and again on one folder
//	A2  power cuts: an atomic copy of the disk below the recorder's file system
//	A3  power cuts during the very first start
//
// What a recorder has acknowledged is learnt from outside: a 200 OK to an
// INVITE says that the call will be listed, and /status says of each live call
// how much of it is on disk (stored_seconds). What was sent is the time since
// the call's first sample.
package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"siprecd/cmd/torture/calls"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
	"siprecd/store"
)

// Rows are A1 to A3 of the goal table.
func Rows() []rig.Row {
	return []rig.Row{
		{ID: "A1", What: "kill -9 at random moments, 200 live calls (12 in the short form)", Rounds: 500, Short: 2, Run: kills},
		{ID: "A2", What: "power cut at random moments under live calls", Rounds: 1000, Short: 6,
			Needs: []rig.Need{rig.Root(), rig.Loop(), rig.Tool("mkfs.xfs"), rig.Tool("mkfs.ext4")}, Run: cuts},
		{ID: "A3", What: "power cut during the first start", Rounds: 300, Short: 5,
			Needs: []rig.Need{rig.Root(), rig.Loop(), rig.Tool("mkfs.xfs"), rig.Tool("mkfs.ext4")}, Run: firstStarts},
	}
}

// Goals of A1, and how many rounds use one folder.
const (
	maxLoss   = time.Second
	maxReady  = 3 * time.Second
	maxLive   = 5 * time.Second // for what is dead
	perFolder = 20
)

// maxLost is the goal as the short form judges it, too: a sync of a second, on a
// machine that does other things as well, is no fault of the recorder's.
func maxLost(l *rig.Lab) time.Duration {
	if l.Short {
		return 3 * maxLoss
	}
	return maxLoss
}

// account sums up the rounds of a row.
type account struct {
	recordings, lostAcked, absent, live, unlisted int
	worst, ready                                  time.Duration
	sumLoss                                       time.Duration
	losses                                        int
}

func kills(l *rig.Lab) error {
	live := 200
	if l.Rounds <= 5 {
		live = 12
	}
	var sum account
	var s *rig.Server
	for round := range l.Rounds {
		if round%perFolder == 0 {
			if s != nil {
				if err := retire(l, s); err != nil {
					return err
				}
			}
			var err error
			if s, err = l.Server("store.segment=5s"); err != nil {
				return err
			}
			if _, err := s.Start(); err != nil {
				return err
			}
		}
		if err := killRound(l, s, plan{calls: live, live: 300*time.Millisecond + rand.N(2200*time.Millisecond)}, &sum); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if round%25 == 24 {
			l.Logf("%d rounds: %+v", round+1, sum)
		}
	}
	if err := retire(l, s); err != nil {
		return err
	}
	sum.figures(l)
	return killControl(l)
}

// killControl takes the journal away between kill and start: that must be seen.
func killControl(l *rig.Lab) error {
	s, err := l.Server("store.segment=5s")
	if err != nil {
		return err
	}
	if _, err := s.Start(); err != nil {
		return err
	}
	var sum account
	err = killRound(l, s, plan{calls: 4, live: 5 * time.Second, between: func() error {
		names, err := filepath.Glob(filepath.Join(s.Dir, "journal", "journal-*.db"))
		for _, name := range names {
			err = errors.Join(err, os.Remove(name))
		}
		return err
	}}, &sum)
	s.Kill()
	l.Control("the journal is taken away", sum.lostAcked, sum.losses)
	return err
}

// plan is how one round goes.
type plan struct {
	calls   int
	live    time.Duration // until the kill
	between func() error  // after the kill and before the start
}

func (a *account) figures(l *rig.Lab) {
	l.Figure("recordings interrupted", fmt.Sprint(a.losses), "> 0", a.losses > 0)
	l.AtMost("most lost of a call by a kill", a.worst, maxLost(l))
	l.Figure("lost on average", (a.sumLoss / time.Duration(max(1, a.losses))).Round(time.Millisecond).String(), "told", true)
	l.Count("recordings with acknowledged audio lost", a.lostAcked, 0)
	l.Count("recordings answered with 200 and not listed", a.absent, 0)
	l.Count("recordings left live", a.live, 0)
	l.Count("interruptions without start, end or mark", a.unlisted, 0)
	l.Within("slowest to be ready again", a.ready, maxReady)
}

// killRound places calls, kills the server in their midst, starts it again and
// compares.
func killRound(l *rig.Lab, s *rig.Server, p plan, sum *account) error {
	ctx, cancel := context.WithCancel(l)
	defer cancel()
	began := time.Now()
	done := calls.Place(ctx, l, s, siprectest.Options{Calls: p.calls, Rate: float64(p.calls), Duration: time.Minute, Faults: siprectest.Faults{NoBye: true}})
	known := map[string]calls.Seen{}
	kill := time.Now().Add(p.live)
	for time.Now().Before(kill) {
		if err := calls.Look(s, known); err != nil {
			return err
		}
		if err := l.Await("the next look", time.Until(kill)+time.Second, soon(kill)); err != nil {
			return err
		}
	}
	if err := calls.Look(s, known); err != nil {
		return err
	}
	at := time.Now()
	s.Kill()
	cancel()
	rep := <-done
	if p.between != nil {
		if err := p.between(); err != nil {
			return err
		}
	}
	took, err := s.Start()
	if err != nil {
		return err
	}
	sum.ready = max(sum.ready, took)
	_ = l.Await("nothing is live", l.Ease(maxLive), func() bool { // what is live then is counted
		rows, err := calls.List(l, s, began)
		return err == nil && !slices.ContainsFunc(rows, func(r store.Row) bool { return r.State == store.Live })
	})
	answered := 0
	for _, c := range rep.Calls {
		if c.Code == 200 {
			answered++
		}
	}
	return sum.compare(l, s, round{began: began, killed: at, answered: answered, known: known})
}

// soon is true when it is time for the next look: a third of a second on, or
// the time of the kill.
func soon(kill time.Time) func() bool {
	next := time.Now().Add(300 * time.Millisecond)
	return func() bool { now := time.Now(); return now.After(next) || now.After(kill) }
}

// round is what is known of one when the recorder is up again.
type round struct {
	began, killed time.Time
	answered      int // INVITEs that got their 200
	known         map[string]calls.Seen
}

// compare holds what the store lists against what was known.
func (a *account) compare(l *rig.Lab, s *rig.Server, r round) error {
	rows, err := calls.List(l, s, r.began)
	if err != nil {
		return err
	}
	a.recordings += len(rows)
	if n := r.answered - len(rows); n > 0 {
		a.absent += n
	}
	for _, row := range rows {
		if row.State == store.Live {
			a.live++
		}
		if !row.Interrupted || row.Started.IsZero() || row.Ended.Before(row.Started) || row.Cause == "" {
			a.unlisted++
		}
		k, ok := r.known[row.ID]
		if !ok {
			k.Since = row.Started
		}
		delete(r.known, row.ID)
		have := time.Duration(row.Duration * float64(time.Second))
		lost := r.killed.Sub(k.Since) - have
		a.worst, a.sumLoss, a.losses = max(a.worst, lost), a.sumLoss+max(0, lost), a.losses+1
		if have+20*time.Millisecond < k.Stored { // the pre-skip is no audio
			a.lostAcked++
			l.Logf("%s has %v, %v was acknowledged", row.ID, have, k.Stored)
		}
	}
	a.absent += len(r.known)
	return nil
}

// retire stops a server, verifies its folder and plays one recording of it. Its
// ports go to the next one: a long row has more servers than there are ports.
func retire(l *rig.Lab, s *rig.Server) error {
	defer s.Retire()
	if code := s.Stop(15); code != 0 {
		return fmt.Errorf("stopped with %d", code)
	}
	if err := calls.Verify(l, s.Dir); err != nil {
		return err
	}
	rows, err := s.List("--limit", "1")
	if err != nil || len(rows) == 0 {
		return fmt.Errorf("%d recordings listed: %w", len(rows), err)
	}
	_, err = s.Export(rows[0].ID)
	return err
}
