package siprec

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"reflect"
	"strings"
	"time"

	"siprecd/siprec/rsmeta"
	"siprecd/siprec/sdp"
	"siprecd/siprec/uas"
)

// call stands between one dialog and the Handler: it reads bodies, merges
// metadata, and writes answers. It implements uas.Call, so its methods never
// overlap.
type call struct {
	handler Handler
	ses     *Session
	count   func(reason string)
	opened  bool // the handler knows the session and will be told of its end

	meta   rsmeta.State
	heads  Headers          // of the INVITE, as later requests changed them
	offer  *sdp.Description // the client's latest description
	origin sdpOrigin
	last   []byte // our latest description
}

func (c *call) open(ctx context.Context, r *uas.Request) (uas.Reply, error) {
	ch, err := c.read(r)
	if err != nil {
		return uas.Reply{}, err
	}
	c.ses.tags = readTags(r.Fields)
	a, err := c.handler.Open(ctx, c.ses, *ch)
	c.opened = err == nil && a != nil
	return c.reply(ch, a, err)
}

// Change implements uas.Call.
func (c *call) Change(ctx context.Context, r *uas.Request) (uas.Reply, error) {
	before := c.ses.Identity()
	ch, err := c.read(r)
	if err != nil {
		return uas.Reply{}, err
	}
	if ch.Offer == nil && ch.MetadataRaw == nil && reflect.DeepEqual(before, c.ses.Identity()) {
		return uas.Reply{}, nil // a sign of life
	}
	a, err := c.handler.Change(ctx, c.ses, *ch)
	if r.Answer || r.Method == "BYE" {
		if err == nil && ch.Offer != nil {
			c.offer = ch.Offer
		}
		return uas.Reply{}, err
	}
	return c.reply(ch, a, err)
}

// Offer implements uas.Call: what the client described last is offered anew.
func (c *call) Offer(ctx context.Context) (uas.Reply, error) {
	ch := &Change{At: time.Now(), Offer: c.offer, Proposed: true}
	if ch.Offer == nil {
		ch.Offer = ProposedOffer()
	}
	a, err := c.handler.Change(ctx, c.ses, *ch)
	return c.reply(ch, a, err)
}

// Close implements uas.Call.
func (c *call) Close(end uas.End) { c.handler.Close(c.ses, end) }

// Receiving implements uas.Call.
func (c *call) Receiving() bool {
	r, ok := c.handler.(receiver)
	return ok && r.Receiving(c.ses)
}

// read makes a Change of a request. An INVITE without a description gets a
// proposal of ours; bad metadata is no error.
func (c *call) read(r *uas.Request) (*Change, error) {
	ch := &Change{Method: r.Method, CSeq: r.CSeq, At: r.At, Answered: r.Answer}
	b, err := readBody(r.ContentType, r.Body)
	if err != nil {
		c.count("body-unreadable")
		return nil, err
	}
	if b.SDP != nil && r.Method != "BYE" {
		if ch.Offer, err = sdp.Parse(b.SDP); err != nil {
			c.count("sdp-unreadable")
			return nil, refuseSDP(err)
		}
	}
	if ch.Offer == nil && r.Method == "INVITE" && !r.Answer {
		ch.Proposed = true
		if ch.Offer = c.offer; ch.Offer == nil {
			ch.Offer = ProposedOffer()
		}
	}
	c.metadata(ch, b.Metadata)
	if (r.Method == "INVITE" || r.Method == "UPDATE") && !r.Answer {
		c.head(r)
	}
	c.ses.setIdentity(identify(c.heads, &c.meta))
	return ch, nil
}

// refuseSDP is the answer that fits why a description was not read.
func refuseSDP(err error) *Refusal {
	switch {
	case errors.Is(err, sdp.ErrTooLarge):
		return &Refusal{Code: 413, Reason: "Request Entity Too Large"}
	case errors.Is(err, sdp.ErrNoMedia), errors.Is(err, sdp.ErrTooManyMedia):
		return &Refusal{Code: 488, Reason: "Not Acceptable Here", Warning: `399 siprecd "the number of media lines"`}
	}
	return &Refusal{Code: 400, Reason: "Unreadable Session Description"}
}

// metadata reads a document into ch and merges it into the session's.
func (c *call) metadata(ch *Change, raw []byte) {
	if raw == nil {
		return
	}
	ch.MetadataRaw = raw[:min(len(raw), maxMetadata)]
	ch.Metadata, ch.MetadataErr = rsmeta.Parse(raw)
	if ch.MetadataErr != nil {
		c.count("metadata-unreadable")
		ch.Metadata = nil
		return
	}
	calls := c.meta.Calls()
	c.meta.Apply(ch.Metadata)
	ch.NewCall = calls > 0 && c.meta.Calls() > calls
}

// head takes the header of a request for the session's identity: what it has
// replaces what was there, what it lacks stays, for a client does not repeat
// a Diversion in an UPDATE.
func (c *call) head(r *uas.Request) {
	fields := make(map[string][]string, len(r.Fields))
	maps.Copy(fields, c.heads.Fields)
	for name := range r.Fields {
		for old := range fields {
			if strings.EqualFold(old, name) {
				delete(fields, old)
			}
		}
	}
	maps.Copy(fields, r.Fields)
	if c.heads.RequestURI == "" { // later ones name our Contact
		c.heads.RequestURI = r.URI
	}
	c.heads.Fields = fields
}

// reply builds the body of the 200 from what the handler said, or returns why
// there is none, and notes what was agreed.
func (c *call) reply(ch *Change, a *Answer, err error) (uas.Reply, error) {
	if err != nil || ch.Offer == nil {
		return uas.Reply{}, err
	}
	if a == nil {
		return uas.Reply{}, errors.New("the handler gave no answer to an offer")
	}
	body, err := c.describe(ch, a)
	if err != nil {
		return uas.Reply{}, err
	}
	c.offer = ch.Offer
	return uas.Reply{ContentType: "application/sdp", Body: body, Offer: ch.Proposed}, nil
}

// describe writes our description. Its version grows only when its text
// changes (RFC 3264 section 8).
func (c *call) describe(ch *Change, a *Answer) ([]byte, error) {
	build := buildAnswer
	if ch.Proposed {
		build = buildOffer
	}
	if c.last == nil {
		c.origin = sdpOrigin{ID: uint64(ch.At.Unix()), Version: 1}
	}
	body, err := build(ch.Offer, a, c.origin)
	if err != nil {
		return nil, err
	}
	if c.last != nil && !bytes.Equal(body, c.last) {
		c.origin.Version++
		if body, err = build(ch.Offer, a, c.origin); err != nil {
			return nil, err
		}
	}
	c.last = body
	return body, nil
}
