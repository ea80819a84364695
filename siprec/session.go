package siprec

import (
	"net/netip"
	"sync"
	"time"
)

// Session is one recording session: the dialog that a recording client keeps
// with us for one recorded call. Its methods are safe for parallel use.
type Session struct {
	id, callID, transport string
	peer                  netip.AddrPort
	begun                 time.Time
	hang                  func(reason string)

	mu       sync.Mutex
	identity Identity
	answered time.Time
}

// ID is a random name of the session, made by us. It says nothing about the
// call and may stand in logs.
func (s *Session) ID() string { return s.id }

// CallID is the Call-ID of the recording dialog, as the client chose it. It
// may name persons or hosts: keep it out of logs.
func (s *Session) CallID() string { return s.callID }

// Peer is the address that the first INVITE came from.
func (s *Session) Peer() netip.AddrPort { return s.peer }

// Transport is "udp", "tcp" or "tls".
func (s *Session) Transport() string { return s.transport }

// Begun is when the first INVITE was received.
func (s *Session) Begun() time.Time { return s.begun }

// Established is when the 200 OK to the first INVITE left; zero before that.
func (s *Session) Established() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answered
}

// Identity is who takes part, from the latest headers and the metadata merged
// so far. During Change it already holds what that change brought.
func (s *Session) Identity() Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity
}

// Hangup ends the session: a BYE with reason as its Reason header's text is
// sent and the state dropped whatever the reply (many clients refuse a BYE
// from a recorder). Handler.Close follows with cause "hangup". It does not
// block, and does nothing when the session has already ended.
func (s *Session) Hangup(reason string) { s.hang(reason) }

func (s *Session) setIdentity(id Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identity = id
}

func (s *Session) setEstablished(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = t
}
