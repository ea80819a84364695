package wire

import (
	"bytes"
	"net/netip"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/flood"
	"siprecd/siprec/trace"
)

// busyTag marks the To of refusals for which nothing is kept, so that their
// ACKs are known, and dropped. It never changes: copies of a request get the
// same answer (RFC 3261 section 8.2.7).
const busyTag = "busy"

// busy is what a flood is answered with.
var busy = refusal{line: "503 Too Many Requests", tag: busyTag, fields: "Retry-After: 10\r\n"}

// pass lets a message through unless it is part of a flood. What belongs to a
// dialog that is up always passes; a response is the transaction layer's.
func (s *Stack) pass(from netip.Addr, msg sip.Message, data []byte) (reply []byte, ok bool) {
	req, is := msg.(*sip.Request)
	if !is {
		return nil, true
	}
	local, _ := req.To().Params.Get("tag")
	if req.IsAck() && local == busyTag {
		return nil, false
	}
	if s.gated(from, req, local) {
		return nil, true
	}
	if req.IsInvite() {
		s.Count("flood-invite")
	} else {
		s.Count("flood")
	}
	s.quiet.Warn("a client asks for more than it may at a time; what is too much gets 503", "raddr", from.String())
	return stateless(data, busy), false
}

// gated asks the gate about a request with our tag, "" for none.
func (s *Stack) gated(from netip.Addr, req *sip.Request, local string) bool {
	c := flood.Call{CallID: req.CallID().Value(), CSeq: req.CSeq().SeqNo}
	c.FromTag, _ = req.From().Params.Get("tag")
	known := local != "" && s.cfg.Known != nil && s.cfg.Known(c.CallID, local, c.FromTag)
	switch {
	case known:
		if req.IsAck() {
			s.gate.Acknowledged(from, c)
		}
		return true
	case req.IsInvite() && local == "":
		return s.gate.Invite(from, c, time.Now())
	}
	return s.gate.Other(from, time.Now())
}

// settled notes that an INVITE is refused by a response that leaves now.
func (s *Stack) settled(msg []byte) {
	status, ok := bytes.CutPrefix(msg, []byte("SIP/2.0 "))
	if !ok || len(status) == 0 || status[0] < '3' {
		return
	}
	if h := trace.ReadHead(msg); strings.EqualFold(h.Method, "INVITE") {
		s.gate.Refused(flood.Call{CallID: h.CallID, FromTag: h.FromTag, CSeq: h.CSeq})
	}
}
