package wire

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/transport"
)

// filterUDP is called by sipgo with every datagram, before it makes any state
// for the sender. Returning nothing drops it; an error would end the listener.
// Stream connections were judged by transport.Listener already.
func (s *Stack) filterUDP(p sip.TransportReadProps, data []byte) ([]byte, error) {
	if p.Transport != "UDP" {
		return data, nil
	}
	from, ok := p.RemoteAddr.(*net.UDPAddr)
	if !ok || !s.admit(from.AddrPort().Addr().Unmap()) {
		s.Count("peer-not-allowed")
		return nil, nil
	}
	msg := bytes.TrimLeft(data, "\r\n")
	if len(msg) == 0 {
		return nil, nil // keep-alive
	}
	if !s.hear("udp", from) {
		return nil, nil
	}
	s.see("udp", p.LocalAddr, from, msg, false)
	reply, ok := s.screen(from.AddrPort().Addr(), msg, false)
	if len(reply) > 0 {
		if pc := s.udp[p.LocalAddr.String()]; pc != nil {
			// Lost replies are what UDP senders expect.
			_, _ = pc.WriteTo(reply, from)
		}
	}
	if !ok {
		return nil, nil
	}
	return msg, nil
}

// screen judges one whole message before the SIP stack sees it. A request
// that cannot be read, or lacks what every answer must repeat, is answered
// 400 as far as its header can be salvaged; else the client would retransmit
// for 32 s, record nothing, and nobody would see why. What is part of a flood
// gets 503.
func (s *Stack) screen(from netip.Addr, data []byte, onStream bool) (reply []byte, ok bool) {
	defer func() {
		// The parser reads foreign bytes; what breaks it is dropped here,
		// and never reaches it a second time.
		if r := recover(); r != nil {
			s.Count("malformed")
			s.log.Error("the SIP parser failed on a message", "panic", transport.Mask(fmt.Sprint(r)))
			reply, ok = nil, false
		}
	}()
	msg, _, err := s.parser.Parse(data, onStream)
	why := "Message Not Understood"
	if bareBreak(data) {
		why = "Bare Line Break"
	} else if err == nil {
		if why = incomplete(msg); why == "" && otherVersion(msg) {
			s.Count("malformed")
			return stateless(data, refusal{line: "505 Version Not Supported", tag: rand.Text()}), false
		}
		if why == "" {
			return s.pass(from, msg, data)
		}
	}
	s.Count("malformed")
	s.quiet.Warn("a message that cannot be read was refused", "reason", why)
	return stateless(data, refusal{line: "400 " + why, tag: rand.Text()}), false
}

// bareBreak finds a CR or LF that stands alone in the header section. sipgo
// takes it for part of a value, and would repeat it in the answer, where
// others see a header line of the sender's making.
func bareBreak(data []byte) bool {
	head, _, _ := bytes.Cut(data, []byte("\r\n\r\n"))
	pairs := bytes.Count(head, []byte("\r\n"))
	return bytes.Count(head, []byte("\n")) != pairs || bytes.Count(head, []byte("\r")) != pairs
}

// incomplete names what a parsed message lacks; "" for a good one.
func incomplete(msg sip.Message) string {
	switch {
	case msg.Via() == nil:
		return "Missing Via"
	case msg.From() == nil:
		return "Missing From"
	case msg.To() == nil:
		return "Missing To"
	case msg.CallID() == nil || msg.CallID().Value() == "":
		return "Missing Call-ID"
	case msg.CSeq() == nil:
		return "Missing CSeq"
	}
	if req, ok := msg.(*sip.Request); ok && msg.CSeq().MethodName != req.Method {
		return "CSeq Method Differs"
	}
	return ""
}

// otherVersion finds a request of another SIP than 2.0 (RFC 3261 21.5.6).
func otherVersion(msg sip.Message) bool {
	req, ok := msg.(*sip.Request)
	return ok && !strings.EqualFold(req.SipVersion, "SIP/2.0")
}

// repeated gives the full name of a header field that a response repeats, ""
// for any other.
func repeated(name string) string {
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "via", "v":
		return "Via"
	case "from", "f":
		return "From"
	case "to", "t":
		return "To"
	case "call-id", "i":
		return "Call-ID"
	case "cseq":
		return "CSeq"
	}
	return ""
}

// refusal is an answer for which nothing is kept.
type refusal struct{ line, tag, fields string }

// stateless builds a refusal from the raw lines of a request (RFC 3261
// 8.2.6.2), or nothing when it is an ACK, a response, or lacks one of the
// fields.
func stateless(data []byte, r refusal) []byte {
	head := strings.ReplaceAll(string(data[:min(len(data), 16384)]), "\r\n", "\n")
	head, _, _ = strings.Cut(head, "\n\n")
	first, rest, _ := strings.Cut(head, "\n")
	if strings.HasPrefix(first, "SIP/") || strings.HasPrefix(first, "ACK ") ||
		!strings.Contains(first, " SIP/") {
		return nil
	}
	rest = strings.NewReplacer("\n ", " ", "\n\t", " ").Replace(rest)
	var out strings.Builder
	have := map[string]bool{}
	fmt.Fprintf(&out, "SIP/2.0 %s\r\n", r.line)
	for line := range strings.SplitSeq(rest, "\n") {
		name, value, _ := strings.Cut(line, ":")
		name = repeated(name)
		value = strings.TrimSpace(value)
		if name == "" || value == "" || have[name] && name != "Via" {
			continue
		}
		if name == "To" && !strings.Contains(value, "tag=") {
			value += ";tag=" + r.tag
		}
		have[name] = true
		fmt.Fprintf(&out, "%s: %s\r\n", name, value)
	}
	if len(have) != 5 {
		return nil
	}
	out.WriteString(r.fields + "Content-Length: 0\r\n\r\n")
	return []byte(out.String())
}
