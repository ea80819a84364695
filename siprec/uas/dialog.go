package uas

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/mailbox"
	"siprecd/siprec/sessiontimer"
	"siprecd/siprec/transport"
	"siprecd/siprec/wire"
)

// item is one request of a dialog, waiting for its turn.
type item struct {
	req  *sip.Request
	tx   *sip.ServerTx // nil for an ACK
	cseq uint32
	at   time.Time
}

// Place implements mailbox.Item.
func (it item) Place() (cseq uint32, ack bool, at time.Time) { return it.cseq, it.tx == nil, it.at }

// Dialog is one dialog that a client began with us. Its exported methods are
// safe for parallel use. Everything below mu belongs to the goroutine of run,
// which is the only one that calls the Call, so that its methods never overlap.
type Dialog struct {
	srv     *Server
	log     *slog.Logger
	id      string
	box     *mailbox.Box[item]
	key     dialogKey
	invKey  inviteKey
	first   item
	peer    netip.AddrPort
	network string
	stop    chan struct{}

	mu       sync.Mutex
	ending   *End          // set once, by whoever ends the dialog from outside
	open     bool          // the 200 has left, or is just leaving
	told     bool          // sipgo has answered the INVITE, because of a CANCEL
	abandon  func()        // ends the context of Accept
	final    *sip.Response // to the first INVITE, for its copies
	answered time.Time

	call     Call // nil before Accept and after Close
	latest   sip.RequestMethod
	pending  *pending2xx
	timer    sessiontimer.Refresh
	expiry   time.Time // when timer demands something; zero: never
	target   target
	offering offering
	over     bool
}

// ID is a random name of the dialog, made by us. It says nothing about the
// call and may stand in logs.
func (d *Dialog) ID() string { return d.id }

// CallID is the Call-ID that the client chose. It may name persons or hosts:
// keep it out of logs.
func (d *Dialog) CallID() string { return d.key.callID }

// RemoteTag is the client's tag, which with the Call-ID names the dialog.
func (d *Dialog) RemoteTag() string { return d.key.remote }

// Peer is the address that the first INVITE came from.
func (d *Dialog) Peer() netip.AddrPort { return d.peer }

// Transport is "udp", "tcp" or "tls".
func (d *Dialog) Transport() string { return d.network }

// Begun is when the first INVITE was received.
func (d *Dialog) Begun() time.Time { return d.first.at }

// Established is when the 200 to the first INVITE left; zero before that.
func (d *Dialog) Established() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.answered
}

// Hangup ends the dialog: a BYE with a Reason is sent and the state dropped
// whatever the reply. Close follows with cause "hangup". It does not block,
// and does nothing when the dialog has already ended.
func (d *Dialog) Hangup(reason string) { d.hangup("hangup", reason) }

// newDialog makes the dialog of an INVITE; register makes it known.
func (s *Server) newDialog(req *sip.Request, tx *sip.ServerTx, at time.Time) *Dialog {
	k := keyOf(req)
	k.local = rand.Text()
	d := &Dialog{
		srv: s, id: rand.Text(), key: k, invKey: inviteKeyOf(req),
		first: item{req: req, tx: tx, cseq: req.CSeq().SeqNo, at: at},
		box:   mailbox.New[item](req.CSeq().SeqNo, s.time.holdBack),
		stop:  make(chan struct{}, 1), latest: sip.INVITE, abandon: func() {},
	}
	d.peer, d.network = wire.AddrPort(req.Source()), transportOf(req)
	d.log = s.log.With("session", d.id)
	d.target = newTarget(req, tx, d.peer, k.local)
	return d
}

// forget drops the dialog. sipgo's transactions answer retransmissions of
// what was its last; anything newer gets a 481.
func (d *Dialog) forget() {
	s := d.srv
	s.mu.Lock()
	delete(s.initial, d.invKey)
	delete(s.dialogs, d.key)
	if s.idle != nil && len(s.dialogs) == 0 {
		select {
		case <-s.idle:
		default:
			close(s.idle)
		}
	}
	s.mu.Unlock()
	for _, it := range d.box.Close() {
		if it.tx != nil {
			code, reason := 481, "Call/Transaction Does Not Exist"
			if it.req.Method == sip.BYE {
				code, reason = 200, "OK" // both sides hung up at once
			}
			_ = s.respond(it.tx, d.response(it.req, code, reason, nil))
		}
	}
}

// hangup ends the dialog from outside: the recorder's wish, or a shutdown.
func (d *Dialog) hangup(cause, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ending == nil {
		d.ending = &End{Cause: cause, Reason: reason}
	}
	d.abandon()
	select {
	case d.stop <- struct{}{}:
	default:
	}
}

// cancel ends the dialog because the client did before it had our answer;
// false when it is too late for that.
func (d *Dialog) cancel(cause, reason string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open {
		return false
	}
	if d.ending == nil {
		d.ending = &End{Cause: cause, Reason: reason}
	}
	d.abandon()
	return true
}

func (d *Dialog) ended() *End {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ending
}

// answer is the final response to the first INVITE, nil while there is none.
func (d *Dialog) answer() *sip.Response {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.final
}

