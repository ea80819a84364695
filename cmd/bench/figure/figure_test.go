package figure

import (
	"strings"
	"testing"
)

func TestMedianAndSpread(t *testing.T) {
	for _, c := range []struct {
		s              Samples
		median, spread float64
	}{
		{nil, 0, 0},
		{Samples{3}, 3, 0},
		{Samples{4, 1, 2}, 2, 1.5},
		{Samples{4, 1, 2, 3}, 2.5, 1.2},
	} {
		if m, sp := c.s.Median(), c.s.Spread(); m != c.median || sp != c.spread {
			t.Errorf("%v: median %v, spread %v", c.s, m, sp)
		}
	}
}

func TestQuantile(t *testing.T) {
	s := Samples{}
	for i := range 200 {
		s = append(s, float64(200-i))
	}
	if s.Quantile(0.5) != 101 || s.Quantile(0.99) != 199 || s.Quantile(1) != 200 || (Samples{}).Quantile(0.5) != 0 {
		t.Errorf("%v %v %v", s.Quantile(0.5), s.Quantile(0.99), s.Quantile(1))
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name string
		f    Figure
		pass bool
		want string
	}{
		{"met", Figure{Goal: AtMost(1.15, "%.2f"), Samples: Samples{1.1, 1.2, 1.15}}, true, "| 1.15 (1.10 to 1.20) | pass"},
		{"missed", Figure{Goal: AtMost(1.15, "%.2f"), Samples: Samples{1.2}}, false, "| FAIL"},
		{"lower bound", Figure{Goal: AtLeast(300, "%.0f calls"), Samples: Samples{300}}, true, "≥ 300 calls"},
		{"too few", Figure{Goal: AtLeast(300, "%.0f calls"), Samples: Samples{299}}, false, "FAIL"},
		{"lost something", Figure{Goal: AtMost(2, "%.0f"), Samples: Samples{1}, Faults: []string{"3 packets lost", "x"}}, false, "FAIL: 3 packets lost (and 1 more)"},
		{"not measured", Figure{Goal: AtMost(2, "%.0f")}, false, "not measured"},
	} {
		if c.f.Pass() != c.pass {
			t.Errorf("%s: pass is %v", c.name, c.f.Pass())
		}
		if got := Table([]Figure{c.f}); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q is not in\n%s", c.name, c.want, got)
		}
	}
}
