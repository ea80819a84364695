package recorder_test

import (
	"strings"
	"testing"
	"time"

	"siprecd/recorder/guard"
	"siprecd/siprec/siprectest"
)

// busy lets the recorder believe, for so long, that it had so much to do.
func (r *rig) busy(share float64, d time.Duration) {
	if r.clocked.IsZero() {
		r.clocked = time.Now()
	}
	for end := r.clocked.Add(d); r.clocked.Before(end); r.clocked = r.clocked.Add(250 * time.Millisecond) {
		r.rec.Capacity().Note(guard.Sample{At: r.clocked, Busy: share, Process: share, Sweep: time.Second, Calls: 1, Workers: 1})
	}
}

// A machine that is too busy first encodes more cheaply, which is told and is no
// problem; then it refuses new calls, which is one. Live calls go on.
func TestTooBusy(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	done := make(chan siprectest.CallReport, 1)
	go func() { done <- r.call(siprectest.Options{Duration: 2 * time.Second}) }()
	await(t, "a live call", func() bool { return len(r.rec.Status().Calls) == 1 })
	r.busy(0.9, 1500*time.Millisecond)
	st := r.rec.Status()
	if r.rec.Admit() != nil || st.Load.Complexity != 3 || st.Load.Down != 1 || !strings.HasPrefix(st.Sentence, "Everything that should be recorded is being recorded") ||
		!strings.Contains(st.Sentence, "complexity 3 instead of 5") {
		t.Errorf("busy: %+v, %q", st.Load, st.Sentence)
	}
	r.busy(0.95, 10*time.Second)
	if rep := r.call(siprectest.Options{}); rep.Code != 503 {
		t.Errorf("too busy: a new call was answered %d, want 503", rep.Code)
	}
	st = r.rec.Status()
	if st.OK || !st.Load.Refusing || !strings.Contains(st.Sentence, "New calls are refused: the machine is too busy") {
		t.Errorf("too busy: %+v, %q", st.Load, st.Sentence)
	}
	if rep := <-done; !rep.OK() {
		t.Errorf("the live call went wrong: %s", rep)
	}
	r.finished(1)
	r.busy(0.1, 10*time.Second)
	if rep := r.call(siprectest.Options{}); rep.Code != 200 {
		t.Errorf("no longer busy: answered %d", rep.Code)
	}
}
