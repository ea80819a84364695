package main

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"siprecd/cmd/bench/figure"
	"siprecd/cmd/bench/proc"
	"siprecd/cmd/bench/rig"
	"siprecd/store"
)

func TestFlags(t *testing.T) {
	s, err := parse([]string{"-rows", "cost,hold", "-window", "6.4s"}, io.Discard)
	if err != nil || !slices.Equal(s.rows, []string{"cost", "hold"}) || s.window != 6400*time.Millisecond || s.rounds != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range [][]string{{"-rows", "speed"}, {"-rounds", "0"}, {"-window", "1ms"}, {"cost"}, {"-no"}} {
		if code := run(t.Context(), bad, io.Discard, io.Discard); code != 2 {
			t.Errorf("%q: exit code %d", bad, code)
		}
	}
}

func TestWindowArithmetic(t *testing.T) {
	w := window{
		plan: plan{calls: 100, complexity: 5, length: 20 * time.Second}, floor: 2 * time.Millisecond,
		server: 5 * time.Second, caller: 3 * time.Second, own: time.Second,
		machine: proc.Machine{Busy: 11 * time.Second, Stole: time.Second, Total: 40 * time.Second},
	}
	if w.each() != 2500*time.Microsecond || w.ratio() != 1.25 || w.others() != 0.05 || w.stole() != 0.025 {
		t.Errorf("%v %v %v %v", w.each(), w.ratio(), w.others(), w.stole())
	}
}

// TestSegmentShare counts the calls that come to a segment's end in a window.
func TestSegmentShare(t *testing.T) {
	for _, c := range []struct {
		calls  int
		length time.Duration
	}{{300, 19200 * time.Millisecond}, {450, 12800 * time.Millisecond}, {300, 40 * time.Second}} {
		l := rig.Load{Calls: c.calls, Rate: 30}
		s := segment(l.Ramp(), c.length)
		from, to := l.Ramp()+settle, l.Ramp()+settle+c.length
		ends := 0
		for i := range c.calls {
			start := time.Duration(i) * time.Second / 30
			for end := start + s + time.Second; end < to; end += s {
				if end >= from {
					ends++
				}
			}
		}
		want := float64(c.calls) * c.length.Seconds() / 60
		if got := float64(ends); got < want*0.95 || got > want*1.05 {
			t.Errorf("%+v: %d segments of %v end in the window, want %.0f", c, ends, s, want)
		}
	}
	if s := segment(10*time.Second, 5*time.Minute); s != time.Minute {
		t.Errorf("segments of %v in a long window", s)
	}
}

func TestRecovered(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	list := []store.Manifest{{Started: start, Duration: 9.8, Interrupted: true}, {Started: start.Add(time.Second), Duration: 8.3, Interrupted: true}}
	worst, faults := recovered(list, rig.Load{Calls: 2}, start.Add(10*time.Second))
	if worst < 0.69 || worst > 0.71 || len(faults) > 0 {
		t.Errorf("%v lost, %q", worst, faults)
	}
	list[0].Interrupted = false
	if _, faults := recovered(list, rig.Load{Calls: 3}, start); len(faults) != 2 {
		t.Errorf("%q", faults)
	}
}

// TestAWindowThatLostFailsItsRows checks what the exit code hangs on.
func TestAWindowThatLostFailsItsRows(t *testing.T) {
	b := &bench{settings: settings{calls: 300, rows: []string{"cost"}}, floors: map[int]figure.Samples{}}
	for _, calls := range b.sizes() {
		b.windows = append(b.windows, window{
			plan: plan{calls, 5, 10 * time.Second}, floor: 3 * time.Millisecond, server: time.Duration(calls) * 31 * time.Millisecond,
			machine: proc.Machine{Total: time.Second}, loaded: proc.Memory{Resident: 20 << 20},
		})
	}
	for _, f := range b.figures() {
		if !f.Pass() {
			t.Errorf("%s does not pass\n%s", f.Name, figure.Table(b.figures()))
		}
	}
	b.windows[2].faults = []string{"1 packet lost"}
	failed := 0
	for _, f := range b.figures() {
		if !f.Pass() {
			failed++
		}
	}
	if failed != 4 { // ratio at 300, per core, scale, memory
		t.Errorf("%d rows fail\n%s", failed, figure.Table(b.figures()))
	}
	b.broken = map[string][]string{"hold": {"the server did not start"}}
	b.steady = []window{{live: 300}}
	if b.rows = rows(); len(b.figures()) != 15 {
		t.Errorf("%d rows", len(b.figures()))
	}
	for _, f := range b.figures() {
		if (len(f.Samples) == 0 || strings.HasPrefix(f.Name, "calls held")) && f.Pass() {
			t.Errorf("%s was not measured and passes", f.Name)
		}
	}
	if !strings.Contains(b.noise(), "stolen") {
		t.Error(b.noise())
	}
}
