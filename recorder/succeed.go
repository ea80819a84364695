package recorder

import (
	"context"
	"fmt"
	"time"

	"siprecd/media"
	"siprecd/recorder/keying"
	"siprecd/siprec"
	"siprecd/store"
)

// succeed begins the next recorded call of a session whose first has ended
// (RFC 8068: a new communication session after a stop-time). It is a recording
// of its own, decided on anew, which takes over the ports of the one before:
// the client may have said no more than that the call is another one.
func (r *Recorder) succeed(ctx context.Context, k *call, c siprec.Change) (*siprec.Answer, error) {
	next := &call{r: r, session: k.session}
	next.note(c)
	next.decision = r.decide(next.id, next.metadata)
	r.count(next.decision.Reason)
	a, err := next.follow(ctx, k, c)
	if err != nil && next.rec == nil {
		if k.rec == nil {
			r.desk.Refused(next.decision.Line, err)
		}
		return nil, err // the call before goes on, and has this one in it
	}
	if next.rec == nil && k.rec != nil || next.decision.Record && next.rec == nil {
		if c.Offer == nil {
			k.session.Reinvite() // to inactive, or for the media to record
		}
	}
	r.add(next)
	if k.rec != nil {
		k.finish(siprec.End{At: c.At, Cause: "next call"})
	}
	return a, err
}

// follow begins the recording of a session's next call, if it is to be recorded.
func (k *call) follow(ctx context.Context, before *call, c siprec.Change) (*siprec.Answer, error) {
	switch {
	case !k.decision.Record:
		return k.decline(c.Offer), nil
	case before.rec == nil && c.Offer != nil:
		return k.begin(ctx, c)
	case before.rec != nil:
		return k.take(ctx, before, c)
	}
	return nil, nil
}

// take begins the recording with the legs of the call before it. From then on it
// is one, whatever becomes of the offer.
func (k *call) take(ctx context.Context, from *call, c siprec.Change) (*siprec.Answer, error) {
	var rec *store.Recording
	defer func() {
		if rec != nil {
			k.abandon(rec)
		}
	}()
	k.mu.Lock()
	defer k.mu.Unlock()
	from.mu.Lock()
	k.layout, k.rate = from.layout, from.rate
	from.mu.Unlock()
	admission, err := k.admission()
	if err != nil {
		return nil, err
	}
	rec, err = k.r.cfg.Store.Begin(ctx, admission)
	if err != nil {
		return nil, fmt.Errorf("begin the next recording of a session: %w", err)
	}
	k.r.kin.Enter(rec.ID())
	k.start, k.sink = time.Now(), &gate{Sink: rec}
	k.media, err = k.r.cfg.Media.NewCall(media.CallConfig{
		Start: k.start, Layout: k.layout, Rate: k.rate,
		Bitrate: k.r.cfg.Bitrate, Complexity: k.r.cfg.Complexity, Sink: k.sink,
	})
	if err != nil {
		return nil, fmt.Errorf("begin the next recording of a session: %w", err)
	}
	k.rec, rec = rec, nil
	k.r.desk.Book.Begin(k.rec.ID(), k.decision.Line, k.start)
	k.event("established", "%s", k.decision.Reason)
	k.inherit(from)
	k.r.kin.Join(k.rec.ID(), store.Row{ID: from.rec.ID(), State: store.Finished}, "recording session")
	var a *siprec.Answer
	if c.Offer != nil {
		if a, err = k.applyLocked(c.Offer); err != nil {
			return nil, err
		}
		k.propose(c, a)
	}
	k.saveLocked()
	return a, nil
}

// inherit moves the legs of the call before.
func (k *call) inherit(from *call) {
	from.mu.Lock()
	defer from.mu.Unlock()
	k.legs = make([]*leg, len(from.legs))
	for i, l := range from.legs {
		if l == nil {
			continue
		}
		cfg := l.cfg
		of, named := k.sideOf(i, l.label)
		if named {
			cfg.Side = of
		} else {
			k.flag("channels by order")
		}
		cfg.Hold = l.hold || k.book.Muted(k.id.Parties, i, l.label)
		s, err := l.stream.Hand(k.media, cfg)
		if err != nil {
			k.r.log.Error("a stream was not handed on", "recording", k.rec.ID(), "err", err)
			continue
		}
		from.legs[i] = nil
		k.legs[i] = &leg{stream: s, label: l.label, cfg: cfg, hold: l.hold, named: named, sec: l.sec}
		k.event("stream", "%s goes on, %s", cfg.Name, k.channel(cfg.Side))
		k.secured(cfg.Name, l.sec, keying.Protection{})
	}
}
