package disk

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"siprecd/cmd/torture/calls"
	"siprecd/cmd/torture/fault"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
)

// stall holds every write, sync and change of a name up, with calls live.
func stall(l *rig.Lab) error {
	s, err := l.Server("store.segment=5s")
	if err != nil {
		return err
	}
	inj, err := fault.New(l, s)
	if err != nil {
		return err
	}
	if _, err := s.Start(); err != nil {
		return err
	}
	hold, live := 30*time.Second, 100
	if l.Rounds == 1 {
		hold, live = 16*time.Second, 5
	}
	ctx, cancel := context.WithCancel(l)
	defer cancel()
	began := time.Now()
	lasting := hold + 8*time.Second + time.Duration(live)*50*time.Millisecond
	done := calls.Place(ctx, l, s, siprectest.Options{Calls: live, Rate: 40, Duration: lasting})
	if err := l.Await("all calls live, with audio on disk", 30*time.Second, func() bool { return liveCalls(s) == live && calls.Stored(s, 2*time.Second) }); err != nil {
		return err
	}
	// One call ends while nothing can be written.
	short := calls.Place(ctx, l, s, siprectest.Options{Duration: 3 * time.Second, Timeout: hold})
	if err := l.Await("one call more", 10*time.Second, func() bool { return liveCalls(s) == live+1 }); err != nil {
		return err
	}
	before := memory(s.Pid(), "VmRSS")
	if err := forgetPeak(s.Pid()); err != nil {
		return err
	}
	thaw := freeze(inj)
	defer thaw()
	frozen := time.Now()
	end := time.AfterFunc(hold, thaw)
	defer end.Stop()
	if err := during(l, s, frozen, hold); err != nil {
		return err
	}
	back := frozen.Add(hold)
	if err := l.Await("all waiting audio on disk", 20*time.Second, func() bool { return s.Get("/readyz") == http.StatusOK && waiting(s) < l.Ease(time.Second).Seconds() }); err != nil {
		return err
	}
	l.Within("recording again within", time.Since(back), maxResume)
	grown := memory(s.Pid(), "VmHWM") - before
	l.Figure("memory added at the most", fmt.Sprintf("%.1f MiB for %d calls", float64(grown)/(1<<20), live), "≤ 64 MiB", grown <= 64<<20)
	rep, one := <-done, <-short
	return afterStall(l, s, began, live, rep.Totals.Completed+one.Totals.Completed)
}

// afterStall looks at what is kept of the calls.
func afterStall(l *rig.Lab, s *rig.Server, began time.Time, live, completed int) error {
	l.Count("calls that came to their end", completed, live+1)
	if err := l.Await("all recordings finished", 20*time.Second, func() bool { return finished(l, s, began, live+1) }); err != nil {
		return err
	}
	var g ledger
	if err := g.read(l, s, began, 0); err != nil {
		return err
	}
	g.figures(l, "stall", g.recordings)
	l.Figure("recordings", fmt.Sprint(g.recordings), fmt.Sprintf("≥ %d", live+1), g.recordings > live)
	l.AtMost("lost of a call by the stall", g.gap, 0)
	return nil
}

// freeze holds every change of the disk up until it is called.
func freeze(inj *fault.Injector) (thaw func()) {
	end := make(chan struct{})
	inj.Judge(func(op fault.Op) fault.Answer {
		if op.Kind == fault.Open {
			return fault.Answer{}
		}
		return fault.Answer{After: end}
	})
	return sync.OnceFunc(func() {
		inj.Judge(nil)
		close(end)
	})
}

// during is what must hold while the disk stands still: the status answers, and
// a new call is refused at once as soon as it is known that it could not be kept.
func during(l *rig.Lab, s *rig.Server, frozen time.Time, hold time.Duration) error {
	code, took := try(l, l, s)
	l.Logf("a call placed as the disk stops gets %d after %v", code, took)
	l.Within("answer to a call placed as the disk stops", took, 6*time.Second)
	if err := l.Await("an alarm", 5*time.Second, func() bool { return s.Get("/readyz") == http.StatusServiceUnavailable }); err != nil {
		return err
	}
	code, took = try(l, l, s)
	l.Count("answer to a call placed later", code, 503)
	l.Within("refused within", took, maxRefusal)
	slowest := time.Duration(0)
	for time.Since(frozen) < hold-100*time.Millisecond {
		at := time.Now()
		if s.Get("/status") != http.StatusOK {
			return fmt.Errorf("the status does not answer while the disk stands still")
		}
		slowest = max(slowest, time.Since(at))
		next := time.Now().Add(500 * time.Millisecond)
		if err := l.Await("the next look", time.Second, func() bool { return time.Now().After(next) }); err != nil {
			return err
		}
	}
	l.Within("slowest status page", slowest, time.Second)
	return nil
}

func liveCalls(s *rig.Server) int {
	known := map[string]calls.Seen{}
	if calls.Look(s, known) != nil {
		return -1
	}
	return len(known)
}
