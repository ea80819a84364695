package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"siprecd/recorder"
	"siprecd/recorder/web"
)

// teller turns statuses into lines: one for each thing that changed.
//
//	2026-11-23 13:40:05  call      started   council tax 0199b2c4-…
type teller struct {
	out   io.Writer
	last  *recorder.Status
	lines []line
}

type line struct{ subject, what, text string }

// tell writes what differs from the status before. The first one is told as
// the sentence, what is wrong, and the calls that are live.
func (t *teller) tell(now recorder.Status) error {
	before := recorder.Status{OK: now.OK}
	if t.last != nil {
		before = *t.last
	}
	t.lines = t.lines[:0]
	t.calls(before.Calls, now.Calls)
	t.checks(before.Checks, now.Checks)
	t.problems(before.Problems, now.Problems)
	if t.last != nil {
		t.counts("policy", before.Decisions, now.Decisions)
		t.counts("refused", before.Refusals, now.Refusals)
	}
	if before.Sentence != now.Sentence || before.OK != now.OK {
		word := "problem"
		if now.OK {
			word = "ok"
		}
		t.add("status", word, now.Sentence)
	}
	t.last = &now
	return t.flush(now.At)
}

func (t *teller) add(subject, what, text string) {
	t.lines = append(t.lines, line{subject, what, text})
}

// flush writes the lines, each one line whatever it holds.
func (t *teller) flush(at time.Time) error {
	var b strings.Builder
	for _, l := range t.lines {
		fmt.Fprintf(&b, "%s  %-8s %-9s %s\n", at.UTC().Format(time.DateTime), l.subject, l.what, web.Plain(l.text))
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

func (t *teller) calls(before, now []recorder.LiveCall) {
	was, is := byID(before), byID(now)
	for _, c := range before {
		if _, live := is[c.ID]; !live {
			t.add("call", "ended", callName(c)+" "+callEnd(c))
		}
	}
	for _, c := range now {
		old, known := was[c.ID]
		if !known {
			t.add("call", "started", callName(c)+flagList(c.Flags))
		}
		t.legs(callName(c), old.Legs, c.Legs)
	}
}

func byID(calls []recorder.LiveCall) map[string]recorder.LiveCall {
	m := make(map[string]recorder.LiveCall, len(calls))
	for _, c := range calls {
		m[c.ID] = c
	}
	return m
}

func callName(c recorder.LiveCall) string {
	name := c.Line
	if c.Queue != "" {
		name += " > " + c.Queue
	}
	return name + " " + c.ID
}

func flagList(flags []string) string {
	if len(flags) == 0 {
		return ""
	}
	return " (" + strings.Join(flags, ", ") + ")"
}

// legs tells when a stream stops or starts to carry media.
func (t *teller) legs(call string, before, now []recorder.Leg) {
	was := map[int]recorder.Leg{}
	for _, leg := range before {
		was[leg.Port] = leg
	}
	for _, leg := range now {
		old, name := was[leg.Port], fmt.Sprintf("%s %s (%s)", call, leg.Channel, leg.Label)
		switch {
		case leg.NoMedia && !old.NoMedia:
			t.add("stream", "no media", name)
		case old.NoMedia && !leg.NoMedia:
			t.add("stream", "media", name)
		}
		switch {
		case leg.Hold && !old.Hold:
			t.add("stream", "hold", name)
		case old.Hold && !leg.Hold:
			t.add("stream", "resumed", name)
		}
	}
}

func (t *teller) checks(before, now []recorder.Check) {
	failed := map[string]bool{}
	for _, c := range before {
		failed[c.Name] = !c.OK
	}
	for _, c := range now {
		switch {
		case !c.OK && !failed[c.Name]:
			t.add("check", "failing", c.Name+": "+cmp.Or(c.Error, "no reason given"))
		case c.OK && failed[c.Name]:
			t.add("check", "ok", c.Name)
		}
	}
}

func (t *teller) problems(before, now []string) {
	for _, p := range now {
		if !slices.Contains(before, p) {
			t.add("problem", "new", p)
		}
	}
	for _, p := range before {
		if !slices.Contains(now, p) {
			t.add("problem", "gone", p)
		}
	}
}

// counts tells which counters moved.
func (t *teller) counts(subject string, before, now map[string]uint64) {
	for _, reason := range slices.Sorted(maps.Keys(now)) {
		if n := now[reason]; n > before[reason] {
			t.add(subject, fmt.Sprintf("+%d", n-before[reason]), fmt.Sprintf("%s (%d since start)", reason, n))
		}
	}
}
