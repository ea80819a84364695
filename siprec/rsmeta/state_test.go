package rsmeta

import (
	"fmt"
	"strings"
	"testing"
)

// members shows a state as "aor=labels", with "-" before those that have left.
func members(s *State) string {
	var out []string
	for _, m := range s.Participants() {
		name := m.ID
		if len(m.AoRs) > 0 {
			name = m.AoRs[0]
		}
		if !m.Present {
			name = "-" + name
		}
		out = append(out, name+"="+strings.Join(m.Labels, ","))
	}
	return strings.Join(out, " ")
}

func apply(t *testing.T, s *State, fixtures ...string) {
	t.Helper()
	for _, f := range fixtures {
		s.Apply(mustParse(t, metadataOf(t, f)))
	}
}

func TestStateHoldAndTransfer(t *testing.T) {
	var s State
	a, b, c := "sip:02079460103@pstn.example", "sip:02088257733@contact.example", "sip:02088257734@contact.example"
	for _, step := range []struct{ fixture, want string }{
		{"rfc7865-complete", a + "=1 " + b + "=2"},
		{"rfc8068-partial-hold", a + "= " + b + "=2"},
		{"rfc8068-partial-transfer", a + "= -" + b + "= " + c + "=2"},
		{"rfc7865-complete", a + "=1 " + b + "=2 -" + c + "="}, // a complete one brings b back and no longer has c
	} {
		apply(t, &s, step.fixture)
		if got := members(&s); got != step.want {
			t.Fatalf("after %s:\n got %s\nwant %s", step.fixture, got, step.want)
		}
	}
}

func TestStateLeftTime(t *testing.T) {
	var s State
	apply(t, &s, "rfc7865-complete", "rfc8068-partial-transfer")
	if m := s.Participants()[1]; m.Present || m.Left != "2026-11-02T10:05:00Z" || m.Joined == "" {
		t.Errorf("%+v", m)
	}
	apply(t, &s, "rfc7865-complete")
	if m := s.Participants()[1]; !m.Present || m.Left != "" {
		t.Errorf("came back: %+v", m)
	}
}

