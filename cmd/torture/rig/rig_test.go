package rig

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// bin stands for the program: what is tested here starts none.
const bin = "rig_test.go"

func TestOK(t *testing.T) {
	good, bad := Figure{Name: "a", OK: true}, Figure{Name: "b"}
	for name, c := range map[string]struct {
		r    Result
		want bool
	}{
		"all figures hold":   {Result{Figures: []Figure{good, good}}, true},
		"one does not":       {Result{Figures: []Figure{good, bad}}, false},
		"nothing measured":   {Result{}, false},
		"skipped":            {Result{Skipped: "root"}, false},
		"skipped half-way":   {Result{Skipped: "root", Figures: []Figure{good}}, false},
		"an error after all": {Result{Err: errors.New("x"), Figures: []Figure{good}}, false},
	} {
		if c.r.OK() != c.want {
			t.Errorf("%s: %v", name, c.r.OK())
		}
	}
}

func TestFiguresJudge(t *testing.T) {
	r := Run(t.Context(), Row{ID: "T1", Rounds: 7, Run: func(l *Lab) error {
		l.Count("same", 3, 3)
		l.Count("other", 2, 3)
		l.AtMost("soon", time.Second, time.Second)
		l.AtMost("late", time.Second+1, time.Second)
		l.Control("all caught", 2, 2)
		l.Control("one missed", 1, 2)
		l.Control("none tried", 0, 0)
		l.Count("rounds", l.Rounds, 7)
		return nil
	}}, bin, 0, t.Output())
	var ok []string
	controls := 0
	for _, f := range r.Figures {
		if f.OK {
			ok = append(ok, f.Name)
		}
		if f.Control {
			controls++
		}
	}
	if want := []string{"same", "soon", "control: all caught", "rounds"}; !slices.Equal(ok, want) || controls != 3 || r.Err != nil || r.OK() {
		t.Errorf("%q hold, want %q; %d controls, %v", ok, want, controls, r.Err)
	}
}

func TestARowThatCannotRunIsSkipped(t *testing.T) {
	ran := false
	row := Row{ID: "T2", Rounds: 1, Needs: []Need{Tool("sh"), Tool("no-such-tool")}, Run: func(*Lab) error { ran = true; return nil }}
	if r := Run(t.Context(), row, bin, 0, t.Output()); r.Skipped != "no-such-tool" || ran || r.OK() {
		t.Errorf("%+v, ran: %v", r, ran)
	}
	row.Needs = nil
	if r := Run(t.Context(), row, "no-such-binary", 0, t.Output()); r.Err == nil || ran {
		t.Errorf("without a program: %+v, ran: %v", r, ran)
	}
}

// TestARowThatPanicsFails, and cleans up: the latest first, then its folder.
func TestARowThatPanicsFails(t *testing.T) {
	var dir string
	var log bytes.Buffer
	var cleaned []int
	r := Run(t.Context(), Row{ID: "T3", Run: func(l *Lab) error {
		dir = l.Dir
		l.Cleanup(func() { cleaned = append(cleaned, 1) })
		l.Cleanup(func() { cleaned = append(cleaned, 2) })
		l.Count("measured before", 1, 1)
		var none map[string]int
		none["x"]++ //lint:ignore SA5000 it is meant to panic
		return nil
	}}, bin, 1, &log)
	if r.Err == nil || !strings.Contains(r.Err.Error(), "panic: assignment to entry in nil map") || r.OK() || len(r.Figures) != 1 {
		t.Errorf("%+v", r)
	}
	if !slices.Equal(cleaned, []int{2, 1}) {
		t.Errorf("cleaned up %v", cleaned)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
	if !strings.Contains(log.String(), "rig_test.go") {
		t.Errorf("the log does not say where: %s", &log)
	}
}

func TestARowThatHangsFails(t *testing.T) {
	for name, heeds := range map[string]bool{"heeds its context": true, "heeds nothing": false} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			defer close(release)
			back := make(chan struct{})
			began := time.Now()
			r := Run(t.Context(), Row{ID: "T4", Limit: time.Minute, Run: func(l *Lab) error {
				if heeds {
					return l.Await("what never comes", time.Hour, func() bool { return false })
				}
				<-release
				l.Count("measured too late", 1, 1)
				l.Cleanup(func() { close(back) })
				return nil
			}}, bin, 1, t.Output())
			took := time.Since(began)
			if r.Err == nil || !strings.Contains(r.Err.Error(), "not over within 1m0s") || r.OK() || took > time.Minute+grace {
				t.Errorf("%s: %+v after %v", name, r, took)
			}
			if !heeds {
				release <- struct{}{}
				<-back // what it makes afterwards is cleaned up at once
				if len(r.Figures) != 0 {
					t.Errorf("figures %v", r.Figures)
				}
			}
		})
	}
}

