package recorder

import (
	"slices"

	"siprecd/media"
	"siprecd/siprec"
	"siprecd/siprec/sdp"
	"siprecd/store"
)

// attribute gives every media line its side: by the metadata, else by order,
// and then the recording is flagged. Metadata that would put all of several
// audio lines on one side (a label that stands twice, a stream that two parties
// send) tells nothing.
func (k *call) attribute(offer *sdp.Description) []media.Side {
	parties := k.session.Identity().Parties
	sides := make([]media.Side, len(offer.Media))
	var audio []int
	heard := map[media.Side]bool{}
	known := true
	for i, m := range offer.Media {
		if m.Kind != "audio" {
			continue
		}
		audio = append(audio, i)
		side, ok := k.sideOf(parties, m.Label)
		sides[i], heard[side] = side, true
		known = known && ok
	}
	if known && (len(audio) < 2 || len(heard) == 2) {
		return sides
	}
	k.flag("channels by order")
	k.byOrder(offer, audio, sides)
	return sides
}

// byOrder gives the first audio line to the caller and the rest to us; a line
// whose label the metadata does place keeps that place if the other side is
// still heard.
func (k *call) byOrder(offer *sdp.Description, audio []int, sides []media.Side) {
	for n, i := range audio {
		sides[i] = sideWhen(n > 0)
	}
	if len(audio) != 2 {
		return
	}
	parties := k.session.Identity().Parties
	first, ok1 := k.sideOf(parties, offer.Media[audio[0]].Label)
	second, ok2 := k.sideOf(parties, offer.Media[audio[1]].Label)
	switch {
	case ok1 && !ok2:
		sides[audio[0]], sides[audio[1]] = first, other(first)
	case ok2 && !ok1:
		sides[audio[0]], sides[audio[1]] = other(second), second
	}
}

func other(s media.Side) media.Side { return sideWhen(s == media.Left) }

// sideOf is the side of the party that sends a label. Ours is the party that
// bears the listed line's number or is named as the recorded user; where none
// does, the party that placed the call is the caller of an inbound call and
// ours of an outbound one.
func (k *call) sideOf(parties []siprec.Party, label string) (media.Side, bool) {
	at := slices.IndexFunc(parties, func(p siprec.Party) bool { return sends(p, label) })
	if at < 0 || label == "" {
		return media.Left, false
	}
	id := k.session.Identity()
	ours := slices.IndexFunc(parties, func(p siprec.Party) bool { return k.bearsLine(p) })
	if ours < 0 && id.Agent.Value != "" {
		ours = k.bearer(parties, id.Agent.Value)
	}
	if ours < 0 && id.Called.Value != "" && id.Direction != "outbound" {
		ours = k.bearer(parties, id.Called.Value)
	}
	if ours >= 0 {
		return sideWhen(at == ours), true
	}
	caller := max(k.bearer(parties, id.Caller.Value), 0)
	return sideWhen((at == caller) == (id.Direction == "outbound")), true
}

// sideWhen is our side or the caller's.
func sideWhen(ours bool) media.Side {
	if ours {
		return media.Right
	}
	return media.Left
}

// bearer is the index of the party with a number, -1 when none has it.
func (k *call) bearer(parties []siprec.Party, number string) int {
	want := k.r.cfg.Rules.Normalise(number)
	if want == "" {
		return -1
	}
	return slices.IndexFunc(parties, func(p siprec.Party) bool {
		return slices.ContainsFunc(p.AoRs, func(a string) bool { return k.r.cfg.Rules.Normalise(a) == want })
	})
}

// bearsLine says that one of a party's addresses is the listed line's.
func (k *call) bearsLine(p siprec.Party) bool {
	return k.decision.Line != "" && slices.ContainsFunc(p.AoRs, func(a string) bool {
		return k.r.lineOf(a) == k.decision.Line
	})
}

// sends says that a party sends the stream with a label.
func sends(p siprec.Party, label string) bool { return slices.Contains(p.Labels, label) }

// details are the personal part of the recording as known now. The caller
// holds mu.
func (k *call) details() store.Details {
	id := k.session.Identity()
	d := store.Details{
		CallID: k.session.CallID(), CallKey: id.CallKey.Value, Direction: k.direction(id),
		Caller: id.Caller.Value, Called: id.Called.Value, Agent: id.Agent.Value,
		Peer:    k.session.Peer().String(),
		Parties: k.partyRows(id.Parties), History: slices.Clone(k.history), Documents: slices.Clone(k.documents),
	}
	for _, n := range []string{id.Caller.Value, id.Called.Value, id.Agent.Value} {
		d.Numbers = k.addNumber(d.Numbers, n)
	}
	for _, p := range id.Parties {
		for _, a := range p.AoRs {
			d.Numbers = k.addNumber(d.Numbers, a)
		}
	}
	return d
}

// addNumber adds a number in canonical form, once.
func (k *call) addNumber(to []string, number string) []string {
	n := k.r.cfg.Rules.Normalise(number)
	if n == "" || slices.Contains(to, n) {
		return to
	}
	return append(to, n)
}

// direction is what the client says, else it follows from who bears the line.
func (k *call) direction(id siprec.Identity) string {
	if id.Direction != "" || k.decision.Line == "" {
		return id.Direction
	}
	switch k.decision.Line {
	case k.r.lineOf(id.Called.Value):
		return "inbound"
	case k.r.lineOf(id.Caller.Value):
		return "outbound"
	}
	return ""
}

// partyRows names each party's channel and how it was found.
func (k *call) partyRows(parties []siprec.Party) []store.Party {
	rows := make([]store.Party, 0, len(parties))
	for _, p := range parties {
		row := store.Party{Name: p.Name, AoRs: slices.Clone(p.AoRs)}
		for _, l := range k.legs {
			if l != nil && l.label != "" && sends(p, l.label) {
				row.Channel, row.Source = k.channel(l.cfg.Side), "metadata"
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// save hands the details to the store.
func (k *call) save() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.saveLocked()
}

func (k *call) saveLocked() {
	d := k.details()
	k.rec.Update(func(to *store.Details) { *to = d })
}
