package alarm

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestJudge plays calls second by second.
func TestJudge(t *testing.T) {
	t0 := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	// talks is a leg that brings packets from, to, in seconds.
	talks := func(from, to int) func(int) Leg {
		return func(s int) Leg {
			l := Leg{Expected: true}
			if s >= from {
				l.Last = at(min(s, to))
			}
			return l
		}
	}
	for _, c := range []struct {
		name string
		legs []func(s int) Leg
		want []string // kind leg from-to
	}{
		{"all is well", []func(int) Leg{talks(0, 99), talks(0, 99)}, nil},
		{"one leg never comes", []func(int) Leg{talks(0, 99), talks(99, 99)}, []string{"one-way 1 0-60"}},
		{"nothing comes", []func(int) Leg{talks(99, 99), talks(99, 99)}, []string{"no media 0 0-60", "no media 1 0-60"}},
		{"one stops", []func(int) Leg{talks(0, 20), talks(0, 99)}, []string{"one-way 0 20-60"}},
		{"one comes late", []func(int) Leg{talks(0, 99), talks(30, 99)}, []string{"one-way 1 0-30"}},
		{"both late, one first", []func(int) Leg{talks(20, 99), talks(30, 99)}, []string{"no media 0 0-20", "no media 1 0-20", "one-way 1 0-30"}},
		{"on hold", []func(int) Leg{talks(0, 99), func(s int) Leg { return Leg{Last: at(min(s, 10)), Expected: s < 10 || s > 55} }}, nil},
		{"not resumed", []func(int) Leg{talks(0, 99), func(s int) Leg { return Leg{Last: at(min(s, 10)), Expected: s < 10 || s > 40} }},
			[]string{"one-way 1 41-60"}},
		{"closed for good", []func(int) Leg{talks(0, 99), func(s int) Leg { return Leg{Expected: s < 5, Last: at(min(s, 5))} }}, nil},
		{"silent", []func(int) Leg{talks(0, 99), func(s int) Leg {
			return Leg{Expected: true, Last: at(s), Silent: time.Duration(s) * time.Second}
		}}, []string{"silent 1 0-60"}},
		{"silent for a while", []func(int) Leg{func(s int) Leg {
			l := Leg{Expected: true, Last: at(s)}
			if s < 30 {
				l.Silent = time.Duration(s) * time.Second
			}
			return l
		}}, []string{"silent 0 0-30"}},
		{"blocked", []func(int) Leg{talks(0, 99), func(s int) Leg { return Leg{Expected: true, Blocked: s >= 3 && s < 20, Last: at(s)} }},
			[]string{"undecryptable 1 3-20"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w Watch
			raised, cleared := 0, 0
			for s := range 60 {
				legs := make([]Leg, len(c.legs))
				for i, f := range c.legs {
					legs[i] = f(s)
				}
				up, down := w.Judge(at(s), Limits{NoMedia: 8 * time.Second, Silence: 20 * time.Second}, legs)
				raised, cleared = raised+len(up), cleared+len(down)
				if n := len(w.Active()); n != raised-cleared {
					t.Fatalf("second %d: %d active, raised %d, cleared %d", s, n, raised, cleared)
				}
				for _, a := range up {
					if late := at(s).Sub(a.From); a.Kind != Silent && a.Kind != OneWay && late > 9*time.Second {
						t.Errorf("%s told %v after it began", a.Kind, late)
					}
				}
			}
			all, open := w.Close(at(60))
			if len(open) != raised-cleared {
				t.Errorf("%d open at the end, want %d", len(open), raised-cleared)
			}
			var got []string
			for _, a := range all {
				got = append(got, fmt.Sprintf("%s %d %.0f-%.0f", a.Kind, a.Leg, a.From.Sub(t0).Seconds(), a.To.Sub(t0).Seconds()))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("told %q, want %q", got, c.want)
			}
		})
	}
}

func TestOffIsOff(t *testing.T) {
	var w Watch
	now := time.Now()
	for s := range 600 {
		if up, _ := w.Judge(now.Add(time.Duration(s)*time.Second), Limits{}, []Leg{{Expected: true}, {Expected: true, Last: now, Silent: time.Hour}}); len(up) > 0 {
			t.Fatalf("told %v", up)
		}
	}
}

func TestShortCallWithoutMediaIsTold(t *testing.T) {
	var w Watch
	now := time.Now()
	w.Judge(now, Limits{NoMedia: 8 * time.Second}, []Leg{{Expected: true, Last: now}, {Expected: true}})
	all, open := w.Close(now.Add(3 * time.Second))
	if len(open) != 0 || len(all) != 1 || all[0].Kind != OneWay || all[0].Leg != 1 {
		t.Errorf("told %v, %v open", all, open)
	}
}

func TestSpansAreBounded(t *testing.T) {
	var w Watch
	now := time.Now()
	for i := range 10000 {
		w.Judge(now, Limits{NoMedia: time.Second}, []Leg{{Expected: true, Blocked: i%2 == 0, Last: now}})
	}
	if all, _ := w.Close(now); len(all) > maxSpans+1 {
		t.Errorf("%d spans kept", len(all))
	}
}

func TestSilenceOfAShortCallIsTold(t *testing.T) {
	for _, c := range []struct {
		long  time.Duration
		quiet time.Duration // of its end
		want  int
	}{{15 * time.Second, 15 * time.Second, 1}, {15 * time.Second, 9 * time.Second, 0}, {5 * time.Second, 5 * time.Second, 0}} {
		var w Watch
		begun := time.Now()
		for at := time.Duration(0); at <= c.long; at += time.Second / 2 {
			now := begun.Add(at)
			w.Judge(now, Limits{Silence: time.Minute}, []Leg{{Expected: true, Last: now, Silent: max(0, at-(c.long-c.quiet))}})
		}
		all, _ := w.Close(begun.Add(c.long))
		if len(all) != c.want || c.want == 1 && all[0].Kind != Silent {
			t.Errorf("%v, of which %v silent: told %v", c.long, c.quiet, all)
		}
	}
}

func TestUntaken(t *testing.T) {
	var w Watch
	now := time.Now()
	if up, down := w.Untaken(now, []int{1, 2}); len(up) != 2 || len(down) != 0 || up[1].Line != 2 || up[1].Kind != NotTaken {
		t.Errorf("told %v, %v", up, down)
	}
	if up, down := w.Untaken(now.Add(time.Second), []int{2}); len(up) != 0 || len(down) != 1 || down[0].Line != 1 || down[0].To.Sub(down[0].From) != time.Second {
		t.Errorf("told %v, %v", up, down)
	}
	if a := w.Active(); len(a) != 1 || a[0].Line != 2 {
		t.Errorf("active: %v", a)
	}
	if all, open := w.Close(now.Add(2 * time.Second)); len(all) != 2 || len(open) != 1 || open[0].Line != 2 {
		t.Errorf("told %v, open %v", all, open)
	}
}
