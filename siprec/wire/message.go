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

// ContactURI is where the peer finds us in later requests of the dialog. It
// is sips when the request was (RFC 3261 section 12.1.1).
func ContactURI(local netip.AddrPort, network string, secure bool) sip.Uri {
	host := local.Addr().String()
	u := sip.Uri{Scheme: "sip", Host: host, Port: int(local.Port()), UriParams: sip.NewParams()}
	switch {
	case secure:
		u.Scheme = "sips"
		u.UriParams.Add("transport", "tcp")
	case network != "udp":
		u.UriParams.Add("transport", network)
	}
	return u
}

// ContactHeader marks every message of ours as a recording server's (RFC 7866
// section 6.2).
func ContactHeader(u sip.Uri) sip.Header {
	return sip.NewHeader("Contact", "<"+u.String()+">;+sip.srs")
}
