package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"siprecd/cmd/bench/figure"
	"siprecd/cmd/bench/rig"
	"siprecd/store"
)

// crashes are what the rounds gave.
type crashes struct {
	lost   figure.Samples // seconds, of the worst recording
	faults []string
}

// die kills a server with kill -9 when all calls are live, starts it again, and
// compares what it has kept with what had been sent until then.
func (b *bench) die(ctx context.Context) error {
	s, err := b.server(ctx, 5)
	if err != nil {
		return err
	}
	if _, err := s.Start(ctx, 20*time.Second); err != nil {
		return err
	}
	defer s.Kill()
	load := rig.Load{Calls: b.calls, Rate: b.rate, Length: 10 * time.Minute}
	killed, err := b.cutOff(ctx, s, load)
	if err != nil {
		return err
	}
	ready, err := s.Start(ctx, time.Minute)
	if err != nil {
		return err
	}
	if err := s.AwaitLive(ctx, 0, time.Minute); err != nil {
		return err
	}
	if err := s.Stop(); err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	list, err := s.Manifests()
	if err != nil {
		return err
	}
	worst, faults := recovered(list, load, killed)
	if _, err := s.Run(ctx, "verify"); err != nil {
		faults = append(faults, err.Error())
	}
	b.crash.lost, b.crash.faults = append(b.crash.lost, worst), append(b.crash.faults, faults...)
	b.say("kill -9 at %d live calls: %.2f s lost of the worst; ready again after %.1f s %v", load.Calls, worst, ready.Seconds(), faults)
	return os.RemoveAll(s.Dir)
}

// cutOff kills the server when all calls are live, and says when.
func (b *bench) cutOff(ctx context.Context, s *rig.Server, load rig.Load) (time.Time, error) {
	c, err := s.Call(ctx, load)
	if err != nil {
		return time.Time{}, err
	}
	defer c.Kill()
	err = rig.Pause(ctx, load.Ramp()+settle)
	if err == nil {
		err = s.AwaitLive(ctx, load.Calls, 5*time.Second)
	}
	killed := time.Now()
	s.Kill()
	return killed, err
}

// recovered says how much the recording lacks that lacks most, in seconds: from
// its last sample to the kill.
func recovered(list []store.Manifest, load rig.Load, killed time.Time) (worst float64, faults []string) {
	if len(list) != load.Calls {
		faults = append(faults, fmt.Sprintf("%d recordings of %d calls after kill -9", len(list), load.Calls))
	}
	for _, m := range list {
		worst = max(worst, killed.Sub(m.Started).Seconds()-m.Duration)
		if !m.Interrupted {
			faults = append(faults, "a recording that was cut off is not marked as interrupted")
		}
	}
	return worst, faults
}
