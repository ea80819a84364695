package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"siprecd/cmd/bench/proc"
	"siprecd/cmd/bench/rig"
	"siprecd/media/floor"
)

const (
	settle = 2 * time.Second // from the last call's start to the window
	spare  = time.Second     // from the window's end to the first BYE

	burst = 250 * time.Millisecond // of libopus beside the calls

	lateness = 100 * time.Millisecond // of the caller: more may be the reason of a loss
)

// plan is what one window measures.
type plan struct {
	calls, complexity int
	length            time.Duration
}

// window is what one gave.
type window struct {
	plan
	floor          time.Duration // libopus alone in the window, CPU per second of a call
	quiet          time.Duration // the same before and after it
	server, caller time.Duration // CPU in the window
	own            time.Duration // CPU of this program in it
	machine        proc.Machine  // all of the machine in it
	idle, loaded   proc.Memory   // the server's, without calls and with them
	lag            time.Duration // the most that the caller sent late
	live           int           // calls at its end
	steps          uint64        // complexity was stepped down so often
	faults         []string
}

// each is the server's CPU for a second of a call.
func (w window) each() time.Duration {
	return time.Duration(float64(w.server) / w.length.Seconds() / float64(w.calls))
}

// ratio is that over libopus alone.
func (w window) ratio() float64 { return w.each().Seconds() / w.floor.Seconds() }

// others is the CPU of all that is not ours, as a part of the machine.
func (w window) others() float64 {
	return max(0, (w.machine.Busy-w.server-w.caller-w.own).Seconds()/w.machine.Total.Seconds())
}

// stole is the time that the hypervisor gave to others, as a part of the machine.
func (w window) stole() float64 { return w.machine.Stole.Seconds() / w.machine.Total.Seconds() }

// window measures one plan on a server of its own.
func (b *bench) window(ctx context.Context, p plan) (w window, err error) {
	w.plan = p
	before, err := b.libopus(p.complexity)
	if err != nil {
		return w, err
	}
	load := rig.Load{Calls: p.calls, Rate: b.rate}
	load.Length = (load.Ramp() + settle + p.length + spare).Round(20 * time.Millisecond)
	s, err := b.server(ctx, p.complexity, "store.segment="+segment(load.Ramp(), p.length).String())
	if err != nil {
		return w, err
	}
	if _, err := s.Start(ctx, 20*time.Second); err != nil {
		return w, err
	}
	defer s.Kill()
	codec, err := b.audio.Runner(floor.Coding{Bitrate: bitrate, Complexity: p.complexity}, encoders)
	if err != nil {
		return w, err
	}
	if err := b.underLoad(ctx, s, load, codec, &w); err != nil {
		return w, err
	}
	if err := b.judge(ctx, s, load, &w); err != nil {
		return w, err
	}
	if len(w.faults) > 0 && w.lag > lateness {
		w.faults = append(w.faults, fmt.Sprintf("siprecd call itself sent up to %.0f ms late", millis(w.lag)))
	}
	after, err := b.libopus(p.complexity)
	w.quiet = (before + after) / 2
	b.say("%3d calls, complexity %d: %.3f ms a call second, libopus %.3f (%.3f without calls), ratio %.3f; caller %.0f %% of a core, %.0f ms late at most; stolen %.1f %%, others %.1f %% %v",
		w.calls, w.complexity, millis(w.each()), millis(w.floor), millis(w.quiet), w.ratio(), 100*w.caller.Seconds()/w.length.Seconds(), millis(w.lag), 100*w.stole(), 100*w.others(), w.faults)
	return w, errors.Join(err, os.RemoveAll(s.Dir))
}

// segment is how long the window's server makes its segments: so that in the
// window as large a part of the calls comes to a segment's end as in any time
// of that length with segments of 60 s, the default.
func segment(ramp, length time.Duration) time.Duration {
	const usual, cut = time.Minute, time.Second // cut: from a segment's end until it is sealed
	share := ramp.Seconds() * length.Seconds() / usual.Seconds()
	s := ramp + settle + length - cut - time.Duration(share*float64(time.Second))
	return min(usual, max(s, 5*time.Second)).Round(100 * time.Millisecond)
}

