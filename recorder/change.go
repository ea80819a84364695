package recorder

import (
	"context"
	"errors"

	"siprecd/recorder/terms"
	"siprecd/siprec"
	"siprecd/siprec/sdp"
	"siprecd/store/policy"
)

// Change implements siprec.Handler.
func (r *Recorder) Change(ctx context.Context, s *siprec.Session, c siprec.Change) (*siprec.Answer, error) {
	k := r.get(s)
	if k == nil {
		return nil, errors.New("change of a session that was never opened")
	}
	if c.NewCall {
		return r.succeed(ctx, k, c)
	}
	k.note(c)
	k.snapshot(c)
	if k.rec == nil {
		return r.reconsider(ctx, k, c)
	}
	k.identify()
	if k.rec == nil { // the line became known, and it is not recorded
		if c.Offer == nil {
			s.Reinvite() // the client shall not go on sending to ports that are others' soon
		}
		return k.decline(c.Offer), nil
	}
	if c.Offer == nil {
		k.save()
		return nil, nil
	}
	if terms.Live(c.Offer) && !terms.Playable(c.Offer) {
		return nil, terms.NoCodec() // the session goes on as agreed (RFC 3261 section 14.2)
	}
	a, err := k.apply(c.Offer)
	if err == nil {
		k.mu.Lock()
		k.propose(c, a)
		k.mu.Unlock()
	}
	k.save()
	return a, err
}

// propose makes an answer the offer that it is when the client asked for one,
// or we ask the client: every recorded leg is wanted, whatever its state now.
func (k *call) propose(c siprec.Change, a *siprec.Answer) {
	for i := range a.Media {
		if c.Proposed && k.legs[i] != nil && a.Media[i].Port != 0 {
			a.Media[i].Direction = sdp.RecvOnly
		}
	}
}

// snapshot asks a client that is known to take it for its whole metadata, when
// it began with a part (RFC 7866 section 9.2).
func (k *call) snapshot(c siprec.Change) {
	if c.Metadata == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	first := !k.watch.metadata
	k.watch.metadata = true
	if first && c.Metadata.Partial && k.r.peerOf(k.session).Snapshot {
		k.session.RequestSnapshot()
	}
}

// reconsider decides again on a session that is not recorded: the line may
// have become known, or its campaign may have begun. Where the request holds
// no offer that could be answered, the client is asked for its media.
func (r *Recorder) reconsider(ctx context.Context, k *call, c siprec.Change) (*siprec.Answer, error) {
	if c.Method == "BYE" {
		return nil, nil
	}
	d := r.decide(k.id, k.metadata)
	if !d.Record {
		return k.decline(c.Offer), nil
	}
	if c.Offer == nil || c.Answered {
		k.session.Reinvite()
		return nil, nil
	}
	r.count(d.Reason)
	was := k.decide(d)
	a, err := k.begin(ctx, c)
	if err != nil { // as before, so that it is tried again: see wanted
		k.decide(was)
		if !k.refused {
			r.desk.Refused(d.Line, err)
		}
		k.refused = true
	}
	return a, err
}

// decide takes up a decision and returns the one before.
func (k *call) decide(d policy.Decision) (was policy.Decision) {
	k.mu.Lock()
	defer k.mu.Unlock()
	was, k.decision = k.decision, d
	return was
}