func TestStatePartialBeforeComplete(t *testing.T) {
	var s State
	apply(t, &s, "rfc8068-partial-transfer")
	if got, want := members(&s), "sip:02088257734@contact.example=2 -cDI=="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestStateDummy(t *testing.T) {
	var s State
	apply(t, &s, "avaya-initial-dummy")
	if got, want := members(&s), "sip:02079460108@contact.example=10"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	apply(t, &s, "avaya-update-complete")
	if got, want := members(&s), "sip:02079460108@contact.example=10 sip:4711@contact.example=20"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestStateRegeneratedIDs(t *testing.T) {
	var s State
	doc := func(a, b string) *Document {
		return &Document{Participants: []Participant{{ID: a, AoRs: []string{"sip:a@h"}, Sends: []string{a + "s"}, StreamsStated: true},
			{ID: b, AoRs: []string{"sip:b@h"}, Sends: []string{b + "s"}, StreamsStated: true}},
			Streams: []Stream{{ID: a + "s", Label: "1"}, {ID: b + "s", Label: "2"}}}
	}
	s.Apply(doc("1", "2"))
	s.Apply(doc("8", "9"))
	if got, want := members(&s), "sip:a@h=1 sip:b@h=2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	s.Apply(&Document{Participants: []Participant{{ID: "10", AoRs: []string{"sip:c@h"}}}})
	if got, want := members(&s), "-sip:a@h= -sip:b@h= sip:c@h="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestStateBroadWorksStopsSending(t *testing.T) {
	var s State
	apply(t, &s, "webex-metadata-first", "webex-partial-third-party")
	want := "sip:02079460112@pstn.example=1 sip:k3Jx9@calls.webex.example= 02088255334@bw.example=2"
	if got := members(&s); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if len(s.Extensions()) == 0 {
		t.Error("a partial document without extensions dropped them")
	}
}

func TestStateUnknownReferences(t *testing.T) {
	var s State
	s.Apply(nil)
	s.Apply(&Document{Participants: []Participant{{ID: "p", Sends: []string{"never defined", ""}, StreamsStated: true}}, Streams: []Stream{{ID: "", Label: "9"}}})
	if got := members(&s); got != "p=" {
		t.Errorf("got %q", got)
	}
}

func TestStateExtensionsAreReplacedByOwner(t *testing.T) {
	var s State
	s.Apply(&Document{Extensions: []Extension{{"session", "s", "a", "1"}, {"session", "s", "b", "2"}, {"participant", "p", "a", "3"}}})
	s.Apply(&Document{Partial: true, Extensions: []Extension{{"session", "s", "a", "4"}}})
	if got, want := fmt.Sprint(s.Extensions()), "[{participant p a 3} {session s a 4}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestStateIsBounded: a client that invents ids fills no memory.
func TestStateIsBounded(t *testing.T) {
	var s State
	for i := range 3 {
		d := &Document{Partial: i > 0}
		for j := range MaxElements {
			id := fmt.Sprint(i, "-", j)
			d.Groups = append(d.Groups, Group{id})
			d.Sessions = append(d.Sessions, Session{ID: id})
			d.Streams = append(d.Streams, Stream{ID: id})
			d.Participants = append(d.Participants, Participant{ID: id, Sends: make([]string, 100), StreamsStated: true})
			d.Extensions = append(d.Extensions, Extension{"session", id, "a", "b"})
		}
		s.Apply(d)
	}
	if len(s.groups) > maxKept || len(s.sessions) > maxKept || len(s.streams) > maxKept || len(s.members) > maxKept || len(s.extensions) > MaxElements {
		t.Errorf("%d groups, %d sessions, %d streams, %d members, %d extensions", len(s.groups), len(s.sessions), len(s.streams), len(s.members), len(s.extensions))
	}
	if n := len(s.members[0].Sends); n > maxEach {
		t.Errorf("%d streams of one participant", n)
	}
}

// TestCalls counts the calls that follow one another in one recording session.
func TestCalls(t *testing.T) {
	session := func(id, stop string) Session { return Session{ID: id, Stop: stop} }
	for _, c := range []struct {
		name    string
		docs    []*Document
		calls   int
		current string
	}{
		{"no session named", []*Document{{}}, 0, ""},
		{"one", []*Document{{Sessions: []Session{session("a", "")}}}, 1, "a"},
		{"two from the start", []*Document{{Sessions: []Session{session("a", ""), session("b", "")}}}, 1, "a"},
		{"another beside it", []*Document{{Sessions: []Session{session("a", "")}},
			{Partial: true, Sessions: []Session{session("b", "")}}}, 1, "a"},
		{"new ids", []*Document{{Sessions: []Session{session("a", "")}}, {Sessions: []Session{session("b", "")}}}, 1, "b"},
		{"stopped", []*Document{{Sessions: []Session{session("a", "")}},
			{Partial: true, Sessions: []Session{session("a", "x")}}}, 1, "a"},
		{"stopped, then another", []*Document{{Sessions: []Session{session("a", "")}},
			{Partial: true, Sessions: []Session{session("a", "x")}},
			{Partial: true, Sessions: []Session{session("b", "")}}}, 2, "b"},
		{"stopped, then a complete other", []*Document{{Sessions: []Session{session("a", "")}},
			{Partial: true, Sessions: []Session{session("a", "x")}}, {Sessions: []Session{session("b", "")}}}, 2, "b"},
		{"both in one document", []*Document{{Sessions: []Session{session("a", "")}},
			{Partial: true, Sessions: []Session{session("a", "x"), session("b", "")}}}, 2, "b"},
		{"the second of two goes on", []*Document{{Sessions: []Session{session("a", ""), session("b", "")}},
			{Partial: true, Sessions: []Session{session("a", "x")}}}, 1, "b"},
	} {
		var s State
		for _, d := range c.docs {
			s.Apply(d)
		}
		if s.Calls() != c.calls || s.Current().ID != c.current {
			t.Errorf("%s: %d calls, current %q, want %d, %q", c.name, s.Calls(), s.Current().ID, c.calls, c.current)
		}
	}
}

// TestNextCallForgetsTheFirst checks that the parties of a call that has ended
// are not the next one's, and that those who are in both stay.
func TestNextCallForgetsTheFirst(t *testing.T) {
	var s State
	s.Apply(&Document{Sessions: []Session{{ID: "a"}}, Participants: []Participant{
		{ID: "1", AoRs: []string{"one"}, Sessions: []string{"a"}}, {ID: "2", AoRs: []string{"two"}, Sessions: []string{"a"}}}})
	s.Apply(&Document{Partial: true, Sessions: []Session{{ID: "a", Stop: "x"}, {ID: "b"}}, Participants: []Participant{
		{ID: "2", Sessions: []string{"b"}}, {ID: "3", AoRs: []string{"three"}, Sessions: []string{"b"}}}})
	var who []string
	for _, m := range s.Participants() {
		who = append(who, m.AoRs...)
	}
	if strings.Join(who, " ") != "two three" {
		t.Errorf("the second call has %q", who)
	}
}
