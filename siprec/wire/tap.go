package wire

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"siprecd/siprec/trace"
	"siprecd/siprec/transport"
)

// tapped is a UDP socket whose writes are seen, and of which is known whether
// what was read is still being handled. One goroutine reads.
type tapped struct {
	net.PacketConn
	stack *Stack
	busy  bool
}

// ReadFrom implements net.PacketConn. Who calls it has done with what it
// returned before.
func (t *tapped) ReadFrom(b []byte) (int, net.Addr, error) {
	if t.busy {
		t.busy = false
		t.stack.reading.RUnlock()
	}
	n, from, err := t.PacketConn.ReadFrom(b)
	if err == nil {
		t.stack.reading.RLock()
		t.busy = true
	}
	return n, from, err
}

// WriteTo implements net.PacketConn.
func (t *tapped) WriteTo(b []byte, to net.Addr) (int, error) {
	t.stack.see("udp", t.LocalAddr(), to, b, true)
	return t.PacketConn.WriteTo(b, to)
}

// see shows a message to the observer.
func (s *Stack) see(network string, local, remote net.Addr, msg []byte, out bool) {
	if out {
		s.settled(msg)
	}
	if s.cfg.Observer == nil {
		return
	}
	defer s.recover()
	peer := AddrPort(remote.String())
	m := trace.Message{At: time.Now(), Network: network, Out: out, Raw: msg, From: peer, To: LocalAddr(local, peer)}
	if out {
		m.From, m.To = m.To, m.From
	}
	s.cfg.Observer.Message(m)
}

// recover keeps what breaks on foreign bytes, on a goroutine that reads for all
// clients, from ending more than the handling of this one message.
func (s *Stack) recover() {
	if r := recover(); r != nil {
		s.Count("panic")
		s.log.Error("panic on a message", "panic", transport.Mask(fmt.Sprint(r)), "stack", string(debug.Stack()))
	}
}

// watch tells the observer of a stream listener's connections.
func (s *Stack) watch(network string) transport.Watch {
	hear := func(c net.Conn, _ []byte, _ bool) { s.hear(network, c.RemoteAddr()) }
	o := s.cfg.Observer
	message := func(c net.Conn, msg []byte, out bool) {
		hear(c, msg, out)
		s.see(network, c.LocalAddr(), c.RemoteAddr(), msg, out)
	}
	if o == nil {
		return transport.Watch{Message: message}
	}
	return transport.Watch{
		Message: message,
		Handshake: func(c net.Conn, st tls.ConnectionState, failed string) {
			s.audit(c.RemoteAddr(), st, failed)
			o.Handshake(AddrPort(c.RemoteAddr().String()), st, failed)
		},
		Gone: func(c net.Conn) { o.Gone(AddrPort(c.RemoteAddr().String())) },
	}
}

// stranger tells the observer of an address that is not on the allow-list.
func (s *Stack) stranger(a netip.Addr) {
	if s.cfg.Observer != nil {
		s.cfg.Observer.Stranger(a)
	}
}

// audit logs who came over TLS, and why one who tried did not: by address and
// by the fingerprint of the certificate, which names no person.
func (s *Stack) audit(remote net.Addr, st tls.ConnectionState, failed string) {
	if failed != "" {
		// The reason is in the message, for quiet lets one of each through.
		s.quiet.Warn("a TLS handshake failed: "+failed, "raddr", remote.String())
		return
	}
	args := []any{"raddr", remote.String(), "version", tls.VersionName(st.Version)}
	if len(st.PeerCertificates) > 0 {
		cert := st.PeerCertificates[0]
		sum := sha256.Sum256(cert.Raw)
		args = append(args, "certificate", hex.EncodeToString(sum[:]), "expires", cert.NotAfter.UTC().Format(time.RFC3339))
	}
	s.log.Info("a client connected over TLS", args...)
}
