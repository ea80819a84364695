package main

import (
	"fmt"
	"slices"
	"strings"

	"siprecd/cmd/bench/figure"
)

// figures are the table's rows, those that were asked for.
func (b *bench) figures() (list []figure.Figure) {
	for _, g := range []struct {
		row   string
		build func() []figure.Figure
	}{
		{"cost", b.cost}, {"light", b.cheap}, {"hold", b.held}, {"latency", b.latencies}, {"crash", b.kills}, {"million", b.catalogue},
	} {
		if !slices.Contains(b.rows, g.row) {
			continue
		}
		for _, f := range g.build() {
			f.Faults = append(f.Faults, b.broken[g.row]...)
			list = append(list, f)
		}
	}
	return list
}

// cheap is what calls cost at complexity 0.
func (b *bench) cheap() []figure.Figure { return []figure.Figure{b.perCore(b.light, 0, 450)} }

// latencies are how soon calls are answered, and listed.
func (b *bench) latencies() []figure.Figure {
	q := b.quick
	return []figure.Figure{
		{Name: "INVITE → 200 OK, 200 live and 20 new a second: p50", Goal: figure.AtMost(20, "%.1f ms"), Samples: q.setup50, Faults: q.faults},
		{Name: "the same: p99", Goal: figure.AtMost(150, "%.0f ms"), Samples: q.setup99, Faults: q.faults},
		{Name: "BYE → recording listed as finished: p99", Goal: figure.AtMost(500, "%.0f ms"), Samples: q.finish99, Faults: q.faults},
	}
}

// kills are what kill -9 took.
func (b *bench) kills() []figure.Figure {
	return []figure.Figure{{
		Name: fmt.Sprintf("audio lost on kill -9 at %d live calls", b.calls), Goal: figure.AtMost(1, "%.2f s"),
		Samples: b.crash.lost, Faults: b.crash.faults, Note: "the worst recording of each round",
	}}
}

// of are the windows of one plan.
func of(list []window, calls, complexity int) (out []window) {
	for _, w := range list {
		if w.plan.calls == calls && w.complexity == complexity {
			out = append(out, w)
		}
	}
	return out
}

// gather takes one figure from each window, and the faults of all.
func gather(list []window, value func(window) float64) (s figure.Samples, faults []string) {
	for _, w := range list {
		s, faults = append(s, value(w)), append(faults, w.faults...)
	}
	return s, faults
}

// cost is the CPU against libopus, and what follows from it.
func (b *bench) cost() (list []figure.Figure) {
	for i, calls := range b.sizes() {
		f := figure.Figure{Name: fmt.Sprintf("process CPU ÷ libopus alone: %d calls", calls), Goal: figure.AtMost([]float64{1.45, 1.25, 1.15}[i], "%.2f")}
		windows := of(b.windows, calls, 5)
		f.Samples, f.Faults = gather(windows, window.ratio)
		each, _ := gather(windows, func(w window) float64 { return millis(w.each()) })
		alone, _ := gather(windows, func(w window) float64 { return millis(w.floor) })
		quiet, _ := gather(windows, func(w window) float64 { return millis(w.quiet) })
		f.Note = fmt.Sprintf("%.2f ms a call second, libopus %.2f (%.2f without calls beside it)", each.Median(), alone.Median(), quiet.Median())
		list = append(list, f)
	}
	return append(list, b.perCore(b.calls, 5, 250), b.scale(), b.memory())
}

// perCore is how many calls one core could carry at the cost of one in a
// window with so many.
func (b *bench) perCore(calls, complexity int, goal float64) figure.Figure {
	f := figure.Figure{Name: fmt.Sprintf("two-party G.711 calls per core, complexity %d", complexity), Goal: figure.AtLeast(goal, "%.0f"),
		Note: fmt.Sprintf("one core ÷ CPU of a call, with %d live", calls)}
	f.Samples, f.Faults = gather(of(b.windows, calls, complexity), func(w window) float64 { return 1 / w.each().Seconds() })
	return f
}

