// Package sides says in which channel a party belongs: ours, the listed
// line's, is right, and whom it speaks with is left.
//
// A client seldom says it. Ours is the party that it calls the near end, that
// bears the listed line's number, or is named as the recorded user; where none
// does, the party that placed the call is the caller of an inbound call and
// ours of an outbound one. Somebody new on a line that had a side stays there:
// that is how a transfer looks.
//
// Caveat: of three parties with a line each, one that nothing tells apart is
// put beside the caller.
package sides

import (
	"slices"
	"time"

	"siprecd/media"
	"siprecd/siprec"
	"siprecd/store/policy"
)

// Seating is what is known of a call.
type Seating struct {
	Rules *policy.Rules
	Line  string // the listed line, "" when none is known
	ID    siprec.Identity
}

// Had is where a media line is heard so far; nil: nobody has said it yet.
type Had *media.Side

// Of is the side of the party that sends media line i with that label; false
// when nothing says who does.
func (s Seating) Of(i int, label string, had Had) (media.Side, bool) {
	parties := s.ID.Parties
	at := slices.IndexFunc(parties, func(p siprec.Party) bool { return Speaks(p, i, label) })
	if at < 0 {
		return media.Left, false
	}
	if role := parties[at].Role; role != "" {
		return when(role == siprec.Near), true
	}
	outbound := s.ID.Direction == "outbound"
	caller := s.bearer(s.ID.Caller.Value)
	ours := s.ours()
	switch {
	case at == ours:
		return media.Right, true
	case at == caller:
		return when(outbound && ours < 0), true
	case had != nil:
		return *had, true
	case ours >= 0:
		return when(parties[ours].Gone), true // it takes our side's place
	}
	return when((at == max(caller, 0)) == outbound), true
}

// ours is the party of the listed line, -1 when none is known to be.
func (s Seating) ours() int {
	parties := s.ID.Parties
	ours := slices.IndexFunc(parties, func(p siprec.Party) bool { return !p.Gone && s.bearsLine(p) })
	if ours < 0 {
		ours = slices.IndexFunc(parties, s.bearsLine)
	}
	if ours < 0 && s.ID.Agent.Value != "" {
		ours = s.bearer(s.ID.Agent.Value)
	}
	if ours < 0 && s.ID.Called.Value != "" && s.ID.Direction != "outbound" {
		ours = s.bearer(s.ID.Called.Value)
	}
	return ours
}

// when is our side or the caller's.
func when(ours bool) media.Side {
	if ours {
		return media.Right
	}
	return media.Left
}

// bearer is the index of the party with a number, -1 when none has it.
func (s Seating) bearer(number string) int {
	want := s.Rules.Normalise(number)
	if want == "" {
		return -1
	}
	return slices.IndexFunc(s.ID.Parties, func(p siprec.Party) bool {
		return slices.ContainsFunc(p.AoRs, func(a string) bool { return s.Rules.Normalise(a) == want })
	})
}

// bearsLine says that one of a party's addresses is the listed line's.
func (s Seating) bearsLine(p siprec.Party) bool {
	return s.Line != "" && slices.ContainsFunc(p.AoRs, func(a string) bool {
		return s.Rules.Decide([]policy.Named{{Value: a}}, time.Now()).Line == s.Line
	})
}

// Speaks says that a party sends media line i, which has that label.
func Speaks(p siprec.Party, i int, label string) bool {
	return label != "" && slices.Contains(p.Labels, label) || p.Line == i+1
}
