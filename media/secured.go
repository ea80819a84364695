package media

import (
	"net/netip"
	"sync/atomic"

	"siprecd/media/secure"
)

// What protects a stream; see package secure.
type (
	// Keys is what was agreed to protect one stream.
	Keys = secure.Keys
	// MasterKey is a master key with its salt.
	MasterKey = secure.Master
	// DTLS is what the signalling says of a handshake.
	DTLS = secure.DTLS
	// Fingerprint is the hash of a certificate.
	Fingerprint = secure.Fingerprint
)

// KeyBytes is how long master key and salt of an SRTP suite are together, by its
// name in SDP (RFC 4568 section 10.3.2); 0 for a suite that we do not take.
func KeyBytes(suite string) int { return secure.KeyBytes(suite) }

// Fingerprint is that of the certificate which our side of every DTLS handshake
// shows. It is made when it is first asked for, and lives as long as the Engine.
func (e *Engine) Fingerprint() (Fingerprint, error) {
	id, err := e.shown()
	if err != nil {
		return Fingerprint{}, err
	}
	return id.Print(), nil
}

// association is a stream's handshake. Its goroutine ends when it is closed. It
// goes along when its stream is handed on, whatever it is at just then.
type association struct {
	stream atomic.Pointer[Stream] // changed by the worker of the one before only
	keys   *secure.Keys
	shake  *secure.Handshake
	done   chan struct{}
}

// associate begins the handshake that an agreement asks for, unless it is the
// one that is there, and ends an old one. It is called on the worker, and
// returns what must be waited for off the worker; nil for nothing.
func (s *Stream) associate(cfg StreamConfig) *association {
	old := s.assoc
	want := cfg.Keys != nil && cfg.Keys.DTLS != nil
	if want && old != nil && old.keys.Equal(cfg.Keys) {
		return nil
	}
	s.assoc = nil
	if old != nil {
		old.shake.Close()
	}
	if !want {
		return old
	}
	id, err := s.call.eng.shown()
	if err != nil {
		s.track.UseKeys(secure.Keys{}, err)
		return old
	}
	a := &association{keys: cfg.Keys, done: make(chan struct{})}
	a.stream.Store(s)
	a.shake = secure.NewHandshake(id, *cfg.Keys.DTLS, cfg.Source, a)
	s.assoc = a
	s.call.eng.wg.Go(a.run)
	return old
}

// run is the handshake's goroutine.
func (a *association) run() {
	defer close(a.done)
	defer func() { // a handshake is made of foreign bytes: its stream stays without keys
		if r := recover(); r != nil {
			a.do(func(s *Stream) { s.call.guarded(func() { panic(r) }) })
		}
	}()
	a.shake.Run(func(k secure.Keys, err error) {
		a.do(func(s *Stream) {
			if s.assoc == a && !s.call.finished() {
				s.track.UseKeys(k, err)
				s.call.publish()
			}
		})
	})
}

// do runs f on the worker that has the stream, and waits for it. When the stream
// is handed on meanwhile, that is the worker of the call which it goes on in:
// keys that come just then must not be lost.
func (a *association) do(f func(s *Stream)) {
	for there := false; !there; {
		s := a.stream.Load()
		<-s.begun
		ran := s.call.w.do(func() {
			if there = a.stream.Load() == s; there {
				f(s)
			}
		})
		there = there || !ran
	}
}

// wait waits for a handshake that has been closed; not on the worker, which it
// needs for its farewell.
func (a *association) wait() {
	if a != nil {
		<-a.done
	}
}

// Send implements secure.Link.
func (a *association) Send(b []byte, to netip.AddrPort) {
	a.do(func(s *Stream) {
		if s.sock != nil {
			s.sock.Send(b, to)
		}
	})
}

// Poll implements secure.Link.
func (a *association) Poll() {
	a.do(func(s *Stream) {
		if !s.call.finished() {
			s.call.drain(s)
		}
	})
}

// control hands a datagram to the handshake, on the worker; false if there is
// none.
func (s *Stream) control(b []byte, from netip.AddrPort) bool {
	if s.assoc == nil {
		return false
	}
	s.assoc.shake.Deliver(b, from)
	return true
}
