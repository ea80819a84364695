package uas

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/transport"
)

// offering is the state of a re-INVITE of ours, and what else was asked for
// from outside. What stands above mu belongs to the dialog's goroutine.
type offering struct {
	wanted bool         // the application wants one
	out    *sip.Request // sent, no final response yet
	after  time.Time    // not before, because of glare or a busy client
	tries  int          // that found the client busy
	ack    *sip.Request // of the latest 2xx, for its copies

	mu    sync.Mutex
	asked []func() // to be done by the dialog's goroutine
}

// Reinvite has a re-INVITE of ours sent as soon as none of either side is in
// progress (RFC 3261 section 14.1). Call.Offer is asked for its body then, so
// that it describes the session as it is at that moment, and again for each
// try that glare makes necessary. The answer comes to Call.Change. It does not
// block; asked for twice before one leaves, one leaves.
func (d *Dialog) Reinvite() { d.ask(func() { d.offering.wanted = true }) }

// Update sends an UPDATE with a body that is no offer: a request for a
// metadata snapshot (RFC 7866 section 9.2). It does not block; the reply is
// only counted.
func (d *Dialog) Update(contentType, disposition string, body []byte) {
	d.ask(func() {
		if !d.target.update {
			d.srv.Count("update-not-possible")
			return
		}
		req := d.request(sip.UPDATE)
		d.timer.Keep(req)
		req.AppendHeader(sip.NewHeader("Content-Disposition", disposition))
		setBody(req, contentType, body)
		d.send(req, func(status int) {
			if status/100 != 2 {
				d.srv.Count("update-refused")
			}
		})
	})
}

// Probe asks the client for a sign of life within the dialog: an empty UPDATE
// where its Allow names that, for only this needs the dialog to be there, else
// OPTIONS. heard is called from another goroutine with the final status, 0
// when there was none. It does not block.
func (d *Dialog) Probe(heard func(status int)) {
	d.ask(func() {
		req := d.request(sip.OPTIONS)
		if d.target.saysUpdate {
			req = d.request(sip.UPDATE)
			d.timer.Keep(req)
		}
		d.send(req, heard)
	})
}

// ask has the dialog's goroutine do something.
func (d *Dialog) ask(what func()) {
	d.offering.mu.Lock()
	d.offering.asked = append(d.offering.asked, what)
	d.offering.mu.Unlock()
	d.box.Poke()
}

// oblige does what was asked for.
func (d *Dialog) oblige() {
	d.offering.mu.Lock()
	asked := d.offering.asked
	d.offering.asked = nil
	d.offering.mu.Unlock()
	for _, what := range asked {
		if !d.over {
			what()
		}
	}
}

// offerDue says how long until a re-INVITE of ours may leave: 0 for now;
// false while there is none to send, or one is in progress.
func (d *Dialog) offerDue(now time.Time) (time.Duration, bool) {
	o := &d.offering
	if !o.wanted || o.out != nil || d.pending != nil {
		return 0, false
	}
	return max(0, o.after.Sub(now)), true
}

// sendOffer sends a re-INVITE of ours.
func (d *Dialog) sendOffer() {
	d.offering.wanted = false
	reply, err := d.call.Offer(d.srv.ctx)
	if err != nil || len(reply.Body) == 0 {
		d.srv.Count("offer-not-made")
		d.log.Error("a re-INVITE of ours was not made", "error", err)
		return
	}
	req := d.request(sip.INVITE)
	req.AppendHeader(sip.NewHeader("Allow", allowValue))
	req.AppendHeader(sip.NewHeader("Supported", supportedValue))
	d.timer.Keep(req)
	setBody(req, reply.ContentType, reply.Body)
	d.offering.out = req
	d.sendInvite(req)
}

func setBody(req *sip.Request, contentType string, body []byte) {
	req.AppendHeader(sip.NewHeader("Content-Type", contentType))
	req.SetBody(body)
}

