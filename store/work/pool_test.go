package work

import (
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestOrder checks that urgent jobs overtake, and that a failed one comes back
// after a second until it works.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1, slog.New(slog.DiscardHandler))
		var mu sync.Mutex
		var done []string
		job := func(name string, urgent bool, fails int) Job {
			return Job{What: "test", ID: name, Urgent: urgent, Run: func() error {
				mu.Lock()
				defer mu.Unlock()
				if fails--; fails >= 0 {
					return errors.New("not yet")
				}
				done = append(done, name)
				return nil
			}}
		}
		hold := make(chan struct{})
		p.Submit(Job{What: "hold", Run: func() error { <-hold; return nil }})
		synctest.Wait()
		p.Submit(job("a", false, 0))
		p.Submit(job("b", false, 2))
		p.Submit(job("c", true, 0))
		if n := p.Backlog(); n != 3 {
			t.Errorf("backlog %d", n)
		}
		close(hold)
		<-time.After(apart + urgentApart)
		synctest.Wait()
		if !slices.Equal(done, []string{"c", "a"}) || p.Backlog() != 1 {
			t.Errorf("done %v, backlog %d", done, p.Backlog())
		}
		start := time.Now().Add(-apart - urgentApart)
		for p.Backlog() > 0 {
			<-time.After(100 * time.Millisecond)
			synctest.Wait()
		}
		if took := time.Since(start); took < 2*time.Second || took > 2200*time.Millisecond {
			t.Errorf("two tries again took %v", took)
		}
		if !slices.Equal(done, []string{"c", "a", "b"}) {
			t.Errorf("done %v", done)
		}
		p.Submit(job("d", false, 1000))
		synctest.Wait()
		p.Close() // must not wait for d
	})
}

// TestStuck lets a job fail again and again: it is told until it succeeds.
func TestStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1, slog.New(slog.DiscardHandler))
		bad := errors.New("the folder cannot be written")
		var mended atomic.Bool
		p.Submit(Job{What: "seal segment", Run: func() error {
			if mended.Load() {
				return nil
			}
			return bad
		}})
		synctest.Wait()
		if n, err := p.Stuck(); n != 0 || err != nil {
			t.Errorf("after one failure: %d, %v", n, err)
		}
		<-time.After(5 * time.Second)
		if n, err := p.Stuck(); n != 1 || !errors.Is(err, bad) {
			t.Errorf("stuck %d, %v", n, err)
		}
		mended.Store(true)
		<-time.After(2 * time.Second)
		if n, err := p.Stuck(); n != 0 || err != nil {
			t.Errorf("after it succeeded: %d, %v", n, err)
		}
		p.Close()
	})
}

// TestBurst gives the pool all calls' minutes at once: they are done one after
// the other, and a call that ends meanwhile does not wait for them.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(4, slog.New(slog.DiscardHandler))
		gap := apart / time.Duration(runtime.GOMAXPROCS(0))
		var mu sync.Mutex
		var began []time.Time
		const many = 50
		for range many {
			p.Submit(Job{What: "seal segment", Run: func() error {
				mu.Lock()
				defer mu.Unlock()
				began = append(began, time.Now())
				return nil
			}})
		}
		<-time.After(10 * gap)
		asked, ended := time.Now(), make(chan time.Time, 1)
		p.Submit(Job{What: "finish recording", Urgent: true, Run: func() error { ended <- time.Now(); return nil }})
		if took := (<-ended).Sub(asked); took > urgentApart {
			t.Errorf("a call that ended waited %v", took)
		}
		<-time.After((many + 1) * gap)
		synctest.Wait()
		if len(began) != many {
			t.Fatalf("%d of %d done", len(began), many)
		}
		for i := range many - 1 {
			if d := began[i+1].Sub(began[i]); d < gap || d > 2*gap {
				t.Errorf("job %d began %v after the one before", i+1, d)
			}
		}
		p.Close()
	})
}

// TestHasty gives the pool what a start finds: it waits for nothing.
func TestHasty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(4, slog.New(slog.DiscardHandler))
		began := time.Now()
		var done atomic.Int64
		for range 300 {
			p.Submit(Job{What: "finish recording", Urgent: true, Hasty: true, Run: func() error { done.Add(1); return nil }})
		}
		synctest.Wait()
		if took := time.Since(began); done.Load() != 300 || took > 0 {
			t.Errorf("%d of 300 done after %v", done.Load(), took)
		}
		p.Close()
	})
}

// TestRate submits jobs at twice the rate at which few of them begin, as
// segments of 5 s do: the queue must come to an end of its growth.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(4, slog.New(slog.DiscardHandler))
		every := apart / time.Duration(runtime.GOMAXPROCS(0)) / 2
		var most atomic.Int64
		end := time.Now().Add(5 * time.Minute)
		for time.Now().Before(end) {
			asked := time.Now()
			p.Submit(Job{What: "seal segment", Run: func() error {
				most.Store(max(most.Load(), int64(time.Since(asked))))
				return nil
			}})
			<-time.After(every)
		}
		if waited := time.Duration(most.Load()); waited < time.Second || waited > longest {
			t.Errorf("a job waited %v, want at most %v", waited, longest)
		}
		p.Close()
	})
}
