package siprec

import (
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/sdp"
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
func (d *dialog) await(it item, res *sip.Response, proposed, initial bool) {
	now := time.Now()
	t1 := d.srv.time.t1
	d.pending = &pending2xx{cseq: it.cseq, tx: it.tx, res: res, proposed: proposed, initial: initial,
		next: now.Add(t1), interval: t1, deadline: now.Add(64 * t1)}
}

// tick does what is due: a retransmission, or something with the session
// timer.
func (d *dialog) tick(now time.Time) {
	if p := d.pending; p != nil && !now.Before(p.next) {
		if !now.Before(p.deadline) {
			d.pending = nil
			d.noAck(p)
		} else {
			_ = d.srv.respond(p.tx, p.res) // counted; the next try comes
			p.interval = min(2*p.interval, d.srv.time.t2)
			p.next = now.Add(p.interval)
			if p.next.After(p.deadline) {
				p.next = p.deadline
			}
		}
	}
	if !d.over && !d.expiry.IsZero() && !now.Before(d.expiry) {
		d.expired(now)
	}
}

// noAck ends a session whose first 200 nobody acknowledged, but never one
// that is heard, and none for a later ACK: a lost ACK is no reason to lose a
// call.
func (d *dialog) noAck(p *pending2xx) {
	d.srv.count("ack-missing")
	if !p.initial || d.receiving() {
		return
	}
	d.sendBye("no ACK")
	d.close(End{Cause: "ack timeout"})
}

// receiving asks the handler whether media flows.
func (d *dialog) receiving() bool {
	r, ok := d.srv.cfg.Handler.(receiver)
	return ok && r.Receiving(d.ses)
}

// expired is called when the session timer demands something.
func (d *dialog) expired(now time.Time) {
	d.expiry = d.timer.deadline(now)
	switch {
	case d.timer.byUs:
		d.sendRefresh()
	case d.receiving():
		// Media is better evidence than a timer; look again later.
		d.srv.count("refresh-missing")
	default:
		d.srv.count("refresh-missing")
		d.sendBye("session expired")
		d.close(End{Cause: "session expired"})
	}
}

// acknowledged takes an ACK. It stops the retransmission, and brings the
// answer when the offer was ours.
func (d *dialog) acknowledged(it item) {
	p := d.pending
	if p == nil || p.cseq != it.cseq {
		return
	}
	d.pending = nil
	if d.ses.transport != "udp" {
		// No copies of the INVITE can come, so it need not be kept.
		p.tx.Terminate()
	}
	if !p.proposed {
		return
	}
	b, err := readBody(contentType(it.req), it.req.Body())
	if err != nil || b.SDP == nil {
		d.srv.count("ack-without-answer")
		return
	}
	desc, err := sdp.Parse(b.SDP)
	if err != nil {
		d.srv.count("ack-without-answer")
		return
	}
	c := &Change{Method: "ACK", CSeq: it.cseq, At: it.at, Offer: desc}
	d.metadata(c, b.Metadata)
	d.offer = desc
	if _, err := d.srv.cfg.Handler.Change(d.srv.ctx, d.ses, *c); err != nil {
		d.log.Error("answer in an ACK was not taken", "error", err)
	}
}
