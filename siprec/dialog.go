package siprec

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/rsmeta"
	"siprecd/siprec/sdp"
)

// dialog keeps one recording session's signalling. Everything below mu
// belongs to the goroutine of run, which is the only one that calls the
// Handler, so that its calls never overlap.
type dialog struct {
	srv    *Server
	log    *slog.Logger
	ses    *Session
	box    *mailbox
	key    dialogKey
	invKey inviteKey
	branch string // of the first INVITE, to know its copies
	first  item
	secure bool // sips
	stop   chan struct{}

	mu      sync.Mutex
	ending  *End              // set once by whoever ends the dialog from outside
	open    bool              // the 200 has left, or is just leaving
	abandon func()            // ends the context of Open
	final   *sip.Response     // to the first INVITE, for its copies

	meta    rsmeta.State
	heads   Headers // of the latest INVITE or UPDATE
	offer   *sdp.Description // the client's latest description
	answers answerState
	pending *pending2xx
	timer   refresh
	expiry  time.Time // when timer demands something; zero: never
	target  target
	opened  bool // the handler knows the session and will be told of its end
	over    bool
}

// newDialog registers a dialog for an INVITE; nil when the INVITE is here
// already.
func (s *Server) newDialog(req *sip.Request, tx *sip.ServerTx, at time.Time) *dialog {
	k := keyOf(req)
	k.local = rand.Text()
	d := &dialog{
		srv: s, key: k, invKey: inviteKeyOf(req), branch: branchOf(req), stop: make(chan struct{}, 1),
		first: item{req, tx, req.CSeq().SeqNo, at}, secure: req.Recipient.Scheme == "sips",
		box: newMailbox(req.CSeq().SeqNo, s.time.holdBack), abandon: func() {},
	}
	d.ses = &Session{id: rand.Text(), callID: k.callID, peer: addrPort(req.Source()), begun: at,
		transport: transportOf(req), hang: func(reason string) { d.hangup("hangup", reason) }}
	d.log = s.log.With("session", d.ses.id)
	d.target = newTarget(req, tx, d.ses.peer, k.local)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.initial[d.invKey] != nil {
		return nil
	}
	s.initial[d.invKey], s.dialogs[k] = d, d
	return d
}

// forget drops the dialog. sipgo's transactions answer retransmissions of
// what was its last; anything newer gets a 481.
func (d *dialog) forget() {
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
	for _, it := range d.box.close() {
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
func (d *dialog) hangup(cause, reason string) {
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
func (d *dialog) cancel(cause, reason string) bool {
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

func (d *dialog) ended() *End {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ending
}

// answer is the final response to the first INVITE, nil while there is none.
func (d *dialog) answer() *sip.Response {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.final
}

// run is the dialog's life.
func (d *dialog) run() {
	defer d.forget()
	if !d.guard(d.first, d.begin) || d.over {
		return
	}
	clock := time.NewTimer(time.Hour)
	defer clock.Stop()
	for !d.over {
		now := time.Now()
		if it, ok, _ := d.box.next(now); ok {
			d.guard(it, d.handle)
			continue
		}
		if end := d.ended(); end != nil {
			d.sendBye(end.Reason)
			d.close(*end)
			return
		}
		d.guard(item{}, func(item) { d.tick(now) })
		if d.over {
			return
		}
		clock.Reset(d.wait(now))
		select {
		case <-d.box.wake:
		case <-d.stop:
		case <-clock.C:
		}
	}
}

// wait is how long nothing needs doing, if nothing comes in.
func (d *dialog) wait(now time.Time) time.Duration {
	w := time.Hour
	if _, _, held := d.box.next0(now); held > 0 {
		w = min(w, held)
	}
	if p := d.pending; p != nil {
		w = min(w, p.next.Sub(now))
	}
	if !d.expiry.IsZero() {
		w = min(w, d.expiry.Sub(now))
	}
	return max(w, time.Millisecond)
}

// guard runs one step. A panic in it is a bug of ours or the handler's, on
// bytes from elsewhere: the other calls must not suffer. This dialog is
// answered 500 and ended, with the stack in the log.
func (d *dialog) guard(it item, step func(item)) (ok bool) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		d.srv.count("panic")
		method := "timer"
		if it.req != nil {
			method = string(it.req.Method)
		}
		d.log.Error("panic in a dialog, which is ended now", "method", method,
			"panic", fmt.Sprint(r), "stack", string(debug.Stack()))
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

func (d *dialog) isOpen() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

// close tells the handler, once, that the session is over.
func (d *dialog) close(end End) {
	d.over = true
	if !d.opened {
		return
	}
	d.opened = false
	if end.At.IsZero() {
		end.At = time.Now()
	}
	defer func() {
		if r := recover(); r != nil {
			d.srv.count("panic")
			d.log.Error("panic while a session was closed", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	d.srv.cfg.Handler.Close(d.ses, end)
}

// begin answers the first INVITE.
func (d *dialog) begin(it item) {
	ctx, cancel := context.WithCancel(d.srv.ctx)
	defer cancel()
	d.mu.Lock()
	d.abandon = cancel
	d.mu.Unlock()
	// sipgo answers a CANCEL, and the INVITE with 487, by itself.
	byCancel := func(req *sip.Request) { d.cancel("cancelled", headerText(req, "Reason")) }
	if !it.tx.OnCancel(byCancel) {
		d.close(End{})
		return
	}
	c, err := d.read(it, true)
	var a *Answer
	if err == nil {
		a, err = d.srv.cfg.Handler.Open(ctx, d.ses, *c)
		d.opened = err == nil && a != nil
	}
	res, err := d.reply(it, c, a, err)
	if err != nil {
		d.refuse(it, err)
		d.close(End{Cause: "refused"})
		return
	}
	d.accept(it, c, res)
}

// accept sends the 200 to the first INVITE, unless the client has given up.
func (d *dialog) accept(it item, c *Change, res *sip.Response) {
	d.mu.Lock()
	end := d.ending
	d.open = end == nil
	if d.open {
		d.final = res
	}
	d.mu.Unlock()
	if end != nil {
		if end.Cause != "cancelled" { // else sipgo has sent it
			d.srv.refuseTagged(it.req, it.tx, terminated(end.Cause, d.srv.time.retry), d.key.local)
		}
		d.close(*end)
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
	d.ses.setEstablished(time.Now())
	d.await(it, res, c.Proposed, true)
}

func terminated(cause string, retry time.Duration) *Refusal {
	if cause == "shutdown" {
		return &Refusal{Code: 503, Reason: "Shutting Down", RetryAfter: retry}
	}
	return &Refusal{Code: 487, Reason: "Request Terminated"}
}

// refuse answers with what an error says.
func (d *dialog) refuse(it item, err error) {
	if end := d.ended(); end != nil && end.Cause == "cancelled" {
		return
	}
	var r *Refusal
	if !errors.As(err, &r) {
		d.log.Error("request failed", "method", it.req.Method, "error", err)
		r = &Refusal{Code: 500, Reason: "Server Internal Error"}
	}
	d.srv.refuseTagged(it.req, it.tx, r, d.key.local)
}
