package uas

import (
	"time"

	"github.com/emiago/sipgo/sip"
)

// pending2xx is a 200 to an INVITE that has not been acknowledged. The
// transaction layer leaves its retransmission to us, on TCP too (RFC 3261
// section 13.3.1.4).
type pending2xx struct {
	cseq     uint32
	tx       *sip.ServerTx
	res      *sip.Response
	proposed bool // it held our offer, and the ACK must bring the answer
	initial  bool
	next     time.Time
	interval time.Duration
	deadline time.Time
}

// await begins to retransmit a 200. One that was still waiting is given up:
// the client has gone on, so it had it (some never send the ACK in between).
func (d *Dialog) await(it item, res *sip.Response, proposed, initial bool) {
	now := time.Now()
	t1 := d.srv.time.t1
	d.pending = &pending2xx{cseq: it.cseq, tx: it.tx, res: res, proposed: proposed, initial: initial,
		next: now.Add(t1), interval: t1, deadline: now.Add(64 * t1)}
}

// tick does what is due: a retransmission, or something with the session
// timer.
func (d *Dialog) tick(now time.Time) {
	if p := d.pending; p != nil && !now.Before(p.next) {
		if !now.Before(p.deadline) {
			d.pending = nil
			d.noAck(p)
		} else {
			_ = d.srv.respond(p.tx, p.res) // counted; the next try comes
			p.advance(now, d.srv.time.t2)
		}
	}
	if due, ok := d.offerDue(now); ok && due == 0 && !d.over {
		d.sendOffer()
	}
	if !d.over && !d.expiry.IsZero() && !now.Before(d.expiry) {
		d.expired(now)
	}
}

// advance sets when the next copy leaves: T1 after the first, then twice as
// long each time up to T2, and for the last time the deadline.
func (p *pending2xx) advance(now time.Time, t2 time.Duration) {
	p.interval = min(2*p.interval, t2)
	if p.next = now.Add(p.interval); p.next.After(p.deadline) {
		p.next = p.deadline
	}
}

// noAck ends a session whose first 200 nobody acknowledged, but never one
// that is heard, and none for a later ACK: a lost ACK is no reason to lose a
// call.
func (d *Dialog) noAck(p *pending2xx) {
	d.srv.Count("ack-missing")
	if !p.initial || d.call.Receiving() {
		return
	}
	d.sendBye("no ACK")
	d.close(End{Cause: "ack timeout"})
}

// expired is called when the session timer demands something.
func (d *Dialog) expired(now time.Time) {
	d.expiry = d.timer.Deadline(now)
	switch {
	case d.timer.ByUs:
		d.sendRefresh()
	case d.call.Receiving():
		// Media is better evidence than a timer; look again later.
		d.srv.Count("refresh-missing")
	default:
		d.srv.Count("refresh-missing")
		d.sendBye("session expired")
		d.close(End{Cause: "session expired"})
	}
}

// acknowledged takes an ACK. It stops the retransmission, and brings the
// answer when the offer was ours.
func (d *Dialog) acknowledged(it item) {
	p := d.pending
	if p == nil || p.cseq != it.cseq {
		return
	}
	d.pending = nil
	if d.network != "udp" {
		// No copies of the INVITE can come, so it need not be kept.
		p.tx.Terminate()
	}
	if !p.proposed {
		return
	}
	if len(it.req.Body()) == 0 {
		d.srv.Count("ack-without-answer")
		return
	}
	r := newRequest(it)
	r.Answer = true
	if _, err := d.call.Change(d.srv.ctx, r); err != nil {
		d.srv.Count("ack-without-answer")
		d.log.Error("the answer in an ACK was not taken", "error", err)
	}
}
