package guard

import (
	"context"
	"log/slog"
	"runtime"
	"syscall"
	"time"

	"siprecd/media"
	"siprecd/recorder/facts"
)

// every is how often the load is looked at.
const every = 250 * time.Millisecond

// Engine is what the guard asks of the media path.
type Engine interface {
	Load() media.Load
	SetComplexity(n int)
}

// Run looks at the load and puts what is decided in force until ctx ends. Each
// step is logged once.
func (g *Guard) Run(ctx context.Context, e Engine, log *slog.Logger) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	m := meter{at: time.Now(), used: used()}
	g.look(&m, e, log)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.look(&m, e, log)
		}
	}
}

// look takes one sample and acts on it.
func (g *Guard) look(m *meter, e Engine, log *slog.Logger) {
	l := e.Load()
	now := time.Now()
	st, reason := g.Note(Sample{
		At: now, Busy: l.Busy, Process: m.share(now), Late: l.Late, Sweep: l.Sweep, Calls: l.Calls, Workers: l.Workers,
		Procs: runtime.GOMAXPROCS(0),
	})
	if reason == "" {
		return
	}
	e.SetComplexity(st.Complexity)
	log.Warn("load: "+reason, "complexity", st.Complexity, "configured", st.Configured, "refusing", st.Refusing,
		"calls", l.Calls, "media busy", round(l.Busy), "process busy", round(st.Sample.Process), "late", l.Late.Round(time.Millisecond))
}

func round(share float64) float64 { return float64(int(share*100+0.5)) / 100 }

// Facts is the load as the status tells it.
func (g *Guard) Facts(l media.Load) facts.Load {
	st := g.State()
	return facts.Load{
		Media: round(l.Busy), Process: round(st.Sample.Process), LateMS: float64(l.Late.Milliseconds()),
		Complexity: st.Complexity, Configured: st.Configured, Refusing: st.Refusing, Since: st.Since.UTC(),
		Down: st.Down, Up: st.Up, PortsUsed: l.PortsUsed, PortsTotal: l.PortsTotal,
	}
}

// meter measures the process's use of the processors.
type meter struct {
	at     time.Time
	used   time.Duration
	smooth float64
}

// share is how much of the processors that it may use the process used of late.
func (m *meter) share(now time.Time) float64 {
	cpu := used()
	if wall := now.Sub(m.at); wall > 0 {
		share := float64(cpu-m.used) / float64(wall) / float64(runtime.GOMAXPROCS(0))
		m.smooth += (share - m.smooth) / 3
	}
	m.at, m.used = now, cpu
	return m.smooth
}

// used is the CPU time of the process; 0 where it cannot be had.
func used() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
