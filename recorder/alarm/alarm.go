// Package alarm judges, while a call is live, whether each of its legs brings
// what is to be recorded, and remembers from when to when it did not.
//
//	what a leg does                                  kind
//	brings packets that no key opens                 undecryptable
//	brings nothing while another leg does            one-way
//	brings nothing                                   no media
//	brings packets, all of them below -60 dBov       silent
//	is offered, and there is none for it             not taken
//
// Of several kinds a leg has the first of this list. A leg that is on hold, or
// has been closed, is expected to bring nothing and is never at fault; its time
// starts anew when it is resumed.
//
// Promises: pure; the same facts at the same times give the same alarms. A leg
// that brought no packet, or no sound, in the whole of a call is told at its end,
// also when the call was too short for an alarm.
//
// Caveat: the times are as exact as Judge is called often.
package alarm

import (
	"slices"
	"time"
)

// Kind is what is wrong with a leg.
type Kind string

// The kinds, as status, metrics and recordings name them.
const (
	Undecryptable Kind = "undecryptable"
	OneWay        Kind = "one-way"
	NoMedia       Kind = "no media"
	Silent        Kind = "silent"
	NotTaken      Kind = "not taken"
)

// Kinds are all of them.
func Kinds() []Kind { return []Kind{Undecryptable, OneWay, NoMedia, Silent, NotTaken} }

// How long a call must be for a leg without any packet to be told at its end,
// or for one without any sound: who was called may have said nothing yet.
const (
	shortest = time.Second
	speaks   = 10 * time.Second
)

// Limits say after how long a leg is at fault; 0: never for that.
type Limits struct {
	NoMedia time.Duration // one-way too
	Silence time.Duration
}

// Leg are the facts of one leg at one moment. The legs of a call keep their
// places; those that come are added at the end.
type Leg struct {
	Expected bool      // it is open and not on hold
	Last     time.Time // its latest packet; zero: none ever
	Silent   time.Duration
	Blocked  bool // it cannot be decrypted
}

// Span is a stretch of a call in which a leg was at fault.
type Span struct {
	Leg      int // its place; -1: Line
	Line     int // of NotTaken: the media line
	Kind     Kind
	From, To time.Time // To is zero while it lasts
}

// Watch watches the legs of one call. It is not safe for parallel use.
type Watch struct {
	legs    []state
	untaken []Span // media lines that are not taken now
	spans   []Span // that are over
}

// maxSpans bounds what is remembered of one call.
const maxSpans = 200

type state struct {
	expected bool
	from     time.Time // since when it is expected
	heard    bool      // it has brought a packet
	sounded  bool      // and not silence only
	first    time.Time // when it was first expected
	open     Span      // Kind "": none
}

// Judge takes the facts of now and tells what began and what ended since the
// last call.
func (w *Watch) Judge(now time.Time, limits Limits, legs []Leg) (raised, cleared []Span) {
	for len(w.legs) < len(legs) {
		w.legs = append(w.legs, state{})
	}
	for i, l := range legs {
		w.legs[i].note(now, l)
	}
	for i, l := range legs {
		s := &w.legs[i]
		kind, since := s.kind(now, limits, l, othersHeard(i, now, limits, legs))
		if kind == s.open.Kind {
			continue
		}
		if s.open.Kind != "" {
			cleared = append(cleared, w.end(s, now))
		}
		if kind != "" {
			s.open = Span{Leg: i, Kind: kind, From: since}
			raised = append(raised, s.open)
		}
	}
	return raised, cleared
}

// note takes up whether a leg is expected to bring something.
func (s *state) note(now time.Time, l Leg) {
	s.heard = s.heard || !l.Last.IsZero()
	s.sounded = s.sounded || s.expected && l.Silent < now.Sub(s.first)-late
	if l.Expected && !s.expected {
		s.from = now
		if s.first.IsZero() {
			s.first = now
		}
	}
	s.expected = l.Expected
}

