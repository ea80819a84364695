package main

import (
	"context"
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

func TestKillInMidCallLosesAtMostOneSecond(t *testing.T) {
	t.Parallel()
	s := newServer(t, "store.segment=5s")
	s.start()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := place(t, ctx, siprectest.Options{Target: "udp://" + s.udp, Legs: tones(), Duration: 60 * time.Second, Calls: 5,
		Timeout: 2 * time.Second, Faults: siprectest.Faults{NoBye: true}})
	await(t, "five live calls that have run for 7 s", 20*time.Second, func() bool {
		rows := s.list("--state", "live")
		return len(rows) == 5 && time.Since(rows[0].Started) > 7*time.Second
	})
	killed := time.Now()
	s.kill(syscall.SIGKILL)
	cancel()
	<-done

	s.start()
	if rows := s.list("--state", "live"); len(rows) != 0 {
		t.Errorf("%d recordings are live after the crash", len(rows))
	}
	for _, r := range s.finished(5) {
		if !r.Interrupted || r.State != store.Finished {
			t.Errorf("recovered recording listed as %+v", r)
		}
		ran := killed.Sub(r.Started)
		path := s.export(r.ID)
		wantCleanOgg(t, path)
		wantLength(t, path, ran-500*time.Millisecond, 500*time.Millisecond)
		wantTones(t, path, -18)
	}
	s.run("verify")
}

func TestInterruptFinishesLiveRecordings(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	done := place(t, t.Context(), siprectest.Options{Target: "tcp://" + s.tcp, Legs: tones(), Duration: 20 * time.Second, Timeout: 2 * time.Second})
	await(t, "a call that has run for 2 s", 10*time.Second, func() bool {
		rows := s.list("--state", "live")
		return len(rows) == 1 && time.Since(rows[0].Started) > 2*time.Second
	})
	stopped := time.Now()
	s.kill(syscall.SIGINT)
	if took := time.Since(stopped); took > 10*time.Second {
		t.Errorf("stopping took %v", took)
	}
	<-done
	r := s.finished(1)[0] // from the folder: no server is running
	if r.Interrupted {
		t.Error("an orderly stop is listed as an interruption")
	}
	path := s.export(r.ID)
	wantLength(t, path, stopped.Sub(r.Started), 100*time.Millisecond)
	wantTones(t, path, -18)
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
