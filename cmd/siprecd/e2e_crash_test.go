package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
	"siprecd/store"
)

// tones are two legs that can be told apart by ear.
func tones() []siprectest.Leg {
	return []siprectest.Leg{
		{Name: "A Resident", Audio: audio.Tone(440, -18)},
		{Name: "Council Tax", Audio: audio.Tone(1000, -18)},
	}
}

// place runs calls to a server in the background; the channel tells how they
// went once they are over.
func place(t *testing.T, ctx context.Context, o siprectest.Options) <-chan siprectest.Report {
	t.Helper()
	done := make(chan siprectest.Report, 1)
	go func() {
		r, err := siprectest.Run(ctx, o)
		if err != nil {
			t.Errorf("place calls: %v", err)
		}
		done <- r
	}()
	return done
}

// lag is how late a run's client was at most, with a packet or with a call.
func lag(r siprectest.Report) time.Duration {
	return time.Duration(max(r.Totals.MaxLagSeconds, r.Totals.Setup.Max) * float64(time.Second))
}

// slowness tells how late a sync on the server's disk was at most, until it is
// asked.
func (s *server) slowness() func() time.Duration {
	s.t.Helper()
	f, err := os.Create(filepath.Join(filepath.Dir(s.dir), "probe"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { f.Close() })
	return lateness(s.t, 200*time.Millisecond, func() {
		_, err := f.WriteString("probe")
		if err := errors.Join(err, f.Sync()); err != nil {
			s.t.Error(err)
		}
	})
}

func TestKillInMidCallLosesAtMostOneSecond(t *testing.T) {
	t.Parallel()
	s := newServer(t, "store.segment=5s")
	s.start()
	slowness := s.slowness()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := place(t, ctx, siprectest.Options{Target: "udp://" + s.udp, Legs: tones(), Duration: 60 * time.Second, Calls: 5,
		Timeout: 20 * time.Second, Faults: siprectest.Faults{NoBye: true}})
	await(t, "five live calls that have run for 7 s", 50*time.Second, func() bool {
		rows := s.list("--state", "live")
		return len(rows) == 5 && time.Since(rows[0].Started) > 7*time.Second
	})
	killed := time.Now()
	s.kill(syscall.SIGKILL)
	gone := time.Now()
	// A call is listed before its admission is on disk, and its audio begins after
	// that: some syncs each, and one more for what was last recorded.
	slack := 4 * slowness()
	cancel()
	report := <-done

	s.start() // which waits for what is left over, but not for a slow disk
	await(t, "no recording to be live after the crash", 60*time.Second, func() bool { return len(s.list("--state", "live")) == 0 })
	for _, r := range s.finished(5) {
		if !r.Interrupted || r.State != store.Finished {
			t.Errorf("recovered recording listed as %+v", r)
		}
		path := s.export(r.ID)
		wantCleanOgg(t, path)
		if got, ran := lengthOf(t, path), killed.Sub(r.Started); got < ran-time.Second-slack || got > gone.Sub(r.Started) {
			t.Errorf("%v of %v were recovered, the disk was up to %v late", got, ran, slack/4)
		}
		wantTones(t, path, -18, lag(report))
	}
	s.run("verify")
}

func TestInterruptFinishesLiveRecordings(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	done := place(t, t.Context(), siprectest.Options{Target: "tcp://" + s.tcp, Legs: tones(), Duration: 60 * time.Second, Timeout: 20 * time.Second})
	await(t, "a call that has run for 2 s", 50*time.Second, func() bool {
		rows := s.list("--state", "live")
		return len(rows) == 1 && time.Since(rows[0].Started) > 2*time.Second
	})
	stopped := time.Now()
	s.kill(syscall.SIGINT)
	gone := time.Now()
	if took := gone.Sub(stopped); took > 25*time.Second {
		t.Errorf("stopping took %v", took)
	}
	report := <-done
	r := s.finished(1)[0] // from the folder: no server is running
	if r.Interrupted {
		t.Error("an orderly stop is listed as an interruption")
	}
	path := s.export(r.ID)
	length := time.Duration(r.Duration * float64(time.Second))
	wantLength(t, path, length, 40*time.Millisecond)
	const near = 100 * time.Millisecond // of audio that reaches beyond the end, and of rounding
	if r.Ended.Before(stopped.Add(-near)) || r.Ended.After(gone.Add(near)) {
		t.Errorf("it ended at %v, the server was stopped at %v and gone at %v", r.Ended, stopped, gone)
	}
	// Its audio begins while the client waits for the answer.
	setup := time.Duration(report.Calls[0].SetupSeconds * float64(time.Second))
	if d := r.Ended.Add(-length).Sub(r.Started); d < -near || d > setup+near {
		t.Errorf("its audio begins %v after it did, it was answered within %v", d, setup)
	}
	wantTones(t, path, -18, lag(report))
}

func TestSecondInstanceIsRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	code, out := s.refused("serve", "--set", "http.listen=127.0.0.1:"+freePort(t), "--set", "sip.listen=[udp://127.0.0.1:"+freePort(t)+"]")
	if code != 1 || out == "" {
		t.Errorf("second instance on one folder: exit %d, said %q", code, out)
	}
	if s.get("/readyz") != 200 {
		t.Error("the first instance suffered")
	}
}
