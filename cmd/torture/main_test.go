package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"siprecd/cmd/torture/rig"
)

func TestEveryRowIsThereOnceWithBothForms(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range all() {
		if seen[r.ID] || r.What == "" || r.Run == nil || r.Short < 1 || r.Rounds < r.Short || strings.ContainsAny(r.ID, ", |") {
			t.Errorf("row %+v", r)
		}
		seen[r.ID] = true
	}
	if len(seen) == 0 {
		t.Error("there are no rows")
	}
}

func TestChoose(t *testing.T) {
	rows := []rig.Row{{ID: "A1"}, {ID: "B1"}, {ID: "B10"}}
	for only, want := range map[string]string{"": "A1 B1 B10", "b1": "B1", "B10, A1": "B10 A1", "A1,a1": "A1"} {
		got, err := choose(rows, only)
		if err != nil || names(got) != want {
			t.Errorf("%q: %s %v, want %s", only, names(got), err, want)
		}
	}
	for _, only := range []string{"B", "A1,", "X9"} {
		if got, err := choose(rows, only); err == nil || !strings.Contains(err.Error(), "A1 B1 B10") {
			t.Errorf("%q: %s %v", only, names(got), err)
		}
	}
}

func results() (good, bad, empty, skipped, broken rig.Result) {
	row := func(id string) rig.Row { return rig.Row{ID: id, What: "what " + id} }
	good = rig.Result{Row: row("G1"), Rounds: 3, Took: 4 * time.Second, Figures: []rig.Figure{
		{Name: "calls", Value: "3|3", Goal: "3", OK: true}, {Name: "control: theft", Value: "1 of 1 caught", Goal: "all", OK: true, Control: true}}}
	bad = rig.Result{Row: row("B1"), Figures: []rig.Figure{{Name: "calls", Value: "2", Goal: "3"}}}
	empty = rig.Result{Row: row("E1")}
	skipped = rig.Result{Row: row("S1"), Skipped: "root"}
	broken = rig.Result{Row: row("X1"), Err: errors.New("two\nlines"), Figures: []rig.Figure{{Name: "calls", Value: "3", Goal: "3", OK: true}}}
	return
}

func TestCode(t *testing.T) {
	good, bad, empty, skipped, broken := results()
	for i, c := range []struct {
		done []rig.Result
		want int
	}{
		{[]rig.Result{good}, passed}, {[]rig.Result{good, bad}, failed}, {[]rig.Result{empty, good}, failed}, {[]rig.Result{broken}, failed},
		{[]rig.Result{skipped, good}, incomplete}, {[]rig.Result{skipped, bad}, failed},
	} {
		if got := (report{done: c.done}).code(); got != c.want {
			t.Errorf("%d: %d, want %d", i, got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	good, bad, empty, skipped, broken := results()
	text := report{began: time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC), took: 90 * time.Minute, about: "siprecd 1", done: []rig.Result{good, bad, empty, skipped, broken}}.table()
	for _, want := range []string{
		"2026-11-23: siprecd 1.\n1 rows passed, 3 failed, 1 not run; 1 negative controls",
		"1h30m0s in all",
		"| G1 | what G1 | 3 | 4s | calls | 3\\|3 | 3 | pass |\n| | | | | control: theft | 1 of 1 caught | all | pass |\n",
		"| B1 | what B1 | 0 | 0s | calls | 2 | 3 | **FAIL** |\n",
		"| E1 | what E1 | 0 | 0s | | | | FAIL: nothing was measured |\n",
		"| S1 | what S1 | | | | | | not run: needs root |\n",
		"calls | 3 | 3 | pass |\n| | | | | | | | FAIL: two lines |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "|") && strings.Count(strings.ReplaceAll(line, "\\|", ""), "|") != 9 {
			t.Errorf("not 8 cells: %s", line)
		}
	}
}

func TestAPartDoesNotPassForTheWhole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "RESULTS.md")
	if err := os.WriteFile(file, []byte("whole"), 0o600); err != nil {
		t.Fatal(err)
	}
	over, end := context.WithCancel(t.Context())
	end()
	var out, errs bytes.Buffer
	for _, c := range []struct {
		ctx  context.Context
		args []string
		want int
	}{
		{t.Context(), []string{"-out", file, "-row", "B7"}, misused},
		{t.Context(), []string{"-out", file, "-rounds", "3"}, misused},
		{t.Context(), []string{"-rounds", "-1"}, misused},
		{t.Context(), []string{"-row", "nothing"}, misused},
		{t.Context(), []string{"B7"}, misused},
		{over, []string{"-out", file}, failed}, // cut short
	} {
		if got := run(c.ctx, c.args, &out, &errs); got != c.want {
			t.Errorf("%v: %d, want %d", c.args, got, c.want)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "whole" {
		t.Errorf("the table is %q, %v", b, err)
	}
	if !strings.Contains(out.String(), "FAIL: the run was cut short") {
		t.Errorf("the table of a run that was cut short says\n%s", &out)
	}
	if err := replace(file, "new"); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(file); string(b) != "new" {
		t.Errorf("replaced by %q", b)
	}
}
