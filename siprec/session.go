package siprec

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"siprecd/siprec/peers"
	"siprecd/siprec/uas"
)

// Session is one recording session: the dialog that a recording client keeps
// with us for one recorded call. Its methods are safe for parallel use.
type Session struct {
	dialog *uas.Dialog
	client peers.Client
	tags   Tags // of the first INVITE; written before the handler knows the session

	mu       sync.Mutex
	identity Identity
}

// ID is a random name of the session, made by us. It says nothing about the
// call and may stand in logs.
func (s *Session) ID() string { return s.dialog.ID() }

// CallID is the Call-ID of the recording dialog, as the client chose it. It
// may name persons or hosts: keep it out of logs.
func (s *Session) CallID() string { return s.dialog.CallID() }

// Peer is the address that the first INVITE came from.
func (s *Session) Peer() netip.AddrPort { return s.dialog.Peer() }

// Transport is "udp", "tcp" or "tls".
func (s *Session) Transport() string { return s.dialog.Transport() }

// RemoteTag is the client's tag of the dialog, which with CallID names it.
func (s *Session) RemoteTag() string { return s.dialog.RemoteTag() }

// Client is who the TLS connection of the first INVITE came from, the zero
// value for other transports.
func (s *Session) Client() peers.Client { return s.client }

// Tags says which of the two marks of a recording session (RFC 7866 section
// 6.2) the first INVITE bore.
func (s *Session) Tags() Tags { return s.tags }

// Tags are the marks of a recording session.
type Tags struct {
	Src    bool // +sip.src in the Contact
	Siprec bool // siprec in Require
}

// readTags looks for the marks in a header. The feature tag is a parameter of
// the Contact: inside its angle brackets it is one of the URI, and does not
// count.
func readTags(fields map[string][]string) Tags {
	var t Tags
	for name, values := range fields {
		for _, v := range values {
			switch strings.ToLower(name) {
			case "contact", "m":
				t.Src = t.Src || featureTag(v)
			case "require":
				t.Siprec = t.Siprec || slices.ContainsFunc(strings.Split(v, ","),
					func(o string) bool { return strings.EqualFold(strings.TrimSpace(o), "siprec") })
			}
		}
	}
	return t
}

func featureTag(contact string) bool {
	params := contact[strings.LastIndexByte(contact, '>')+1:]
	for i, p := range strings.Split(params, ";") {
		name, _, _ := strings.Cut(p, "=")
		if i > 0 && strings.EqualFold(strings.TrimSpace(name), "+sip.src") {
			return true
		}
	}
	return false
}

// Begun is when the first INVITE was received.
func (s *Session) Begun() time.Time { return s.dialog.Begun() }

// Established is when the 200 OK to the first INVITE left; zero before that.
func (s *Session) Established() time.Time { return s.dialog.Established() }

// Identity is who takes part, from the headers and the metadata so far. When
// Open or Change is called it already holds what that request brought.
func (s *Session) Identity() Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity
}

// Hangup ends the session: a BYE with reason as its Reason header's text is
// sent and the state dropped whatever the reply (many clients refuse a BYE
// from a recorder). Handler.Close follows with cause "hangup". It does not
// block, and does nothing when the session has already ended.
func (s *Session) Hangup(reason string) { s.dialog.Hangup(reason) }

// Reinvite asks the client anew for the streams that it described last: from
// inactive to recvonly, say (RFC 7866 section 7.2). When the request can leave
// Handler.Change is called with Proposed for its content, and with Answered
// for what the client makes of it. A client that refuses is left as it was. It
// does not block and may be called from within Change.
func (s *Session) Reinvite() { s.dialog.Reinvite() }

// snapshotRequest is the document of RFC 7866 section 9.2 (RFC 7865 section 7).
const snapshotRequest = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n" +
	"<requestsnapshot xmlns=\"urn:ietf:params:xml:ns:recording:1\"/>\r\n"

// RequestSnapshot asks the client for its whole metadata. Many clients do not
// know this request; it must be asked for only where they are known to. It
// does not block.
func (s *Session) RequestSnapshot() {
	s.dialog.Update("application/rs-metadata+xml", "recording-session", []byte(snapshotRequest))
}

// Probe asks the client whether it still has the session. heard is called from
// another goroutine: alive is false when the client does not know it, answered
// when it said nothing; it is not called for a session that has ended.
func (s *Session) Probe(heard func(alive, answered bool)) {
	s.dialog.Probe(func(status int) { heard(status != 481 && status != 0, status != 0) })
}

func (s *Session) setIdentity(id Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identity = id
}
