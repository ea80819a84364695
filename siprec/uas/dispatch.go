package uas

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/mailbox"
	"siprecd/siprec/sessiontimer"
	"siprecd/siprec/transport"
	"siprecd/siprec/wire"
)

// dialogKey identifies a dialog (RFC 3261 section 12). The Call-ID alone does
// not: clients reuse it.
type dialogKey struct{ callID, local, remote string }

// inviteKey identifies an INVITE outside a dialog, whatever way it came
// (RFC 3261 section 8.2.2.2).
type inviteKey struct {
	callID, fromTag string
	cseq            uint32
}

func tagOf(p sip.HeaderParams) string {
	tag, _ := p.Get("tag")
	return tag
}

func keyOf(req *sip.Request) dialogKey {
	return dialogKey{req.CallID().Value(), tagOf(req.To().Params), tagOf(req.From().Params)}
}

func inviteKeyOf(req *sip.Request) inviteKey {
	return inviteKey{req.CallID().Value(), tagOf(req.From().Params), req.CSeq().SeqNo}
}

// observe sees each message in the order of the wire, on the goroutine that
// reads the socket. It announces requests to their dialog, which so knows what
// to wait for, and takes the ACKs: sipgo would hand one to the handler, one to
// a channel of the transaction, and drop another, depending on branch and
// transport. Only header fields that sipgo parsed already are read, for the
// message is shared with the transaction layer.
func (s *Server) observe(msg sip.Message) {
	req, ok := msg.(*sip.Request)
	if !ok || req.IsCancel() {
		return
	}
	// No dialog: a new one, or an ACK for a refusal, which the transaction
	// layer knows.
	d := s.find(keyOf(req))
	switch {
	case d == nil:
	case req.IsAck():
		d.box.Put(item{req: req, cseq: req.CSeq().SeqNo, at: time.Now()})
	default:
		d.box.Announce(req.CSeq().SeqNo)
	}
}

func (s *Server) find(k dialogKey) *Dialog {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dialogs[k]
}

// onRequest is called by sipgo with each new transaction, in a goroutine of
// its own.
func (s *Server) onRequest(req *sip.Request, tx *sip.ServerTx) {
	if req.IsAck() || !s.begin() {
		tx.Terminate()
		return
	}
	defer s.work.Done()
	defer func() {
		if r := recover(); r != nil {
			s.Count("panic")
			s.log.Error("panic on a request", "method", req.Method, "panic", transport.Mask(fmt.Sprint(r)), "stack", string(debug.Stack()))
			s.refuse(req, tx, &Refusal{Code: 500, Reason: "Server Internal Error"})
		}
	}()
	switch {
	case req.IsCancel():
		s.cancelUnmatched(req, tx)
	case tagOf(req.To().Params) != "":
		s.inDialog(req, tx)
	case req.IsInvite():
		s.invite(req, tx)
	case req.Method == sip.BYE:
		s.byeUntagged(req, tx)
	default:
		s.outside(req, tx)
	}
}

// inDialog files a request that names a dialog.
func (s *Server) inDialog(req *sip.Request, tx *sip.ServerTx) {
	d := s.find(keyOf(req))
	if d == nil {
		// After a restart of ours the client must learn that the session
		// is gone, so that it makes a new one.
		s.Count("unknown-dialog")
		s.refuse(req, tx, &Refusal{Code: 481, Reason: "Call/Transaction Does Not Exist"})
		return
	}
	switch d.box.Put(item{req: req, tx: tx, cseq: req.CSeq().SeqNo, at: time.Now()}) {
	case mailbox.Shut:
		s.refuse(req, tx, &Refusal{Code: 481, Reason: "Call/Transaction Does Not Exist"})
	case mailbox.Full:
		s.Count("dialog-flooded")
		s.refuse(req, tx, &Refusal{Code: 500, Reason: "Too Many Requests Pending", RetryAfter: time.Second})
	}
}

// outside answers what belongs to no dialog.
func (s *Server) outside(req *sip.Request, tx *sip.ServerTx) {
	if r := s.require(req); r != nil {
		s.refuse(req, tx, r)
		return
	}
	switch req.Method {
	case sip.OPTIONS:
		if r := s.ready(""); r != nil {
			s.refuse(req, tx, r)
			return
		}
		_ = s.respond(tx, s.capabilities(req))
	case sip.UPDATE, sip.INFO, sip.PRACK:
		s.refuse(req, tx, &Refusal{Code: 481, Reason: "Call/Transaction Does Not Exist"})
	default:
		s.Count("method-not-allowed")
		s.refuse(req, tx, methodNotAllowed())
	}
}

