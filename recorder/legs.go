package recorder

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"siprecd/media"
	"siprecd/recorder/account"
	"siprecd/recorder/sides"
	"siprecd/recorder/terms"
	"siprecd/siprec"
	"siprecd/siprec/sdp"
	"siprecd/store"
)

// layoutFor is the configured layout, but mono for a session whose only audio
// line carries both parties: two channels would leave one of them empty.
func (k *call) layoutFor(offer *sdp.Description) media.Layout {
	audio, label := 0, ""
	for _, m := range offer.Media {
		if terms.Of(m).Audio {
			audio++
			label = m.Label
		}
	}
	if audio != 1 {
		return k.r.cfg.Layout
	}
	senders := 0
	for _, p := range k.id.Parties {
		if sides.Speaks(p, 0, label) {
			senders++
		}
	}
	if senders > 1 {
		return media.Mono
	}
	return k.r.cfg.Layout
}

// apply brings the recorded legs into line with an offer and answers it.
func (k *call) apply(offer *sdp.Description) (*siprec.Answer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.unsecured(offer); err != nil {
		return nil, err // and all stays as it was (RFC 3261 section 14.2)
	}
	return k.applyLocked(offer)
}

func (k *call) applyLocked(offer *sdp.Description) (*siprec.Answer, error) {
	a := &siprec.Answer{Addr: k.r.cfg.Address}
	seats := k.attribute(offer)
	for len(k.legs) < len(offer.Media) {
		k.legs = append(k.legs, nil)
	}
	for i := len(offer.Media); i < len(k.legs); i++ {
		k.closeLeg(i)
	}
	open := 0
	k.unplayed = nil
	var failed error
	for i, m := range offer.Media {
		am, err := k.applyLine(i, m, seats[i])
		if err != nil { // the other lines go on: a part of a call is better than none
			k.flag("stream without a port")
			k.unplayed = append(k.unplayed, i)
			am, failed = k.unwanted(m), err
		} else if k.legs[i] != nil {
			open++
		}
		a.Media = append(a.Media, am)
	}
	if open == 0 && failed != nil {
		return nil, failed
	}
	return a, nil
}

// applyLine opens, changes or closes the leg of one media line.
func (k *call) applyLine(i int, m sdp.Media, side sides.Seat) (siprec.AnswerMedia, error) {
	g := terms.Of(m)
	l := k.legs[i]
	sec, why := k.secure(m, l.security())
	if m.Port == 0 || !g.Audio || why != "" {
		return k.untaken(i, m, why), nil
	}
	cfg := media.StreamConfig{
		Name: m.Label, Side: side.Side, Codecs: g.Codecs,
		Source: netip.AddrPortFrom(m.Addr, uint16(m.Port)), Hold: m.OnHold() || k.book.Muted(k.id.Parties, i, m.Label),
		Keys: sec.Keys, Digits: k.decision.DTMF,
	}
	if cfg.Name == "" {
		cfg.Name = strconv.Itoa(i)
		k.flag("stream without label")
	}
	if l == nil {
		s, err := k.media.Add(cfg)
		if err != nil {
			return siprec.AnswerMedia{}, fmt.Errorf("open media line %d: %w", i, err)
		}
		l = &leg{stream: s, label: m.Label, cfg: cfg}
		k.legs[i] = l
		k.event("stream", "%s opened, %s", cfg.Name, k.channel(side.Side))
	} else {
		k.change(l, m.Label, cfg)
	}
	k.secured(cfg.Name, sec, l.sec)
	l.hold, l.named, l.sec = m.OnHold(), side.Named, sec
	direction := sdp.RecvOnly
	if m.Direction == sdp.Inactive || m.Direction == sdp.RecvOnly {
		direction = sdp.Inactive
	}
	return protected(siprec.AnswerMedia{Port: l.stream.Port(), Formats: g.Formats, Direction: direction}, sec), nil
}

// change tells a leg what was agreed anew, and the history what is different.
func (k *call) change(l *leg, label string, cfg media.StreamConfig) {
	switch {
	case cfg.Hold && !l.cfg.Hold:
		k.event("hold", "%s", cfg.Name)
	case !cfg.Hold && l.cfg.Hold:
		k.event("resume", "%s", cfg.Name)
	}
	if cfg.Side != l.cfg.Side {
		k.event("channel", "%s now %s", cfg.Name, k.channel(cfg.Side))
	}
	l.label, l.cfg = label, cfg
	l.stream.Update(cfg)
}

// closeLeg ends the leg of media line i, if there is one. What was heard stays.
func (k *call) closeLeg(i int) {
	if l := k.legs[i]; l != nil {
		l.stream.Remove()
		k.event("stream", "%s closed", l.cfg.Name)
		k.legs[i] = nil
	}
}

// identify takes up parties that became known or changed without an offer.
func (k *call) identify() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, l := range k.legs {
		if l == nil {
			continue
		}
		cfg := l.cfg
		if side, ok := k.sideOf(i, l.label); ok {
			cfg.Side, l.named = side, true
		}
		if cfg.Hold = l.hold || k.book.Muted(k.id.Parties, i, l.label); cfg.Hold != l.cfg.Hold || cfg.Side != l.cfg.Side {
			k.change(l, l.label, cfg)
		}
	}
	if k.decision.Line == "" && k.metadata == goodMetadata {
		k.nameLine()
	}
}

// nameLine acts on late metadata that tells the line of a recording begun
// without one: it gets its line, or, if the call is not to be recorded, it is
// thrown away. The caller holds mu.
func (k *call) nameLine() {
	d := k.r.decide(k.id, k.metadata)
	if d.Record && d.Line == "" {
		return
	}
	k.r.count(d.Reason)
	k.decision = d
	if !d.Record {
		k.discard()
		return
	}
	decision, err := json.Marshal(d)
	if err != nil {
		k.r.log.Error("encode decision", "recording", k.rec.ID(), "err", err)
	}
	for _, l := range k.legs {
		if l != nil && l.cfg.Digits != d.DTMF {
			cfg := l.cfg
			cfg.Digits = d.DTMF
			k.change(l, l.label, cfg)
		}
	}
	k.event("line", "%s", d.Reason)
	k.flags = slices.DeleteFunc(k.flags, func(f string) bool { return f == unidentifiedFlag })
	k.rec.Attribute(d.Line, d.Queue, decision)
	k.r.desk.Book.Move(k.rec.ID(), d.Line)
}

// discard turns the call into one that is not recorded. The caller holds mu.
func (k *call) discard() {
	k.r.log.Info("recording discarded: the call is not to be recorded", "recording", k.rec.ID(), "reason", k.decision.Reason)
	k.sink.shut.Store(true)
	k.r.drop(k.rec)
	// The client sends on until it is told: its ports stay ours until the
	// session ends, or another call would be given what arrives there.
	k.rec, k.history = nil, nil
}

// drop throws a recording away.
func (r *Recorder) drop(rec *store.Recording) {
	r.kin.Leave(rec.ID())
	r.desk.Book.Drop(rec.ID())
	rec.Discard()
	r.kin.Left(rec.ID())
}

// channel names a side as the recording's documents do.
func (k *call) channel(s media.Side) string { return account.Channel(k.layout, s) }
