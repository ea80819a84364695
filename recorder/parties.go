package recorder

import (
	"slices"

	"siprecd/media"
	"siprecd/recorder/account"
	"siprecd/recorder/kin"
	"siprecd/recorder/sides"
	"siprecd/recorder/who"
	"siprecd/siprec"
	"siprecd/siprec/sdp"
	"siprecd/store"
)

// attribute gives every media line its side, and flags a recording where the
// metadata did not tell all of them.
func (k *call) attribute(offer *sdp.Description) []sides.Seat {
	seats, sure := sides.Attribute(offer, k.sideOf, func(i int) (sides.Seat, bool) {
		if i >= len(k.legs) || k.legs[i] == nil {
			return sides.Seat{}, false
		}
		return sides.Seat{Side: k.legs[i].cfg.Side, Named: k.legs[i].named}, true
	})
	if !sure {
		k.flag("channels by order")
	}
	return seats
}

// sideOf is the side of the party that sends media line i.
func (k *call) sideOf(i int, label string) (media.Side, bool) {
	var had sides.Had
	if i < len(k.legs) && k.legs[i] != nil && k.legs[i].named {
		had = &k.legs[i].cfg.Side
	}
	return sides.Seating{Rules: k.r.cfg.Rules, Line: k.decision.Line, ID: k.id}.Of(i, label, had)
}

// details are the personal part of the recording as known now. The caller
// holds mu.
func (k *call) details() store.Details {
	id := k.id
	d := store.Details{
		CallID: k.session.CallID(), CallKey: id.CallKey.Value, Direction: k.direction(id),
		Caller: id.Caller.Value, Called: id.Called.Value, Agent: id.Agent.Value,
		Peer: k.session.Peer().String(), Client: account.Client(k.session.Client()),
		Parties: append(k.partyRows(), k.book.Former(k.id.Parties)...), History: slices.Clone(k.history), Documents: slices.Clone(k.documents),
	}
	d.Sources = map[string]string{}
	for what, source := range map[string]string{
		"caller": id.Caller.Source, "called": id.Called.Source, "agent": id.Agent.Source,
		"call_key": id.CallKey.Source, "line": k.decision.Source,
	} {
		if source != "" {
			d.Sources[what] = source
		}
	}
	if d.Keys, d.Links = kin.Keys(id.Keys), k.links; k.rec != nil && d.Links == nil {
		d.Links = k.r.kin.Of(k.rec.ID())
	}
	who.Minimise(&d, k.r.cfg.Rules.Keeps)
	d.Numbers = who.Numbers(&d, k.r.cfg.Rules.Normalise)
	return d
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

// partyRows names each party's channel and how it was found: one row a party,
// in the client's order. Where no party can be told by metadata and there are
// as many as legs, their order is all there is.
func (k *call) partyRows() []store.Party {
	parties := k.id.Parties
	rows := make([]store.Party, 0, len(parties))
	var order []int // rows of those who are there
	known := false
	for n, p := range parties {
		row := store.Party{Name: p.Name, AoRs: slices.Clone(p.AoRs)}
		for i, l := range k.legs {
			if l != nil && !p.Gone && sides.Speaks(p, i, l.label) {
				row.Channel, row.Source, known = k.channel(l.cfg.Side), "metadata", true
			}
		}
		row.Joined, row.Left = k.book.Times(p)
		if !p.Gone {
			order = append(order, n)
		}
		rows = append(rows, row)
	}
	legs := slices.DeleteFunc(slices.Clone(k.legs), func(l *leg) bool { return l == nil })
	if !known && len(order) == len(legs) && !slices.ContainsFunc(legs, func(l *leg) bool { return l.named }) {
		for i, n := range order {
			rows[n].Channel, rows[n].Source = k.channel(legs[i].cfg.Side), "order"
		}
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
	k.history = append(k.history, k.book.Attend(k.id.Parties, k.partyRows())...)
	k.link()
	d := k.details()
	k.rec.Update(func(to *store.Details) { *to = d })
}
