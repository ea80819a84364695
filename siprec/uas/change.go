package uas

import (
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/sessiontimer"
	"siprecd/siprec/wire"
)

// handle answers one request, or takes one ACK, whose turn it is.
func (d *Dialog) handle(it item) {
	if it.tx == nil {
		d.acknowledged(it)
		return
	}
	if d.stale(it) {
		return
	}
	d.box.Last = max(d.box.Last, it.cseq)
	d.latest = it.req.Method
	switch it.req.Method {
	case sip.BYE:
		d.bye(it)
		return
	case sip.PRACK:
		d.srv.refuse(it.req, it.tx, &Refusal{Code: 481, Reason: "Call/Transaction Does Not Exist"})
		return
	}
	if r := d.srv.require(it.req); r != nil {
		d.srv.refuse(it.req, it.tx, r)
		return
	}
	switch it.req.Method {
	case sip.INVITE, sip.UPDATE:
		d.change(it)
	case sip.OPTIONS:
		_ = d.srv.respond(it.tx, d.srv.capabilities(it.req))
	case sip.INFO:
		// Picture fast update, media control, vendors' own: nothing in them
		// concerns a recorder, and a refusal may end the call.
		_ = d.srv.respond(it.tx, d.response(it.req, 200, "OK", nil))
	default:
		d.srv.Count("method-not-allowed")
		d.srv.refuse(it.req, it.tx, methodNotAllowed())
	}
}

// stale answers a request that comes too late or twice (RFC 3261 12.2.2). A
// BYE never does: some clients number it as they like.
func (d *Dialog) stale(it item) bool {
	last := d.box.Last
	if it.req.Method == sip.BYE || it.cseq > last || it.cseq == last && it.req.Method != d.latest {
		return false
	}
	if p := d.pending; it.cseq == last && p != nil && p.cseq == last && branchOf(p.tx.Origin()) == branchOf(it.req) {
		_ = d.srv.respond(it.tx, p.res)
		return true
	}
	d.srv.Count("cseq-out-of-order")
	r := &Refusal{Code: 500, Reason: "CSeq Out Of Order"}
	if it.cseq == last {
		r = &Refusal{Code: 482, Reason: "Loop Detected"}
	}
	d.srv.refuse(it.req, it.tx, r)
	return true
}

// bye ends the session. The answer leaves first: the client must not wait for
// the recorder to finish its files.
func (d *Dialog) bye(it item) {
	_ = d.srv.respond(it.tx, d.response(it.req, 200, "OK", nil))
	if p := d.pending; p != nil {
		p.tx.Terminate()
		d.pending = nil
	}
	end := End{At: it.at, Cause: "bye", Reason: wire.Text(it.req, "Reason")}
	defer d.close(end)
	// RFC 8068 section 3.2.4 lets a BYE carry the last metadata.
	if len(it.req.Body()) == 0 {
		return
	}
	if _, err := d.call.Change(d.srv.ctx, newRequest(it)); err != nil {
		d.log.Warn("the body of a BYE was not taken", "error", err)
	}
}

// change answers a re-INVITE or an UPDATE.
func (d *Dialog) change(it item) {
	if _, ok := sessiontimer.Read(it.req); !ok {
		d.srv.refuse(it.req, it.tx, intervalTooSmall())
		return
	}
	if d.glare(it) {
		d.srv.Count("glare")
		d.srv.refuse(it.req, it.tx, &Refusal{Code: 491, Reason: "Request Pending"})
		return
	}
	reply, err := d.call.Change(d.srv.ctx, newRequest(it))
	if err != nil {
		d.refuse(it, err)
		return
	}
	d.target.refresh(it.req)
	res := d.success(it, reply)
	switch err := d.srv.respond(it.tx, res); {
	case err != nil:
		// Cancelled in the meantime, with 487, or the connection is gone.
		// Either way no copy of this may leave any more.
		it.tx.Terminate()
	case it.req.IsInvite():
		d.await(it, res, reply.Offer, false)
	}
}

// success builds the 200 to an INVITE or UPDATE and starts the session timer
// that it agrees to.
func (d *Dialog) success(it item, reply Reply) *sip.Response {
	res := d.response(it.req, 200, "OK", reply.Body)
	res.AppendHeader(wire.ContactHeader(d.target.contact))
	d.srv.addCapabilities(res)
	if len(reply.Body) > 0 {
		res.AppendHeader(sip.NewHeader("Content-Type", reply.ContentType))
	}
	d.timer, _ = sessiontimer.Read(it.req)
	d.timer.Mark(res)
	d.expiry = d.timer.Deadline(time.Now())
	return res
}

// newRequest copies a request for the application, so that nothing of it is
// shared with the SIP stack's goroutines but the body, which all only read.
func newRequest(it item) *Request {
	r := &Request{Method: string(it.req.Method), CSeq: it.cseq, At: it.at, URI: it.req.Recipient.String(),
		Fields: make(map[string][]string), Body: it.req.Body()}
	for _, h := range it.req.Headers() {
		r.Fields[h.Name()] = append(r.Fields[h.Name()], h.Value())
	}
	if h := it.req.ContentType(); h != nil {
		r.ContentType = h.Value()
	}
	return r
}

// response starts a response of this dialog, with our tag.
func (d *Dialog) response(req *sip.Request, code int, reason string, body []byte) *sip.Response {
	res := d.srv.response(req, code, reason, body)
	to := res.To()
	to.Params.Remove("tag")
	to.Params.Add("tag", d.key.local)
	return res
}
