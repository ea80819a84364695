package store

import (
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkLive holds 300 calls at real time, starts and ends 20 a second, and
// reports how long admission and finishing took:
//
//	go test -bench Live -benchtime 1x ./store/
func BenchmarkLive(b *testing.B) {
	const calls, churn = 300, 20
	h := newHouse(b)
	h.log = slog.New(slog.DiscardHandler)
	s := h.open(b)
	var live []*Recording
	begin := func() (*Recording, time.Duration) {
		t0 := time.Now()
		r, err := s.Begin(b.Context(), admission())
		if err != nil {
			b.Fatal(err)
		}
		return r, time.Since(t0)
	}
	for range calls {
		r, _ := begin()
		live = append(live, r)
	}
	var mu sync.Mutex
	var admitted, finished, commits []time.Duration
	var work sync.WaitGroup
	batch := fake(15)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	b.ResetTimer()
	for round := range 40 * b.N { // 12 s each
		for _, r := range live {
			r.WritePackets(batch)
		}
		for i := range churn * 3 / 10 {
			k := (round*7 + i*41) % calls
			old := live[k]
			r, took := begin()
			live[k] = r
			admitted = append(admitted, took)
			work.Go(func() {
				t0 := time.Now()
				err := old.Finish(b.Context(), Closing{Ended: t0, Cause: "bye"})
				mu.Lock()
				defer mu.Unlock()
				finished = append(finished, time.Since(t0))
				if err != nil {
					b.Error(err)
				}
			})
		}
		commits = append(commits, s.Health().LastCommit)
		<-tick.C
	}
	work.Wait()
	b.StopTimer()
	quantiles(b, "begin", admitted)
	quantiles(b, "finish", finished)
	quantiles(b, "commit", commits)
	t0 := time.Now()
	for _, r := range live {
		work.Go(func() {
			if err := r.Finish(b.Context(), Closing{Ended: t0, Cause: "bye"}); err != nil {
				b.Error(err)
			}
		})
	}
	work.Wait()
	b.ReportMetric(float64(time.Since(t0).Milliseconds()), "ms-hang-up-300")
	shut(b, s)
}

func quantiles(b *testing.B, what string, d []time.Duration) {
	slices.Sort(d)
	ms := func(i int) float64 { return float64(d[min(i, len(d)-1)].Microseconds()) / 1000 }
	b.ReportMetric(ms(len(d)/2), "ms-"+what+"-p50")
	b.ReportMetric(ms(len(d)*99/100), "ms-"+what+"-p99")
}
