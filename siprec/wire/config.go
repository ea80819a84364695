package wire

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"

	"siprecd/siprec/flood"
	"siprecd/siprec/trace"
)

// Config is what a Stack needs to be told.
type Config struct {
	// Listen holds addresses as udp://host:port, tcp://host:port or
	// tls://host:port. An empty host is every address of the machine; port 0
	// lets the system choose. Without a port, 5060 (tls: 5061) is taken.
	Listen []string
	// Peers are the networks that may speak to us. Anyone else is dropped
	// before any state is made for them. It must not be empty.
	Peers []netip.Prefix
	// TLS is used for tls:// addresses and needed when there is one.
	TLS *tls.Config
	// Flood are the limits of what one client may ask for.
	Flood flood.Limits
	// Known says whether a dialog of ours has these names; nil: none has.
	// It is called on the goroutine that reads, and must not block.
	Known func(callID, local, remote string) bool
	// Logger must not be nil.
	Logger *slog.Logger
	// Observer sees what passes the sockets; nil: nobody does.
	Observer Observer
}

// Observer sees what passes a Stack's sockets. Its methods are called on the
// goroutine that reads or writes, and must not block.
type Observer interface {
	// Message sees each message as it is on the wire, in plain text; its
	// bytes are only valid during the call.
	Message(m trace.Message)
	// Handshake sees each TLS handshake; failed is a constant that says why
	// it did, "" when it did not.
	Handshake(remote netip.AddrPort, st tls.ConnectionState, failed string)
	// Gone sees that a stream connection is closed.
	Gone(remote netip.AddrPort)
	// Stranger sees an address that is not on the allow-list.
	Stranger(a netip.Addr)
}

// listenAddr is one parsed entry of Config.Listen.
type listenAddr struct{ network, hostport string }

func (c Config) check() ([]listenAddr, error) {
	switch {
	case c.Logger == nil:
		return nil, errors.New("sip: no logger")
	case len(c.Listen) == 0:
		return nil, errors.New("sip: no address to listen on")
	case len(c.Peers) == 0:
		return nil, errors.New("sip: no peers are allowed, so nobody could place a call")
	}
	for _, p := range c.Peers {
		if !p.IsValid() {
			return nil, errors.New("sip: a peer network is not valid")
		}
	}
	addrs := make([]listenAddr, 0, len(c.Listen))
	for _, l := range c.Listen {
		a, err := parseListen(l)
		if err != nil {
			return nil, err
		}
		if a.network == "tls" && c.TLS == nil {
			return nil, fmt.Errorf("sip: %s needs a certificate", l)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

func parseListen(l string) (listenAddr, error) {
	network, rest, ok := strings.Cut(l, "://")
	port := "5060"
	switch network {
	case "udp", "tcp":
	case "tls":
		port = "5061"
	default:
		ok = false
	}
	if !ok || strings.ContainsAny(rest, "/?#@ ") {
		return listenAddr{}, fmt.Errorf("sip: listen address %q: want udp://host:port, tcp://host:port or tls://host:port", l)
	}
	if _, _, err := net.SplitHostPort(rest); err != nil {
		rest = net.JoinHostPort(strings.Trim(rest, "[]"), port)
	}
	if _, _, err := net.SplitHostPort(rest); err != nil {
		return listenAddr{}, fmt.Errorf("sip: listen address %q: %w", l, err)
	}
	return listenAddr{network, rest}, nil
}

// Allowed reports whether a peer may speak to us.
func (s *Stack) Allowed(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range s.cfg.Peers {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