// held is whether so many calls were recorded for so long without a loss.
func (b *bench) held() []figure.Figure {
	f := figure.Figure{Name: fmt.Sprintf("calls held for %v, load generator beside, 0 packets lost", b.hold), Goal: figure.AtLeast(300, "%.0f")}
	f.Samples, f.Faults = gather(b.steady, func(w window) float64 { return float64(w.live) })
	for _, w := range b.steady {
		f.Note = fmt.Sprintf("server %.2f, siprecd call %.2f cores; ratio %.2f with all segments' ends", w.server.Seconds()/w.length.Seconds(), w.caller.Seconds()/w.length.Seconds(), w.ratio())
	}
	return []figure.Figure{f}
}

// scale is whether a call costs less among many.
func (b *bench) scale() figure.Figure {
	sizes := b.sizes()
	f := figure.Figure{Name: fmt.Sprintf("cost of a call at %d calls ÷ at %d", sizes[2], sizes[1]), Goal: figure.AtMost(1, "%.2f")}
	some, faults := gather(of(b.windows, sizes[1], 5), window.ratio)
	many, more := gather(of(b.windows, sizes[2], 5), window.ratio)
	f.Faults = append(faults, more...)
	for i := range min(len(some), len(many)) {
		f.Samples = append(f.Samples, many[i]/some[i])
	}
	f.Note = "each in units of libopus in its minute"
	return f
}

// memory is what a live call adds to the server's resident memory.
func (b *bench) memory() figure.Figure {
	f := figure.Figure{Name: "memory per live call, all included", Goal: figure.AtMost(200, "%.0f kB")}
	list := of(b.windows, b.calls, 5)
	f.Samples, f.Faults = gather(list, func(w window) float64 {
		return float64(w.loaded.Resident-w.idle.Resident) / 1000 / float64(w.plan.calls)
	})
	whole, _ := gather(list, func(w window) float64 { return float64(w.loaded.Resident) / 1000 / float64(w.plan.calls) })
	f.Note = fmt.Sprintf("growth of the resident set; with the idle server's own memory %.0f kB", whole.Median())
	return f
}

// catalogue is what the large one gave.
func (b *bench) catalogue() []figure.Figure {
	l := b.large
	search := figure.Figure{Name: fmt.Sprintf("first 50 of %d recordings, by line, day, number", b.recordings), Goal: figure.AtMost(50, "%.0f ms"), Faults: l.faults,
		Note: "siprecd list as a command; the slowest: by " + l.worst}
	start := figure.Figure{Name: fmt.Sprintf("start with %d recordings", b.recordings), Goal: figure.AtMost(3, "%.2f s"), Faults: l.faults, Note: "the slowest of: anew, after a clean stop, after kill -9"}
	memory := figure.Figure{Name: "memory that a list of them all takes", Goal: figure.AtMost(64, "%.0f MB"), Faults: l.faults, Note: "server's growth or the command's peak, the larger"}
	if l.count > 0 {
		search.Samples, start.Samples, memory.Samples = figure.Samples{l.search.Quantile(1)}, figure.Samples{l.start.Quantile(1)}, figure.Samples{l.memory.Quantile(1)}
	}
	return []figure.Figure{search, start, memory}
}

// noise says how much the figures can be trusted.
func (b *bench) noise() string {
	var t strings.Builder
	for _, complexity := range []int{5, 0} {
		if s := b.floors[complexity]; len(s) > 0 {
			fmt.Fprintf(&t, "libopus alone, complexity %d: %.3f ms a call second, spread %.0f %% over %d runs\n", complexity, s.Median(), 100*s.Spread(), len(s))
		}
	}
	all := append(append([]window(nil), b.windows...), b.steady...)
	if len(all) == 0 {
		return t.String()
	}
	stole, _ := gather(all, window.stole)
	others, _ := gather(all, window.others)
	late, _ := gather(all, func(w window) float64 { return millis(w.lag) })
	fmt.Fprintf(&t, "the machine: %.1f %% stolen (at most %.1f), %.1f %% used by others (at most %.1f)\n", 100*stole.Median(), 100*stole.Quantile(1), 100*others.Median(), 100*others.Quantile(1))
	fmt.Fprintf(&t, "siprecd call: latest packet of a window %.0f ms late (at most %.0f)", late.Median(), late.Quantile(1))
	if many := of(all, b.calls, 5); len(many) > 0 {
		cpu, _ := gather(many, func(w window) float64 { return 100 * w.caller.Seconds() / w.length.Seconds() })
		fmt.Fprintf(&t, "; %.0f %% of a core for %d calls", cpu.Median(), b.calls)
	}
	return t.String() + "\n"
}
