package work

import (
	"errors"
	"log/slog"
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
		synctest.Wait()
		if !slices.Equal(done, []string{"c", "a"}) || p.Backlog() != 1 {
			t.Errorf("done %v, backlog %d", done, p.Backlog())
		}
		start := time.Now()
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