// underLoad places the calls, takes the figures once all are up, and waits for
// the calls to end.
func (b *bench) underLoad(ctx context.Context, s *rig.Server, load rig.Load, codec *floor.Runner, w *window) (err error) {
	if w.idle, err = proc.MemoryOf(s.PID()); err != nil {
		return err
	}
	c, err := s.Call(ctx, load)
	if err != nil {
		return err
	}
	if err := rig.Pause(ctx, load.Ramp()+settle); err != nil {
		c.Kill()
		return err
	}
	if err := count(ctx, s, c, codec, w); err != nil {
		c.Kill()
		return err
	}
	report, err := c.Wait()
	if err != nil {
		return err
	}
	w.lag = time.Duration(report.Totals.MaxLagSeconds * float64(time.Second))
	w.faults = append(w.faults, rig.JudgeReport(report, load)...)
	if w.steps > 0 && w.complexity > 0 {
		w.faults = append(w.faults, fmt.Sprintf("complexity was stepped down %d times", w.steps))
	}
	return nil
}

// count reads the counters now, at the window's beginning, and at its end. In
// between libopus runs alone in bursts.
func count(ctx context.Context, s *rig.Server, c *rig.Caller, codec *floor.Runner, w *window) error {
	pids := []int{s.PID(), c.PID(), os.Getpid()}
	was, err := read(pids)
	if err != nil {
		return err
	}
	if err := beside(ctx, codec, w.length); err != nil {
		return err
	}
	w.floor = codec.Each()
	now, err := read(pids)
	if err != nil {
		return err
	}
	w.length = now.at.Sub(was.at)
	w.server, w.caller, w.own = now.cpu[0]-was.cpu[0], now.cpu[1]-was.cpu[1], now.cpu[2]-was.cpu[2]
	w.machine = now.machine.Since(was.machine)
	if w.loaded, err = proc.MemoryOf(s.PID()); err != nil {
		return err
	}
	st, err := s.Status() // after the window: it costs the server something
	w.live, w.steps = st.Recordings.Live, st.Load.Down
	if err == nil && w.live != w.calls {
		w.faults = append(w.faults, fmt.Sprintf("%d calls live, not %d", w.live, w.calls))
	}
	return err
}

// beside runs libopus for a quarter of a second in each of the next seconds, or
// in 30 of a long time: the machine is never as fast as it was a minute ago. Its
// thread gives way to all others, and ends with it.
func beside(ctx context.Context, codec *floor.Runner, length time.Duration) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: a thread stays nice
		err := proc.Nice()
		if err == nil {
			err = bursts(ctx, codec, length)
		}
		done <- err
	}()
	return <-done
}

func bursts(ctx context.Context, codec *floor.Runner, length time.Duration) error {
	every := max(time.Second, length/30)
	for end := time.Now().Add(length); ; {
		begin := time.Now()
		if end.Sub(begin) > time.Second {
			if err := codec.Run(burst); err != nil {
				return err
			}
		}
		if err := rig.Pause(ctx, min(every-time.Since(begin), time.Until(end))); err != nil {
			return err
		}
		if !time.Now().Before(end) {
			return nil
		}
	}
}

// counters are what /proc says at one moment.
type counters struct {
	at      time.Time
	cpu     [3]time.Duration
	machine proc.Machine
}

func read(pids []int) (c counters, err error) {
	for i, pid := range pids {
		if c.cpu[i], err = proc.CPU(pid); err != nil {
			return c, err
		}
	}
	c.at = time.Now()
	c.machine, err = proc.Read()
	return c, err
}

// judge waits for the recordings and examines all of them. The server has
// stopped afterwards.
func (b *bench) judge(ctx context.Context, s *rig.Server, load rig.Load, w *window) error {
	if err := s.AwaitLive(ctx, 0, time.Minute); err != nil {
		return err
	}
	rows, err := s.List(ctx)
	if err != nil {
		return err
	}
	w.faults = append(w.faults, rig.JudgeList(rows, load.Calls)...)
	for i := 0; i < len(rows); i += max(1, len(rows)-1) { // the newest and the oldest
		faults, err := s.Listen(ctx, rows[i].ID)
		if err != nil {
			return err
		}
		w.faults = append(w.faults, faults...)
	}
	if err := s.Stop(); err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	list, err := s.Manifests()
	if err != nil {
		return err
	}
	w.faults = append(w.faults, rig.JudgeManifests(list, load)...)
	if _, err := s.Run(ctx, "verify"); err != nil {
		w.faults = append(w.faults, err.Error())
	}
	return nil
}
