package wire

import (
	"net"
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// OneLine keeps text from elsewhere from becoming header lines of its own.
func OneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s))
}

// Tokens reads a list header that may come in several lines. sipgo
// finds only the first line, and none by its compact name.
func Tokens(msg sip.Message, names ...string) []string {
	var out []string
	for _, n := range names {
		for _, h := range msg.GetHeaders(n) {
			for v := range strings.SplitSeq(h.Value(), ",") {
				if v = strings.TrimSpace(v); v != "" {
					out = append(out, OneLine(v))
				}
			}
		}
	}
	return out
}

// Text returns the value of the first header field that has one of the names.
func Text(msg sip.Message, names ...string) string {
	for _, n := range names {
		if hs := msg.GetHeaders(n); len(hs) > 0 {
			return strings.TrimSpace(hs[0].Value())
		}
	}
	return ""
}

// HasToken looks for an option tag or method, in any case.
func HasToken(list []string, token string) bool {
	for _, v := range list {
		if strings.EqualFold(v, token) {
			return true
		}
	}
	return false
}

// LocalAddr is the address that the peer of a connection can reach us at:
// the socket's own, or for a socket that is bound to every address the one
// that the system would send from. Nothing is sent to find out.
func LocalAddr(sock net.Addr, peer netip.AddrPort) netip.AddrPort {
	own := AddrPort(sock.String())
	if own.IsValid() && !own.Addr().IsUnspecified() {
		return own
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(peer))
	if err != nil {
		return own
	}
	defer c.Close()
	return netip.AddrPortFrom(AddrPort(c.LocalAddr().String()).Addr(), own.Port())
}

// AddrPort reads a socket address as sipgo gives it.
func AddrPort(s string) netip.AddrPort {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