func TestARunThatIsCutShort(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	r := Run(ctx, Row{ID: "T5", Run: func(l *Lab) error {
		stop()
		return l.Sleep(time.Hour)
	}}, bin, 1, t.Output())
	if !errors.Is(r.Err, context.Canceled) {
		t.Errorf("%v", r.Err)
	}
}

// TestClaims takes ranges in several labs at once: none overlap, each is large
// enough, and what a row had is free when it is over.
func TestClaims(t *testing.T) {
	type span struct{ low, high int }
	var taken []span
	for _, want := range []int{0, 100, 300} {
		l := &Lab{Context: t.Context(), Span: want}
		t.Cleanup(func() { l.close(Result{}) })
		low, high, give, err := l.claim()
		if err != nil {
			t.Fatal(err)
		}
		if media := high - low - headPorts + 1; media < max(want, 1) || want == 0 && media < mediaPorts || low < firstPort || high > lastPort {
			t.Errorf("%d ports wanted, got %d to %d", want, low, high)
		}
		for _, s := range taken {
			if low <= s.high && s.low <= high {
				t.Errorf("%d to %d is given twice", low, high)
			}
		}
		taken = append(taken, span{low, high})
		if want > 100 {
			give()
		}
	}
	for range 100 { // more than there are at once
		l := &Lab{Context: t.Context()}
		_, _, give, err := l.claim()
		if err != nil {
			t.Fatal(err)
		}
		give()
	}
	l := &Lab{Context: t.Context(), Span: 20000}
	if _, _, _, err := l.claim(); err == nil {
		t.Error("20,000 ports were to be had")
	}
}

func TestMetric(t *testing.T) {
	text := []byte("# HELP srs_a Help.\n# TYPE srs_a gauge\nsrs_a{line=\"Council tax\"} 3\nsrs_a{line=\"x } y\"} 4 1700000000\nsrs_ab 9\nsrs_c 1.5e+06\n")
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"srs_a", nil, 7}, {"srs_a", []string{`line="Council tax"`}, 3}, {"srs_a", []string{`line="none"`}, 0},
		{"srs_ab", nil, 9}, {"srs_c", nil, 1.5e6}, {"srs_none", nil, 0},
	} {
		if got, err := metric(text, c.name, c.labels); err != nil || got != c.want {
			t.Errorf("%s%v: %v %v, want %v", c.name, c.labels, got, err, c.want)
		}
	}
	if _, err := metric([]byte("srs_a x\n"), "srs_a", nil); err == nil {
		t.Error("no error for a value that is none")
	}
}

func TestMissing(t *testing.T) {
	m := Manifest{
		Gaps:    []Gap{{Channel: "left", Reason: "loss", Packets: 2}, {Channel: "left", Reason: "hold", Packets: 9}, {Channel: "right", Reason: "loss", Packets: 4}, {Channel: "left", Reason: "loss", Packets: 1}},
		Streams: []Stream{{Channel: "left", Packets: 5}},
	}
	if m.Missing("left") != 3 || m.Missing("right") != 4 || m.Stream("left").Packets != 5 || m.Stream("right") != nil {
		t.Errorf("%d %d", m.Missing("left"), m.Missing("right"))
	}
}
