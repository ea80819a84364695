package store

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"siprecd/store/catalog"
	"siprecd/store/disk"
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

// BenchmarkMillion opens a folder of many recordings and searches it. The
// number comes from RECORDINGS, a million takes a minute to make:
//
//	RECORDINGS=1000000 go test -bench Million -benchtime 1x ./store/
func BenchmarkMillion(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("RECORDINGS"))
	if err != nil {
		n = 20000
	}
	h := newHouse(b)
	h.log = slog.New(slog.DiscardHandler)
	s := h.open(b)
	start := time.Now().Add(-time.Duration(n) * time.Second)
	for i := 0; i < n; i += 5000 {
		var list []catalog.Entry
		for k := i; k < min(n, i+5000); k++ {
			list = append(list, oldRow(start.Add(time.Duration(k)*time.Second), k))
		}
		if err := s.catalog.Put(list...); err != nil {
			b.Fatal(err)
		}
	}
	t0 := time.Now()
	shut(b, s)
	b.ReportMetric(float64(time.Since(t0).Milliseconds()), "ms-close")
	t0 = time.Now()
	s = h.open(b)
	b.ReportMetric(float64(time.Since(t0).Milliseconds()), "ms-open")
	for name, q := range map[string]Query{
		"newest": {Limit: 50},
		"line":   {Limit: 50, Line: "line 7"},
		"number": {Limit: 50, Number: "07700900123"},
		"day":    {Limit: 50, From: start.Add(24 * time.Hour), To: start.Add(48 * time.Hour)},
	} {
		t0 := time.Now()
		got := len(ids(b, s, q))
		b.ReportMetric(float64(time.Since(t0).Microseconds())/1000, fmt.Sprintf("ms-%s-%d", name, got))
	}
	for range b.N {
		ids(b, s, Query{Limit: 50, Line: "line 7"})
	}
	shut(b, s)
}

func oldRow(at time.Time, k int) catalog.Entry {
	row := Row{State: Finished, Line: fmt.Sprintf("line %d", k%24), Started: at, Ended: at, Duration: 60, Caller: fmt.Sprintf("07700900%03d", k%1000), Channels: 2, Cause: "bye", Segments: 1, Bytes: 240000}
	e := catalog.Entry{ID: disk.NewID(at), Line: row.Line, Numbers: []string{row.Caller, "02088257050"}, Add: catalog.Totals{Recordings: 1, Bytes: row.Bytes}}
	row.ID = disk.Name(e.ID)
	e.Row, _ = json.Marshal(row)
	e.Details, _ = json.Marshal(Details{Caller: row.Caller})
	return e
}