// sendInvite starts the transaction and waits for its end beside the dialog.
// A 2xx that comes again is acknowledged again.
func (d *Dialog) sendInvite(req *sip.Request) {
	s := d.srv
	s.work.Go(func() {
		patience := time.NewTimer(64 * s.time.t1)
		defer patience.Stop()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 5*time.Second)
		tx, err := s.stack.Request(ctx, req)
		cancel()
		if err != nil {
			s.Count("request-not-sent")
			d.log.Warn("request was not sent", "method", req.Method, "error", transport.Mask(err.Error()))
			d.ask(func() { d.offered(nil) })
			return
		}
		defer tx.Terminate()
		tx.OnRetransmission(func(*sip.Response) { d.ask(d.ackAgain) })
		final := false
		for {
			select {
			case res := <-tx.Responses():
				if final = final || !res.IsProvisional(); final {
					d.ask(func() { d.offered(res) })
				}
				continue
			case <-tx.Done():
			case <-patience.C:
			case <-s.closed:
			}
			if !final {
				d.ask(func() { d.offered(nil) })
			}
			return
		}
	})
}

// offered takes the final response to our re-INVITE, nil when there was none.
func (d *Dialog) offered(res *sip.Response) {
	req := d.offering.out
	if req == nil {
		return
	}
	d.offering.out = nil
	switch {
	case (res == nil || res.StatusCode >= 500) && d.offering.tries < 4: // busy; the media is wanted all the same
		d.srv.Count("offer-retried")
		d.again(2 * time.Second << d.offering.tries)
		d.offering.tries++
	case res == nil:
		d.srv.Count("offer-unanswered")
	case res.IsSuccess():
		d.offering.tries = 0
		d.agreed(req, res)
	case res.StatusCode == 491:
		// The dialog's Call-ID is the client's, so we wait for 0 to 2 s in
		// steps of 10 ms (RFC 3261 section 14.1); it waits longer.
		d.srv.Count("glare")
		d.again(time.Duration(rand.N(201)) * 10 * time.Millisecond)
	case res.StatusCode == 481 || res.StatusCode == 408:
		d.hangup("session lost", "unknown to the client")
	default:
		d.srv.Count("offer-refused")
		d.log.Warn("the client refused a re-INVITE of ours", "status", res.StatusCode)
	}
}

// agreed acknowledges a 2xx and hands its body, the answer, to the call.
func (d *Dialog) agreed(req *sip.Request, res *sip.Response) {
	if c := res.Contact(); c != nil && !c.Address.Wildcard && c.Address.Host != "" {
		d.target.remote = *c.Address.Clone()
		d.target.remote.Headers = nil
	}
	cseq := req.CSeq().SeqNo
	ack := d.request(sip.ACK)
	d.target.cseq--
	ack.CSeq().SeqNo = cseq
	d.offering.ack = ack
	d.ackAgain()
	d.expiry = d.timer.Deadline(time.Now())
	if len(res.Body()) == 0 {
		d.srv.Count("offer-without-answer")
		return
	}
	r := &Request{Method: string(sip.INVITE), CSeq: cseq, At: time.Now(), Answer: true, Body: res.Body()}
	if h := res.ContentType(); h != nil {
		r.ContentType = h.Value()
	}
	if _, err := d.call.Change(d.srv.ctx, r); err != nil {
		d.srv.Count("answer-not-taken")
		d.log.Error("the answer to a re-INVITE of ours was not taken", "error", err)
	}
}

// ackAgain sends the ACK of the latest 2xx.
func (d *Dialog) ackAgain() {
	if d.offering.ack == nil {
		return
	}
	if err := d.srv.stack.Write(d.offering.ack); err != nil {
		d.srv.Count("request-not-sent")
	}
}

// glare says that a request cannot be answered now because an offer of ours
// is open: the client is to try again (RFC 3261 14.2, RFC 3311 5.2).
func (d *Dialog) glare(it item) bool {
	ours := d.offering.out != nil
	switch {
	case it.req.IsInvite():
		return ours
	case it.req.Method == sip.UPDATE:
		ours = ours || d.pending != nil && d.pending.proposed
		return ours && bytes.Contains(it.req.Body(), []byte("m="))
	}
	return false
}

func (d *Dialog) again(in time.Duration) {
	d.offering.wanted, d.offering.after = true, time.Now().Add(in)
}
