package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"siprecd/cmd/bench/figure"
	"siprecd/cmd/bench/rig"
)

// The calls of this row come and go: so many new ones a second, each so long
// that the goal's number is live.
const (
	newCalls = 20
	liveFor  = 10 * time.Second
)

// latencies are what the rounds gave, ms.
type latencies struct {
	setup50, setup99 figure.Samples
	finish99         figure.Samples
	faults           []string
}

// comeAndGo measures how soon calls are answered, and listed as finished.
func (b *bench) comeAndGo(ctx context.Context) error {
	s, err := b.server(ctx, 5)
	if err != nil {
		return err
	}
	if _, err := s.Start(ctx, 20*time.Second); err != nil {
		return err
	}
	defer s.Kill()
	load := rig.Load{Rate: newCalls, Length: liveFor}
	load.Calls = int(newCalls * (liveFor + b.latency).Seconds())
	gone, report, err := s.Watch(ctx, load)
	if err != nil {
		return err
	}
	faults := rig.JudgeReport(report, load)
	delays, err := s.Delays(ctx, gone, report)
	if err != nil {
		return err
	}
	after := figure.Samples(delays)
	if len(after) != load.Calls {
		faults = append(faults, fmt.Sprintf("%d of %d calls were seen to finish", len(after), load.Calls))
	}
	w := window{}
	if err := b.judge(ctx, s, load, &w); err != nil {
		return err
	}
	var setup figure.Samples
	for _, c := range report.Calls[min(newCalls*int(liveFor.Seconds()), len(report.Calls)):] { // once 200 are live
		if c.Code == 200 {
			setup = append(setup, c.SetupSeconds*1000)
		}
	}
	q := &b.quick
	if len(setup) == 0 || len(after) == 0 {
		return fmt.Errorf("no call to judge by: %v", faults)
	}
	q.setup50, q.setup99 = append(q.setup50, setup.Quantile(0.5)), append(q.setup99, setup.Quantile(0.99))
	q.finish99 = append(q.finish99, after.Quantile(0.99))
	faults = append(faults, w.faults...)
	q.faults = append(q.faults, faults...)
	b.say("200 live, 20 new a second: answered in %.1f ms (p50), %.1f ms (p99); finished %.0f ms after BYE (p99) %v",
		setup.Quantile(0.5), setup.Quantile(0.99), after.Quantile(0.99), faults)
	return os.RemoveAll(s.Dir)
}
