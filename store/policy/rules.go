package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Rules is a policy that is ready to decide. It is immutable and safe for
// concurrent use.
type Rules struct {
	numbering Numbering
	keep      []string // fields of metadata; nil: all
	loc       *time.Location
	lines     []rule
	numbers   map[string]target // by canonical number, extensions included
	names     map[string]target // by folded name: queues that are found by a name
}

// rule is a Line, read.
type rule struct {
	Line
	schedule schedule
}

// target is a line, and perhaps one of its queues (-1: none).
type target struct{ line, queue int }

// New reads a policy. The error lists every problem of severity Error.
func New(p Policy) (*Rules, error) {
	var errs []error
	for _, problem := range p.Validate(time.Time{}) {
		if problem.Severity == Error {
			errs = append(errs, fmt.Errorf("%s: %s", problem.Key, problem.Text))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("read the policy: %w", err)
	}
	return build(p)
}

// build makes rules of a policy that was validated.
func build(p Policy) (*Rules, error) {
	loc, err := time.LoadLocation(p.Timezone)
	if err != nil {
		return nil, fmt.Errorf("load the time zone: %w", err)
	}
	r := &Rules{numbering: p.Numbering, keep: p.KeepMetadata, loc: loc, numbers: map[string]target{}, names: map[string]target{}}
	for i, l := range p.Lines {
		sched := schedule{loc: loc}
		for _, w := range l.Windows {
			s, _ := w.read()
			sched.spans = append(sched.spans, s)
		}
		r.lines = append(r.lines, rule{Line: l, schedule: sched})
		r.numbers[r.Normalise(l.Number)] = target{i, -1}
		for j, q := range l.Queues {
			r.indexQueue(q, target{i, j})
		}
	}
	r.indexExtensions()
	return r, nil
}

// Keeps says whether a field of Fields is to be stored.
func (r *Rules) Keeps(field string) bool {
	return len(r.keep) == 0 || r.keep[0] == "all" || slices.Contains(r.keep, field)
}

func (r *Rules) indexQueue(q Queue, t target) {
	if q.Match == "" {
		return
	}
	if number := r.Normalise(q.Match); number != "" {
		r.numbers[number] = t
	} else {
		r.names[fold(q.Match)] = t
	}
}

// indexExtensions makes each number known by its last digits too, as a bare
// extension. An extension that is listed itself keeps its meaning; of two
// numbers with the same last digits the one listed first has it.
func (r *Rules) indexExtensions() {
	for i, l := range r.lines {
		r.indexExtension(l.Number, target{i, -1})
		for j, q := range l.Queues {
			r.indexExtension(q.Match, target{i, j})
		}
	}
}

func (r *Rules) indexExtension(number string, t target) {
	ext := r.numbering.extension(r.Normalise(number))
	if _, taken := r.numbers[ext]; ext != "" && !taken {
		r.numbers[ext] = t
	}
}

// extension gives the bare extension of a full canonical number, "" when it
// has none.
func (n Numbering) extension(canonical string) string {
	if n.Extension <= 0 || !strings.HasPrefix(canonical, "+") || len(canonical) <= n.Extension {
		return ""
	}
	return extensionPrefix + canonical[len(canonical)-n.Extension:]
}

// Normalise gives the canonical form of a number; see Numbering.Normalise.
func (r *Rules) Normalise(value string) string { return r.numbering.Normalise(value) }

// Location is the policy's time zone.
func (r *Rules) Location() *time.Location { return r.loc }

// Decide says whether a call is recorded at a moment. The candidates are the
// places that may name the line, best first; the first that names one wins. A
// call of which nothing tells a number is recorded: it may be a listed line's,
// and what was not recorded cannot be had again.
func (r *Rules) Decide(candidates []Named, at time.Time) Decision {
	reason := NoNumber
	for _, c := range candidates {
		number := r.Normalise(c.Value)
		if t, ok := r.find(number, c.Value); ok {
			return r.decide(r.refine(t, candidates), c.Source, at)
		}
		if number != "" {
			reason = NotListed
		}
	}
	return Decision{Reason: reason, Record: reason == NoNumber}
}

// find looks a candidate up, by number and else by name.
func (r *Rules) find(number, value string) (target, bool) {
	if number != "" {
		t, ok := r.numbers[number]
		return t, ok
	}
	for _, name := range namesIn(value) {
		if t, ok := r.names[name]; ok {
			return t, true
		}
	}
	return target{}, false
}

// refine looks for the sub-queue in all candidates when only the line is
// known.
func (r *Rules) refine(t target, candidates []Named) target {
	if t.queue >= 0 {
		return t
	}
	for _, c := range candidates {
		if q, ok := r.find(r.Normalise(c.Value), c.Value); ok && q.line == t.line && q.queue >= 0 {
			return q
		}
		for _, name := range namesIn(c.Value) {
			for j, q := range r.lines[t.line].Queues {
				if q.Match == "" && fold(q.Name) == name {
					return target{t.line, j}
				}
			}
		}
	}
	return t
}

// decide applies the line's windows.
func (r *Rules) decide(t target, source string, at time.Time) Decision {
	l := r.lines[t.line]
	d := Decision{Record: true, Reason: Listed, Line: l.Name, Source: source, DTMF: l.DTMF}
	if t.queue >= 0 {
		d.Queue, d.Internal = l.Queues[t.queue].Name, l.Queues[t.queue].Internal
	}
	if l.Always {
		return d
	}
	d.Window, d.Record = l.schedule.open(at)
	d.Until = l.schedule.change(at)
	if !d.Record {
		d.Reason = OutsideWindow
	}
	return d
}

// namesIn gives the folded names that an address holds: its display name and
// its user part.
func namesIn(value string) []string {
	display, _, isAddr := strings.Cut(value, "<")
	user, _ := userPart(value)
	names := []string{fold(user)}
	if isAddr {
		names = append(names, fold(display))
	}
	out := names[:0]
	for _, n := range names {
		if n != "" {
			out = append(out, n)
		}
	}
	return out
}

// fold keeps the letters and digits of a name, in lower case: "Housing
// solutions (homeless)" and "housing-solutions-homeless" are the same.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}