// run is the dialog's life.
func (d *Dialog) run() {
	defer d.forget()
	if !d.guard(d.first, d.begin) || d.over {
		return
	}
	clock := time.NewTimer(time.Hour)
	defer clock.Stop()
	for !d.over {
		now := time.Now()
		it, ok, held := d.box.Next(now)
		if ok {
			d.guard(it, d.handle)
			continue
		}
		if end := d.ended(); end != nil {
			d.sendBye(end.Reason)
			d.close(*end)
			return
		}
		d.guard(item{}, func(item) { d.oblige() })
		if d.over {
			return
		}
		d.guard(item{}, func(item) { d.tick(now) })
		if d.over {
			return
		}
		clock.Reset(d.wait(now, held))
		select {
		case <-d.box.Wake:
		case <-d.stop:
		case <-clock.C:
		}
	}
}

// wait is how long nothing needs doing, if nothing comes in. held is the
// mailbox's own wish, 0 for none.
func (d *Dialog) wait(now time.Time, held time.Duration) time.Duration {
	w := time.Hour
	if held > 0 {
		w = min(w, held)
	}
	if p := d.pending; p != nil {
		w = min(w, p.next.Sub(now))
	}
	if !d.expiry.IsZero() {
		w = min(w, d.expiry.Sub(now))
	}
	if due, ok := d.offerDue(now); ok {
		w = min(w, due)
	}
	return max(w, time.Millisecond)
}

// guard runs one step. A panic in it is a bug of ours or the handler's, on
// bytes from elsewhere: the other calls must not suffer. This dialog is
// answered 500 and ended, with the stack in the log.
func (d *Dialog) guard(it item, step func(item)) (ok bool) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		d.srv.Count("panic")
		method := "timer"
		if it.req != nil {
			method = string(it.req.Method)
		}
		d.log.Error("panic in a dialog, which is ended now", "method", method,
			"panic", transport.Mask(fmt.Sprint(r)), "stack", string(debug.Stack()))
		if it.tx != nil {
			d.srv.refuseTagged(it.req, it.tx, &Refusal{Code: 500, Reason: "Server Internal Error"}, d.key.local)
		}
		if d.isOpen() {
			d.sendBye("internal error")
		}
		d.close(End{Cause: "panic"})
	}()
	step(it)
	return true
}

func (d *Dialog) isOpen() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

// close tells the call, once, that it is over.
func (d *Dialog) close(end End) {
	d.over = true
	call := d.call
	if d.call = nil; call == nil {
		return
	}
	if end.At.IsZero() {
		end.At = time.Now()
	}
	defer func() {
		if r := recover(); r != nil {
			d.srv.Count("panic")
			d.log.Error("panic while a session was closed", "panic", transport.Mask(fmt.Sprint(r)), "stack", string(debug.Stack()))
		}
	}()
	call.Close(end)
}

// begin answers the first INVITE.
func (d *Dialog) begin(it item) {
	ctx, cancel := context.WithCancel(d.srv.ctx)
	defer cancel()
	d.mu.Lock()
	d.abandon = cancel
	gone := d.ending != nil
	d.mu.Unlock()
	// sipgo answers a CANCEL, and the INVITE with 487, by itself.
	byCancel := func(req *sip.Request) {
		d.mu.Lock()
		d.told = true
		d.mu.Unlock()
		d.cancel("cancelled", wire.Text(req, "Reason"))
	}
	if !it.tx.OnCancel(byCancel) {
		d.close(End{})
		return
	}
	// On some clients the caller waits for us, so they shall know at once
	// that we are there (RFC 3261 section 17.2.1).
	_ = d.srv.respond(it.tx, sip.NewResponseFromRequest(it.req, 100, "Trying", nil))
	var reply Reply
	err := context.Canceled
	if !gone {
		d.call, reply, err = d.srv.cfg.Accept(ctx, d, newRequest(it))
	}
	if err == nil && d.call == nil {
		err = errors.New("the call was neither taken nor refused")
	}
	if err != nil || d.ended() != nil {
		d.refuse(it, err)
		d.close(d.endOr("refused"))
		return
	}
	d.accept(it, reply)
}

// accept sends the 200 to the first INVITE, unless the client has given up.
func (d *Dialog) accept(it item, reply Reply) {
	res := d.success(it, reply)
	d.mu.Lock()
	if d.open = d.ending == nil; d.open {
		d.final, d.answered = res, time.Now()
	}
	open := d.open
	d.mu.Unlock()
	if !open {
		d.refuse(it, nil)
		d.close(d.endOr("cancelled"))
		return
	}
	if err := d.srv.respond(it.tx, res); err != nil {
		it.tx.Terminate()
		cause := "answer not sent"
		if errors.Is(err, sip.ErrTransactionCanceled) {
			cause = "cancelled"
		}
		d.close(End{Cause: cause})
		return
	}
	d.await(it, res, reply.Offer, true)
}

// endOr is the end that came from outside, or one with the given cause.
func (d *Dialog) endOr(cause string) End {
	if e := d.ended(); e != nil {
		return *e
	}
	return End{Cause: cause}
}

// refuse answers with what an error says, or, once the dialog has been ended
// from outside, with that.
func (d *Dialog) refuse(it item, err error) {
	var r *Refusal
	d.mu.Lock()
	end, told := d.ending, d.told
	d.mu.Unlock()
	switch {
	case told:
		return
	case end != nil && end.Cause == "shutdown", d.srv.ctx.Err() != nil:
		r = d.srv.shuttingDown()
	case end != nil:
		r = &Refusal{Code: 487, Reason: "Request Terminated"}
	case !errors.As(err, &r):
		d.log.Error("request failed", "method", it.req.Method, "error", err)
		r = &Refusal{Code: 500, Reason: "Server Internal Error"}
	}
	d.srv.Count(fmt.Sprintf("refused-%d", r.Code))
	d.srv.refuseTagged(it.req, it.tx, r, d.key.local)
}
