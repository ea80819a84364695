package peers

import (
	"crypto/tls"
	"net/netip"
	"testing"
	"time"

	"siprecd/siprec/trace"
)

// pass lets one message pass the table.
func pass(t *Table, peer string, at time.Time, out bool, text string) {
	m := trace.Message{At: at, Network: "tcp", Out: out, From: netip.MustParseAddrPort(peer), Raw: []byte(text)}
	if out {
		m.From, m.To = m.To, m.From
	}
	t.Message(m, trace.ReadHead(m.Raw))
}

func TestRowsTellTheLatest(t *testing.T) {
	at := time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
	b := New()
	pass(b, "192.0.2.1:5060", at, false, "OPTIONS sip:x SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n")
	pass(b, "192.0.2.1:5061", at.Add(1), false, "INVITE sip:x SIP/2.0\r\nCSeq: 2 INVITE\r\n\r\n")
	pass(b, "192.0.2.1:5061", at.Add(2), true, "SIP/2.0 100 Trying\r\nCSeq: 2 INVITE\r\n\r\n")
	pass(b, "192.0.2.1:5061", at.Add(3), true, "SIP/2.0 503 Full\r\nCSeq: 2 INVITE\r\nWarning: 399 siprecd \"no port left\"\r\n\r\n")
	pass(b, "192.0.2.1:5061", at.Add(4), true, "SIP/2.0 503 Full\r\nCSeq: 2 INVITE\r\nWarning: 399 siprecd \"no port left\"\r\n\r\n") // sent again, for want of an ACK
	pass(b, "192.0.2.1:5061", at.Add(4), true, "SIP/2.0 487 Request Terminated\r\nCSeq: 2 INVITE\r\n\r\n")
	pass(b, "192.0.2.1:5061", at.Add(5), false, "SIP/2.0 405 Method Not Allowed\r\nCSeq: 2 BYE\r\n\r\n") // theirs
	b.Opened(netip.MustParseAddr("::ffff:192.0.2.1"))
	rows, _ := b.Peers()
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	p := rows[0]
	want := Refusal{At: at.Add(3), Method: "INVITE", Code: 503, Reason: "Full: no port left"}
	if p.LastOptions != at || p.LastInvite != at.Add(1) || p.Refusals != 1 || p.Refused != want || p.Calls != 1 || p.TLS != nil {
		t.Errorf("%+v", p)
	}
}

func TestTheTableIsBounded(t *testing.T) {
	at := time.Now()
	b := New()
	addr := netip.MustParseAddr("10.0.0.0")
	for i := range 3 * maxPeers {
		addr = addr.Next()
		pass(b, netip.AddrPortFrom(addr, 5060).String(), at.Add(time.Duration(i)), false, "OPTIONS x SIP/2.0\r\n\r\n")
		b.Stranger(addr)
	}
	rows, strangers := b.Peers()
	if len(rows) != maxPeers || rows[len(rows)-1].Addr != addr || strangers.Count != 3*maxPeers || strangers.Last != addr {
		t.Errorf("%d rows to %v, %+v", len(rows), rows[len(rows)-1].Addr, strangers)
	}
	for i := range 2 * maxConns {
		b.Handshake(netip.AddrPortFrom(addr, uint16(i)), tls.ConnectionState{Version: tls.VersionTLS13}, "")
	}
	if len(b.conns) != maxConns {
		t.Errorf("%d connections are known", len(b.conns))
	}
	first := netip.AddrPortFrom(addr, 0)
	if c := b.Client(first); c.Version != "TLS 1.3" {
		t.Errorf("%+v", c)
	}
	b.Gone(first)
	if c := b.Client(first); c.Version != "" {
		t.Errorf("a closed connection is known: %+v", c)
	}
}
