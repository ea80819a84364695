package siprec

import (
	"net/netip"
	"sync"
	"time"

	"siprecd/siprec/uas"
)

// Session is one recording session: the dialog that a recording client keeps
// with us for one recorded call. Its methods are safe for parallel use.
type Session struct {
	dialog *uas.Dialog

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

func (s *Session) setIdentity(id Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identity = id
}
