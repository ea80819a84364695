package siprectest

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/siprectest/offer"
)

// Offer shapes a re-INVITE. The zero Offer is sendonly, with metadata and a
// higher o= version.
type Offer struct {
	Direction string // "sendonly" when empty
	Same      bool   // the description exactly as it was last sent
	Bare      bool   // application/sdp without metadata
	Empty     bool   // no body: the recorder is asked to offer
	Metadata  []byte // instead of the call's own
}

// offerBody writes the body of an offer and remembers it.
func (c *Call) offerBody(o Offer) Body {
	if o.Empty {
		return Body{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !o.Same {
		c.sdp.Version++
		setDefault(&o.Direction, "sendonly")
		for i := range c.sdp.Lines {
			c.sdp.Lines[i].Direction = o.Direction
		}
	}
	meta := o.Metadata
	if meta == nil && !o.Bare {
		meta = c.meta.Write(c.plan.Dialect)
	}
	return offer.Join(c.plan.Dialect, c.sdp.Write(), meta)
}

// Metadata is the call's metadata document, in its dialect.
func (c *Call) Metadata() []byte { return c.meta.Write(c.plan.Dialect) }

// SDP is the session description as it was last offered.
func (c *Call) SDP() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sdp.Write()
}

// ReInvite offers anew. Streams follow the answer: those that it does not
// receive fall silent while their time goes on, and come back when a later
// answer receives them. An offer that is inactive silences them at once. A
// response other than 2xx is returned, and no error.
func (c *Call) ReInvite(ctx context.Context, o Offer) (Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.plan.Timeout)
	defer cancel()
	if o.Direction == "inactive" {
		for _, s := range c.streams {
			s.Aim(netip.AddrPort{})
		}
	}
	res, err := c.finalResponse(ctx, c.newRequest(sip.INVITE, c.nextCSeq(), c.offerBody(o)), 0)
	if err != nil {
		return Reply{}, c.note(fmt.Errorf("re-INVITE: %w", err))
	}
	reply := newReply(res)
	if res.IsSuccess() && !o.Empty {
		c.apply(reply.Answer)
	}
	return reply, nil
}

// Update sends an UPDATE (RFC 3311) with that body: a changed Metadata alone,
// a description, both (see Multipart), or nothing.
func (c *Call) Update(ctx context.Context, body Body) (Reply, error) {
	return c.Request(ctx, string(sip.UPDATE), body)
}

// Request sends any request of the dialog but INVITE, ACK and CANCEL.
func (c *Call) Request(ctx context.Context, method string, body Body, headers ...Header) (Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.plan.Timeout)
	defer cancel()
	req := c.newRequest(sip.RequestMethod(method), c.nextCSeq(), body)
	for _, h := range headers {
		req.AppendHeader(sip.NewHeader(h.Name, h.Value))
	}
	res, err := c.do(ctx, req)
	if err != nil {
		return Reply{}, c.note(fmt.Errorf("%s: %w", method, err))
	}
	return newReply(res), nil
}

// Multipart is the call's body for that description and metadata, as its
// dialect writes it; nil leaves a part out.
func (c *Call) Multipart(sdp, metadata []byte) Body {
	return offer.Join(c.plan.Dialect, sdp, metadata)
}

// Copy has f see every packet that a leg sends by itself, as it is on the wire.
// Its bytes are only valid during the call.
func (c *Call) Copy(leg int, f func(packet []byte)) { c.streams[leg].Copy(f) }

// SendRTP sends bytes from a leg's socket to where the leg's media goes.
func (c *Call) SendRTP(leg int, packet []byte) error {
	if err := c.streams[leg].Send(packet); err != nil {
		return fmt.Errorf("send on leg %d: %w", leg, err)
	}
	return nil
}

// reoffered takes the recorder's own offer and answers with ours.
func (c *Call) reoffered(req *sip.Request) []byte {
	body := req.Body()
	if len(body) == 0 && req.Method == sip.UPDATE {
		return nil
	}
	if bytes.Contains(body, []byte("m=")) {
		c.apply(offer.ReadAnswer(body))
	}
	return c.SDP()
}

// Hold is a Step: media stops and is announced as inactive.
func Hold(ctx context.Context, c *Call) error { return c.stepOffer(ctx, Offer{Direction: "inactive"}) }

// Resume is a Step: media comes back.
func Resume(ctx context.Context, c *Call) error { return c.stepOffer(ctx, Offer{}) }

// Refresh is a Step: the same offer again, unchanged.
func Refresh(ctx context.Context, c *Call) error { return c.stepOffer(ctx, Offer{Same: true}) }

// UpdateMetadata is a Step: an UPDATE with the metadata alone.
func UpdateMetadata(ctx context.Context, c *Call) error {
	r, err := c.Update(ctx, c.Multipart(nil, c.Metadata()))
	return refused("UPDATE", r, err)
}

func (c *Call) stepOffer(ctx context.Context, o Offer) error {
	r, err := c.ReInvite(ctx, o)
	return refused("re-INVITE", r, err)
}

func refused(what string, r Reply, err error) error {
	if err == nil && r.Code/100 != 2 {
		err = fmt.Errorf("%s: %w", what, &StatusError{Code: r.Code, Reason: r.Reason})
	}
	return err
}

// play runs the script beside the media until that has been sent.
func (c *Call) play(ctx context.Context) error {
	zero := time.Now()
	for _, step := range c.plan.Script {
		timer := time.NewTimer(step.At - time.Since(zero))
		select {
		case <-timer.C:
			if err := step.Do(ctx, c); err != nil {
				c.addNote(fmt.Sprintf("step at %v: %v", step.At, err))
			}
		case <-c.ended:
			timer.Stop()
			return nil
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
	return c.Wait(ctx)
}
