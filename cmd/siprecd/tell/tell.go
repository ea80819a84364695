// Package tell puts what a running recorder does into words: it compares one
// status with the one before and writes a line for each thing that changed.
//
//	2026-11-23 13:40:05  call     started   council tax 0199b2c4-…
//	2026-11-23 13:41:10  stream   no media  council tax 0199b2c4-… right (2)
//	2026-11-23 13:42:10  call     ended     council tax 0199b2c4-… last seen at 2:05, 6250 packets, 0 lost
//
// Promises: one change is one line, whatever a client has sent; what has not
// changed is not told again. Caveat: a call that begins and ends between two
// statuses (a second apart) shows only in the policy's count.
package tell

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

// A Teller writes the lines. It is for one goroutine.
type Teller struct {
	out   io.Writer
	last  *recorder.Status
	lines []line
}

// New makes a Teller that writes to out.
func New(out io.Writer) *Teller { return &Teller{out: out} }

type line struct{ subject, what, text string }

// Tell writes what differs from the status before. The first one is told as
// the sentence, what is wrong, and the calls that are live.
func (t *Teller) Tell(now recorder.Status) error {
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

func (t *Teller) add(subject, what, text string) {
	t.lines = append(t.lines, line{subject, what, text})
}

// flush writes the lines, each one line whatever it holds.
func (t *Teller) flush(at time.Time) error {
	var b strings.Builder
	for _, l := range t.lines {
		fmt.Fprintf(&b, "%s  %-8s %-9s %s\n", at.UTC().Format(time.DateTime), l.subject, l.what, web.Plain(l.text))
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

func (t *Teller) calls(before, now []recorder.LiveCall) {
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
func (t *Teller) legs(call string, before, now []recorder.Leg) {
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

func (t *Teller) checks(before, now []recorder.Check) {
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

func (t *Teller) problems(before, now []string) {
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
func (t *Teller) counts(subject string, before, now map[string]uint64) {
	for _, reason := range slices.Sorted(maps.Keys(now)) {
		if n := now[reason]; n > before[reason] {
			t.add(subject, fmt.Sprintf("+%d", n-before[reason]), fmt.Sprintf("%s (%d since start)", reason, n))
		}
	}
}

// callEnd words what became of a call that is live no more.
func callEnd(c recorder.LiveCall) string {
	var packets, lost uint64
	for _, leg := range c.Legs {
		packets += leg.Packets
		lost += leg.Lost
	}
	return fmt.Sprintf("last seen at %s, %d packets, %d lost", Length(c.Seconds), packets, lost)
}

// Length writes seconds as m:ss or h:mm:ss.
func Length(seconds float64) string {
	s := int(max(seconds, 0) + 0.5)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
