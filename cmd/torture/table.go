package main

import (
	"fmt"
	"strings"
	"time"

	"siprecd/cmd/torture/rig"
)

// report is a run that is over.
type report struct {
	began time.Time
	took  time.Duration
	about string // what was tried, and on what
	done  []rig.Result
}

// code is what the run comes down to.
func (r report) code() int {
	code := passed
	for _, d := range r.done {
		switch {
		case d.Skipped != "":
			code = max(code, incomplete)
		case !d.OK():
			return failed
		}
	}
	return code
}

// verdict is what a row came down to.
func verdict(r rig.Result) string {
	switch {
	case r.Skipped != "":
		return "not run: needs " + r.Skipped
	case r.Err != nil:
		return "FAIL: " + r.Err.Error()
	case len(r.Figures) == 0:
		return "FAIL: nothing was measured"
	case r.OK():
		return "pass"
	}
	return "FAIL"
}

// table is the whole in Markdown: a sentence, then a line a figure. What is the
// row's own stands in its first line only.
func (r report) table() string {
	var b strings.Builder
	good, bad, not, controls := r.count()
	b.WriteString("# What siprecd was put through\n\n")
	fmt.Fprintf(&b, "%s: %s.\n%d rows passed, %d failed, %d not run; %d negative controls (runs whose fault must be caught). %v in all. `make torture` repeats it.\n\n",
		r.began.UTC().Format("2006-01-02"), r.about, good, bad, not, controls, r.took.Round(time.Second))
	b.WriteString("| row | what | rounds | took | figure | measured | goal | |\n|---|---|---|---|---|---|---|---|\n")
	for _, d := range r.done {
		head := fmt.Sprintf("| %s | %s | %d | %v |", d.Row.ID, cell(d.Row.What), d.Rounds, d.Took.Round(time.Second))
		if d.Skipped != "" {
			head = fmt.Sprintf("| %s | %s | | |", d.Row.ID, cell(d.Row.What))
		}
		for _, f := range d.Figures {
			ok := map[bool]string{true: "pass", false: "**FAIL**"}[f.OK]
			fmt.Fprintf(&b, "%s %s | %s | %s | %s |\n", head, cell(f.Name), cell(f.Value), cell(f.Goal), ok)
			head = "| | | | |"
		}
		if d.Skipped != "" || d.Err != nil || len(d.Figures) == 0 {
			fmt.Fprintf(&b, "%s | | | %s |\n", head, cell(verdict(d)))
		}
	}
	return b.String()
}

func (r report) count() (good, bad, not, controls int) {
	for _, d := range r.done {
		switch {
		case d.Skipped != "":
			not++
		case d.OK():
			good++
		default:
			bad++
		}
		for _, f := range d.Figures {
			if f.Control {
				controls++
			}
		}
	}
	return good, bad, not, controls
}

// cell keeps a text within one cell of the table, and short.
func cell(s string) string {
	const most = 300
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + " ..."
	}
	return strings.ReplaceAll(s, "|", "\\|")
}
