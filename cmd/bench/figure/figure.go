// Package figure turns what was measured into figures: medians with their
// spread, held against goals, in one table.
//
//	Samples ─► Median, Spread          Figure{goal, measured, faults} ─► Verdict ─► Table
//
// Promises: a figure passes only when it was measured, meets its goal, and
// nothing was lost while it was measured.
package figure

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Samples are what the rounds gave.
type Samples []float64

// Median is the middle one, or the mean of the two in the middle; 0 for none.
func (s Samples) Median() float64 {
	if len(s) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(s))
	n := len(v) / 2
	if len(v)%2 == 1 {
		return v[n]
	}
	return (v[n-1] + v[n]) / 2
}

// Spread is how far the samples lie apart, as a part of the median.
func (s Samples) Spread() float64 {
	if m := s.Median(); m != 0 {
		return (slices.Max(s) - slices.Min(s)) / m
	}
	return 0
}

// Quantile is the smallest sample that a part q of them, 0 to 1, do not exceed;
// 0 for none.
func (s Samples) Quantile(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(s))
	return v[min(int(q*float64(len(v))), len(v)-1)]
}

// Goal is a bound that counts as met when it is touched.
type Goal struct {
	Bound   float64
	AtLeast bool   // else at most
	Format  string // of one number with its unit, for fmt: "%.2f", "%.0f ms"
}

// AtMost is an upper bound.
func AtMost(bound float64, format string) Goal { return Goal{Bound: bound, Format: format} }

// AtLeast is a lower bound.
func AtLeast(bound float64, format string) Goal {
	return Goal{Bound: bound, AtLeast: true, Format: format}
}

// Met says whether a value is within the goal.
func (g Goal) Met(v float64) bool {
	if g.AtLeast {
		return v >= g.Bound
	}
	return v <= g.Bound
}

// String is the goal as the table shows it.
func (g Goal) String() string {
	sign := "≤ "
	if g.AtLeast {
		sign = "≥ "
	}
	return sign + fmt.Sprintf(g.Format, g.Bound)
}

// Figure is one row of the table.
type Figure struct {
	Name    string
	Goal    Goal
	Samples Samples // of the rounds; the median is judged
	Note    string
	Faults  []string // what was lost meanwhile: one is enough to fail
}

// Pass says that the goal was met and nothing lost.
func (f Figure) Pass() bool {
	return len(f.Samples) > 0 && len(f.Faults) == 0 && f.Goal.Met(f.Samples.Median())
}

// measured is the median, with the range of several rounds.
func (f Figure) measured() string {
	if len(f.Samples) == 0 {
		return "not measured"
	}
	text := fmt.Sprintf(f.Goal.Format, f.Samples.Median())
	if len(f.Samples) > 1 {
		low, high := fmt.Sprintf(f.Goal.Format, slices.Min(f.Samples)), fmt.Sprintf(f.Goal.Format, slices.Max(f.Samples))
		if low != high {
			text += " (" + low + " to " + high + ")"
		}
	}
	return text
}

// verdict is the last column.
func (f Figure) verdict() string {
	switch {
	case f.Pass():
		return "pass"
	case len(f.Faults) > 0:
		return fmt.Sprintf("FAIL: %s%s", f.Faults[0], more(len(f.Faults)-1))
	}
	return "FAIL"
}

func more(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", n)
}

// Table is the figures as a table of Markdown that reads well as it is.
func Table(list []Figure) string {
	cells := [][]string{{"figure", "goal", "measured", "verdict", "note"}}
	for _, f := range list {
		cells = append(cells, []string{f.Name, f.Goal.String(), f.measured(), f.verdict(), f.Note})
	}
	wide := make([]int, len(cells[0]))
	for _, row := range cells {
		for i, c := range row {
			wide[i] = max(wide[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for n, row := range cells {
		line(&b, row, wide, " ")
		if n == 0 {
			line(&b, make([]string, len(row)), wide, "-")
		}
	}
	return b.String()
}

// line writes a row, padded to the columns' width.
func line(b *strings.Builder, row []string, wide []int, pad string) {
	for i, c := range row {
		b.WriteString("|" + pad + c + strings.Repeat(pad, wide[i]-utf8.RuneCountInString(c)+1))
	}
	b.WriteString("|\n")
}
