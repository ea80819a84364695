package work

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
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
