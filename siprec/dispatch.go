package siprec

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/emiago/sipgo/sip"
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
// reads the socket. It takes the ACKs: sipgo would hand one to the handler,
// one to a channel of the transaction, and drop another, depending on branch
// and transport. Only header fields that sipgo parsed already are read, for
// the message is shared with the transaction layer.
func (s *Server) observe(msg sip.Message) {
	req, ok := msg.(*sip.Request)
	if !ok || !req.IsAck() {
		return
	}
	// No dialog: an ACK for a refusal, which the transaction layer knows.
	if d := s.find(keyOf(req)); d != nil {
		d.box.put(item{req: req, cseq: req.CSeq().SeqNo, at: time.Now()})
	}
}

func (s *Server) find(k dialogKey) *dialog {
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
			s.count("panic")
			s.log.Error("panic on a request", "method", req.Method, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
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
		s.count("unknown-dialog")
		s.refuse(req, tx, &Refusal{Code: 481, Reason: "Call/Transaction Does Not Exist"})
		return
	}
	switch d.box.put(item{req, tx, req.CSeq().SeqNo, time.Now()}) {
	case putShut:
		s.refuse(req, tx, &Refusal{Code: 481, Reason: "Call/Transaction Does Not Exist"})
	case putFull:
		s.count("dialog-flooded")
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
		if r := s.ready(); r != nil {
			s.refuse(req, tx, r)
			return
		}
		s.respond(tx, s.capabilities(req))
	case sip.UPDATE, sip.INFO, sip.PRACK:
		s.refuse(req, tx, &Refusal{Code: 481, Reason: "Call/Transaction Does Not Exist"})
	default:
		s.count("method-not-allowed")
		s.refuse(req, tx, methodNotAllowed())
	}
}

// invite admits a new recording session, or says why not.
func (s *Server) invite(req *sip.Request, tx *sip.ServerTx) {
	at := time.Now()
	k := inviteKeyOf(req)
	s.mu.Lock()
	known, early := s.initial[k], s.early[k]
	if early == nil {
		early = s.early[inviteKey{k.callID, k.fromTag, 0}]
	}
	s.mu.Unlock()
	switch {
	case known != nil:
		s.again(known, req, tx)
		return
	case early != nil:
		closeOnce(&s.mu, early)
		s.refuse(req, tx, &Refusal{Code: 487, Reason: "Request Terminated"})
		return
	}
	r := s.require(req)
	if r == nil {
		r = s.ready()
	}
	if r == nil {
		_, r = sessionTimer(req)
	}
	if r != nil {
		s.refuse(req, tx, r)
		return
	}
	d := s.newDialog(req, tx, at)
	if d == nil {
		s.again(nil, req, tx)
		return
	}
	// On some clients the caller waits for us, so they shall know at once
	// that we are there (RFC 3261 section 17.2.1).
	s.respond(tx, sip.NewResponseFromRequest(req, 100, "Trying", nil))
	s.work.Go(d.run)
}

// again answers an INVITE that is here already: the same one once more gets
// the same answer, one that came another way is merged (RFC 3261 8.2.2.2).
func (s *Server) again(known *dialog, req *sip.Request, tx *sip.ServerTx) {
	if known != nil && known.branch == branchOf(req) {
		if res := known.answer(); res != nil {
			s.respond(tx, res)
		}
		return
	}
	s.count("merged-request")
	s.refuse(req, tx, &Refusal{Code: 482, Reason: "Loop Detected"})
}

func branchOf(req *sip.Request) string {
	b, _ := req.Via().Params.Get("branch")
	return b
}

// cancelUnmatched gets the CANCELs for which sipgo has no INVITE transaction:
// late ones, and those that overtook their INVITE.
func (s *Server) cancelUnmatched(req *sip.Request, tx *sip.ServerTx) {
	k := inviteKeyOf(req)
	s.mu.Lock()
	d := s.initial[k]
	s.mu.Unlock()
	if d != nil {
		d.cancel("cancelled", headerText(req, "Reason"))
		s.respond(tx, sip.NewResponseFromRequest(req, 200, "OK", nil))
		return
	}
	s.awaitInvite(k, req, tx)
}

// byeUntagged gets a BYE without To tag: the client gives up before it had an
// answer from us.
func (s *Server) byeUntagged(req *sip.Request, tx *sip.ServerTx) {
	k := inviteKeyOf(req)
	s.mu.Lock()
	var d *dialog
	for ik, other := range s.initial {
		if ik.callID == k.callID && ik.fromTag == k.fromTag {
			d = other
		}
	}
	s.mu.Unlock()
	if d != nil && d.cancel("bye", headerText(req, "Reason")) {
		s.respond(tx, sip.NewResponseFromRequest(req, 200, "OK", nil))
		return
	}
	if d != nil {
		s.refuse(req, tx, &Refusal{Code: 481, Reason: "Call/Transaction Does Not Exist"})
		return
	}
	k.cseq = 0
	s.awaitInvite(k, req, tx)
}

// awaitInvite gives the INVITE that a CANCEL or BYE belongs to a moment to
// come; invite then refuses it.
func (s *Server) awaitInvite(k inviteKey, req *sip.Request, tx *sip.ServerTx) {
	came := make(chan struct{})
	s.mu.Lock()
	if len(s.early) < 1024 {
		s.early[k] = came
	}
	s.mu.Unlock()
	patience := time.NewTimer(s.time.holdBack)
	defer patience.Stop()
	ok := false
	select {
	case <-came:
		ok = true
	case <-patience.C:
	case <-s.closed:
	}
	s.mu.Lock()
	if s.early[k] == came {
		delete(s.early, k)
	}
	s.mu.Unlock()
	if ok {
		s.respond(tx, sip.NewResponseFromRequest(req, 200, "OK", nil))
		return
	}
	s.count("unknown-dialog")
	s.refuse(req, tx, &Refusal{Code: 481, Reason: "Call/Transaction Does Not Exist"})
}
