package disk

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"siprecd/cmd/torture/calls"
	"siprecd/cmd/torture/fault"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
	"siprecd/store"
)

// steps counts the operations of one call's life and of one start, then fails
// each of them once, alone: with EIO, and every third with ENOSPC. With fewer
// rounds than operations it takes them at even distances.
func steps(l *rig.Lab) error {
	s, err := l.Server("store.segment=5s")
	if err != nil {
		return err
	}
	inj, err := fault.New(l, s)
	if err != nil {
		return err
	}
	st := &stepper{lab: l, s: s, inj: inj}
	if err := st.starts(max(2, l.Rounds/4)); err != nil {
		return err
	}
	if err := st.calls(max(3, l.Rounds-l.Rounds/4)); err != nil {
		return err
	}
	s.Kill()
	if _, err := s.Start(); err != nil {
		return fmt.Errorf("start after all of it: %w", err)
	}
	if code := s.Stop(unix.SIGTERM); code != 0 {
		return fmt.Errorf("stopped with %d", code)
	}
	l.Count("panics", strings.Count(s.Output(), "panic")+strings.Count(s.Output(), "goroutine "), 0)
	l.Figure("steps that were failed", fmt.Sprint(st.failed), "> 0", st.failed > 0)
	l.Count("recordings called complete that are not", st.untrue, 0)
	l.Count("calls answered with 200 and not kept", st.lost, 0)
	l.Figure("calls refused with 503", fmt.Sprint(st.refused), "told", true)
	l.Figure("starts refused with a reason", fmt.Sprint(st.noStart), "told", true)
	return calls.Verify(l, s.Dir)
}

type stepper struct {
	lab *rig.Lab
	s   *rig.Server
	inj *fault.Injector

	failed, untrue, lost, refused, noStart int
}

// fail has operation n fail, and says afterwards whether it came to that.
func (st *stepper) fail(n int) (hit func() bool) {
	var mu sync.Mutex
	done := false
	st.inj.Judge(func(op fault.Op) fault.Answer {
		if op.N != n {
			return fault.Answer{}
		}
		mu.Lock()
		defer mu.Unlock()
		done = true
		if n%3 == 0 {
			return fault.Answer{Err: unix.ENOSPC}
		}
		return fault.Answer{Err: unix.EIO}
	})
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		return done
	}
}

// starts fails the steps of a start: it may refuse, with a reason; the next one
// must work.
func (st *stepper) starts(rounds int) error {
	st.inj.Judge(nil)
	if _, err := st.s.Start(); err != nil {
		return err
	}
	st.s.Kill() // the next start has something to recover
	st.inj.Judge(nil)
	if _, err := st.s.Start(); err != nil {
		return err
	}
	all := st.inj.Count()
	st.s.Kill()
	st.lab.Logf("a start has %d steps", all)
	for n := range spread(all, rounds) {
		hit := st.fail(n)
		_, err := st.s.Start()
		if hit() {
			st.failed++
		}
		if err != nil {
			st.noStart++
			if !strings.Contains(st.s.Output(), "siprecd: ") {
				return fmt.Errorf("step %d of a start: %w, and it does not say why", n, err)
			}
		}
		st.s.Kill()
		st.inj.Judge(nil)
		if _, err := st.s.Start(); err != nil {
			return fmt.Errorf("the start after one whose step %d failed: %w", n, err)
		}
		st.s.Kill()
	}
	return nil
}

// spread gives so many numbers from 1 to all, at even distances.
func spread(all, rounds int) func(func(int) bool) {
	return func(yield func(int) bool) {
		rounds = min(rounds, all)
		for i := range rounds {
			if !yield(1 + i*all/rounds) {
				return
			}
		}
	}
}

// calls fails the steps of a call's life, one in each call.
func (st *stepper) calls(rounds int) error {
	if _, err := st.s.Start(); err != nil {
		return err
	}
	if err := st.call(); err != nil { // also makes what only the first call makes
		return err
	}
	st.inj.Judge(nil)
	if err := st.call(); err != nil {
		return err
	}
	all := st.inj.Count()
	st.lab.Logf("a call has %d steps", all)
	for n := range spread(all, rounds) {
		hit := st.fail(n)
		if err := st.call(); err != nil {
			return fmt.Errorf("step %d of a call: %w", n, err)
		}
		if hit() {
			st.failed++
		}
	}
	return nil
}

// life is how long a call of this row speaks.
const life = 700 * time.Millisecond

// call places one call and judges what is kept of it.
func (st *stepper) call() error {
	l, s := st.lab, st.s
	began := time.Now()
	rep := <-calls.Place(l, l, s, siprectest.Options{Duration: life, Timeout: 5 * time.Second})
	if s.Ended() {
		return fmt.Errorf("the recorder ended")
	}
	if len(rep.Calls) != 1 {
		return l.Err()
	}
	if code := rep.Calls[0].Code; code != 200 {
		if code != 503 {
			return fmt.Errorf("answered with %d: %v", code, rep.Calls[0])
		}
		st.refused++
		l.Logf("refused: %v", rep.Calls[0])
		return l.Await("readiness", maxResume, func() bool { return s.Get("/readyz") == http.StatusOK })
	}
	err := l.Await("the recording is finished and all is well", 10*time.Second, func() bool {
		return finished(l, s, began, 1) && s.Get("/readyz") == http.StatusOK
	})
	if err != nil {
		st.lost++
		return err
	}
	return st.judge(began)
}

// judge compares what the newest recording claims with what it holds.
func (st *stepper) judge(began time.Time) error {
	holder, err := calls.Identity(st.s.Dir)
	if err != nil {
		return err
	}
	d, err := calls.Open(st.lab, st.s.Dir)
	if err != nil {
		return err
	}
	for row, err := range d.List(st.lab, store.Query{From: began.Truncate(time.Millisecond)}) {
		if err != nil {
			return err
		}
		h, err := calls.Hear(st.lab, d, row.ID, holder)
		listed := 0
		for _, g := range h.Manifest.Gaps {
			if g.Reason == "not stored" {
				listed += g.Packets
			}
		}
		if err != nil || h.Filled() != listed || row.Duration < life.Seconds()-0.1 && !row.Interrupted {
			st.untrue++
			st.lab.Logf("%s: %v, %d of %d packets are filled, %d listed, %v s", row.ID, err, h.Filled(), len(h.Packets), listed, row.Duration)
		}
	}
	return d.Close(st.lab)
}