// invite admits a new recording session, or says why not.
func (s *Server) invite(req *sip.Request, tx *sip.ServerTx) {
	at := time.Now()
	k := inviteKeyOf(req)
	s.mu.Lock()
	known := s.initial[k]
	s.mu.Unlock()
	if known != nil {
		s.again(known, req, tx)
		return
	}
	r := s.require(req)
	if r == nil {
		r = s.ready("-invite") // counted apart: a call that was turned away
	}
	if r == nil {
		if _, ok := sessiontimer.Read(req); !ok {
			r = intervalTooSmall()
		}
	}
	if r != nil {
		s.refuse(req, tx, r)
		return
	}
	d := s.newDialog(req, tx, at)
	early, known, shut := s.register(d)
	switch {
	case shut:
		s.Count("draining-invite")
		s.refuse(req, tx, s.shuttingDown())
	case early != nil:
		closeOnce(&s.mu, early)
		s.refuse(req, tx, &Refusal{Code: 487, Reason: "Request Terminated"})
	case known != nil:
		s.again(known, req, tx)
	default:
		s.work.Go(d.run)
	}
}

// register enters a new dialog, unless its INVITE is known already, was given up
// before it came, or came so late that Shutdown has hung up all there were.
func (s *Server) register(d *Dialog) (early chan struct{}, known *Dialog, shut bool) {
	k := d.invKey
	s.mu.Lock()
	defer s.mu.Unlock()
	if early = s.early[k]; early == nil {
		early = s.early[inviteKey{k.callID, k.fromTag, 0}]
	}
	known, shut = s.initial[k], s.idle != nil
	if early == nil && known == nil && !shut {
		s.initial[k], s.dialogs[d.key] = d, d
	}
	return early, known, shut && known == nil
}

// again answers an INVITE that is here already: the same one once more gets
// the same answer, one that came another way is merged (RFC 3261 8.2.2.2).
func (s *Server) again(known *Dialog, req *sip.Request, tx *sip.ServerTx) {
	if branchOf(known.first.req) == branchOf(req) {
		if res := known.answer(); res != nil {
			_ = s.respond(tx, res)
		} else {
			tx.Terminate() // the first one's transaction will answer
		}
		return
	}
	s.Count("merged-request")
	s.refuse(req, tx, &Refusal{Code: 482, Reason: "Loop Detected"})
}

func branchOf(req *sip.Request) string {
	b, _ := req.Via().Params.Get("branch")
	return b
}

// cancelUnmatched gets the CANCELs for which sipgo has no INVITE transaction:
// late ones, and those that overtook their INVITE.
func (s *Server) cancelUnmatched(req *sip.Request, tx *sip.ServerTx) {
	s.giveUp(inviteKeyOf(req), "cancelled", req, tx)
}

// byeUntagged gets a BYE without To tag: the client gives up before it had an
// answer from us.
func (s *Server) byeUntagged(req *sip.Request, tx *sip.ServerTx) {
	k := inviteKeyOf(req)
	k.cseq = 0
	s.giveUp(k, "bye", req, tx)
}

// giveUp ends a dialog that is being opened. When there is none yet, its
// INVITE gets a moment to come; invite then refuses it.
func (s *Server) giveUp(k inviteKey, cause string, req *sip.Request, tx *sip.ServerTx) {
	d, came := s.openingOrEarly(k)
	ok := false
	switch {
	case d != nil:
		ok = d.cancel(cause, wire.Text(req, "Reason")) || req.IsCancel()
	case came != nil:
		ok = s.awaitInvite(k, came)
	}
	if ok {
		_ = s.respond(tx, s.response(req, 200, "OK", nil))
		return
	}
	s.Count("unknown-dialog")
	s.refuse(req, tx, &Refusal{Code: 481, Reason: "Call/Transaction Does Not Exist"})
}

// openingOrEarly finds the dialog of an INVITE, any of the client's when k
// has no CSeq, or enters k among those whose INVITE is yet to come.
func (s *Server) openingOrEarly(k inviteKey) (*Dialog, chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.initial[k]; d != nil {
		return d, nil
	}
	for ik, d := range s.initial {
		if k.cseq == 0 && ik.callID == k.callID && ik.fromTag == k.fromTag {
			return d, nil
		}
	}
	if len(s.early) >= maxEarly || s.early[k] != nil {
		return nil, nil
	}
	came := make(chan struct{})
	s.early[k] = came
	return nil, came
}

// maxEarly bounds what waits for an INVITE at the same time.
const maxEarly = 1024

func (s *Server) awaitInvite(k inviteKey, came chan struct{}) (ok bool) {
	patience := time.NewTimer(s.time.holdBack)
	defer patience.Stop()
	select {
	case <-came:
	case <-patience.C:
	case <-s.closed:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.early, k)
	select {
	case <-came:
		return true
	default:
		return false
	}
}