// late is by how much the silence of a leg may be younger than the leg: its
// first packets take their time.
const late = 3 * time.Second

// Untaken takes the media lines with sound that are offered and not recorded,
// for what reason ever, and tells which are new and which are no more.
func (w *Watch) Untaken(now time.Time, lines []int) (raised, cleared []Span) {
	w.untaken = slices.DeleteFunc(w.untaken, func(s Span) bool {
		gone := !slices.Contains(lines, s.Line)
		if gone {
			cleared = append(cleared, w.keep(s, now))
		}
		return gone
	})
	for _, n := range lines {
		if !slices.ContainsFunc(w.untaken, func(s Span) bool { return s.Line == n }) {
			raised = append(raised, Span{Leg: -1, Line: n, Kind: NotTaken, From: now})
		}
	}
	w.untaken = append(w.untaken, raised...)
	return raised, cleared
}

// kind is what is wrong with a leg, and since when.
func (s *state) kind(now time.Time, limits Limits, l Leg, others bool) (Kind, time.Time) {
	if !l.Expected {
		return "", time.Time{}
	}
	last := s.from
	if l.Last.After(last) {
		last = l.Last
	}
	switch silent := min(l.Silent, now.Sub(s.from)); {
	case l.Blocked:
		return Undecryptable, now
	case limits.NoMedia > 0 && now.Sub(last) >= limits.NoMedia:
		if others {
			return OneWay, last
		}
		return NoMedia, last
	case limits.Silence > 0 && silent >= limits.Silence:
		return Silent, now.Add(-silent)
	}
	return "", time.Time{}
}

// othersHeard says that another leg than i brings something.
func othersHeard(i int, now time.Time, limits Limits, legs []Leg) bool {
	for j, l := range legs {
		if j != i && l.Expected && !l.Last.IsZero() && now.Sub(l.Last) < limits.NoMedia {
			return true
		}
	}
	return false
}

// end closes what is open of a leg.
func (w *Watch) end(s *state, at time.Time) Span {
	span := s.open
	s.open = Span{}
	return w.keep(span, at)
}

// keep remembers what is over, if there is room.
func (w *Watch) keep(span Span, at time.Time) Span {
	span.To = at
	if len(w.spans) < maxSpans {
		w.spans = append(w.spans, span)
	}
	return span
}

// Active are the alarms of this moment, by leg.
func (w *Watch) Active() []Span {
	out := slices.Clone(w.untaken)
	for _, s := range w.legs {
		if s.open.Kind != "" {
			out = append(out, s.open)
		}
	}
	return out
}

// Close ends the watch with the call and tells all that there was, oldest
// first of each leg, and what of it was still open.
func (w *Watch) Close(at time.Time) (all, open []Span) {
	heard := false
	for _, s := range w.legs {
		heard = heard || s.heard
	}
	for i := range w.legs {
		s := &w.legs[i]
		if s.open.Kind != "" {
			open = append(open, w.end(s, at))
		} else if kind := s.dumb(at, heard); kind != "" && !w.told(i) {
			w.spans = append(w.spans, Span{Leg: i, Kind: kind, From: s.from, To: at})
		}
	}
	for _, s := range w.untaken {
		open = append(open, w.keep(s, at))
	}
	return w.spans, open
}

// dumb is what a leg was that brought nothing at all until the call's end; others
// says that another one did.
func (s *state) dumb(at time.Time, others bool) Kind {
	long := at.Sub(s.first)
	switch {
	case !s.expected:
		return ""
	case s.heard && !s.sounded && long >= speaks:
		return Silent
	case s.heard || long < shortest:
		return ""
	case others:
		return OneWay
	}
	return NoMedia
}

// told says that something was told of a leg.
func (w *Watch) told(leg int) bool {
	for _, s := range w.spans {
		if s.Leg == leg {
			return true
		}
	}
	return false
}
