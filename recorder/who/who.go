// Package who keeps the attendance of a call: which party was there, and heard
// in which channel, from when to when.
//
//	metadata ─► parties, with the channel of each ─► Book.Attend ─► events for the history
//	                                            └──► Book.Muted: a line whose party was put on hold
//
// Promises: every instant is by the recorder's own clock, for clients send
// theirs without a zone, or as 1970. A party is known by its address, not by
// the id that clients make up anew in mid-call.
//
// Caveat: two parties with the same address are one.
package who

import (
	"slices"
	"time"

	"siprecd/recorder/sides"
	"siprecd/siprec"
	"siprecd/store"
)

// seat is what the history last said of a party.
type seat struct {
	name         string
	joined, left time.Time
	channel      string // where it is heard, "" nowhere
}

// partyName tells parties apart over the whole call: clients make up new ids
// in mid-call, but an address stays.
func partyName(p siprec.Party) string {
	if len(p.AoRs) > 0 {
		return p.AoRs[0]
	}
	return p.ID
}

// Book is the attendance of one call. Its zero value is empty. It is not safe
// for parallel use.
type Book struct {
	seats  map[string]*seat
	voices map[int]string // who was last said to send a media line
}

// Attend tells which parties have come, gone, or moved to another channel
// since it was last called. rows are those of the parties, in their order.
func (b *Book) Attend(parties []siprec.Party, rows []store.Party) []store.Event {
	now := time.Now().UTC()
	if b.seats == nil {
		b.seats = map[string]*seat{}
	}
	var events []store.Event
	tell := func(kind, text, name, channel string) {
		events = append(events, store.Event{At: now, Kind: kind, Text: text, Party: name, Channel: channel})
	}
	here := map[string]bool{}
	for i, row := range rows {
		p := parties[i]
		name := partyName(p)
		if p.Gone || here[name] {
			continue
		}
		here[name] = true
		s := b.seats[name]
		if s == nil || !s.left.IsZero() {
			s = &seat{name: row.Name, joined: now}
			b.seats[name] = s
			tell("party", "joined", name, row.Channel)
		} else if s.channel != row.Channel {
			text := "heard"
			if row.Channel == "" {
				text = "not heard"
			}
			tell("channel", text, name, row.Channel)
		}
		s.channel = row.Channel
	}
	for name, s := range b.seats {
		if !here[name] && s.left.IsZero() {
			s.left, s.channel = now, ""
			tell("party", "left", name, "")
		}
	}
	return events
}

// Times are when a party came and went, by our clock; zero: not yet.
func (b *Book) Times(p siprec.Party) (joined, left time.Time) {
	if s := b.seats[partyName(p)]; s != nil {
		return s.joined, s.left
	}
	return joined, left
}

// Former are the parties that the client no longer names at all.
func (b *Book) Former(parties []siprec.Party) []store.Party {
	var out []store.Party
	for name, s := range b.seats {
		if !slices.ContainsFunc(parties, func(p siprec.Party) bool { return partyName(p) == name }) {
			out = append(out, store.Party{Name: s.name, AoRs: []string{name}, Joined: s.joined, Left: s.left})
		}
	}
	slices.SortFunc(out, func(a, b store.Party) int { return a.Joined.Compare(b.Joined) })
	return out
}

// Muted says that the metadata took a line's voice away, though its media may
// still be offered: whoever was last said to send it is on hold, or gone, and
// nobody else sends it (RFC 8068 section 3.2.2).
func (b *Book) Muted(parties []siprec.Party, i int, label string) bool {
	if b.voices == nil {
		b.voices = map[int]string{}
	}
	for _, p := range parties {
		if sides.Speaks(p, i, label) {
			b.voices[i] = partyName(p)
			return false
		}
	}
	for _, p := range parties {
		if name, ok := b.voices[i]; ok && partyName(p) == name {
			return p.Silent || p.Gone
		}
	}
	return false
}

// Minimise drops what the policy does not let us keep (RFC 7865 section 10).
// A history without parties still says when and how.
func Minimise(d *store.Details, keeps func(field string) bool) {
	for field, text := range map[string]*string{
		"call_id": &d.CallID, "call_key": &d.CallKey, "direction": &d.Direction,
		"caller": &d.Caller, "called": &d.Called, "agent": &d.Agent, "peer": &d.Peer,
	} {
		if !keeps(field) {
			*text = ""
			delete(d.Sources, field)
		}
	}
	if !keeps("call_key") {
		d.Keys = nil
	}
	if !keeps("documents") {
		d.Documents = nil
	}
	if !keeps("parties") {
		d.Parties = nil
		for i := range d.History {
			d.History[i].Party = ""
		}
	}
	if !keeps("history") {
		d.History = nil
	}
}

// Numbers are all that details name, each once, in the form that normalise gives
// them; it gives "" for what is none.
func Numbers(d *store.Details, normalise func(string) string) (list []string) {
	all := []string{d.Caller, d.Called, d.Agent}
	for _, p := range d.Parties {
		all = append(all, p.AoRs...)
	}
	for _, text := range all {
		if n := normalise(text); n != "" && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list
}
