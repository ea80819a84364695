// Package peers keeps what an engineer asks about a recording client first:
// when it was last heard, how it is connected, and what was refused and why.
//
//	each message on the wire ──┐
//	each TLS handshake ────────┼─► Table ─► one Peer an address
//	each address turned away ──┘
//
// Promises: a table is bounded whatever is sent (the address that was heard
// least lately goes first), and holds nothing of a call: no number, no name, no
// Call-ID. Caveat: it begins empty with each start.
package peers

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"siprecd/siprec/trace"
)

// Bounds of a table.
const (
	maxPeers = 256
	maxConns = 4096 // TLS connections whose client is known
)

// Peer is one address that may speak to us.
type Peer struct {
	Addr        netip.Addr
	Network     string // udp, tcp or tls: of the latest message
	Heard       time.Time
	LastOptions time.Time // zero: never
	LastInvite  time.Time // zero: never; INVITEs within a dialog too
	Calls       uint64    // sessions that were opened
	Refusals    uint64    // responses that were refusals, and handshakes that failed
	Refused     Refusal   // the latest
	TLS         *Client   // of the latest handshake; nil: none
}

// Refusal is something that was refused.
type Refusal struct {
	At     time.Time
	Method string // "TLS" for a handshake
	Code   int    // 0 for a handshake
	Reason string // words of ours, never text from a message
}

// Client is what a TLS handshake told of the one who connected.
type Client struct {
	Version     string    // TLS 1.2, TLS 1.3
	Subject     string    // the certificate's common name; "" without a certificate
	Names       []string  // and its alternative names
	Expires     time.Time // zero without a certificate
	Fingerprint string    // SHA-256 of the certificate, hexadecimal
}

// Strangers counts who was turned away for not being on the allow-list.
type Strangers struct {
	Count uint64
	Last  netip.Addr
	At    time.Time
}

// Table is the table. Its methods are safe for parallel use.
type Table struct {
	mu        sync.Mutex
	peers     map[netip.Addr]*Peer
	conns     map[netip.AddrPort]*Client
	strangers Strangers
	refused   [256]uint64 // the latest refusals, hashed
	next      int
}

// New makes an empty table.
func New() *Table {
	return &Table{peers: make(map[netip.Addr]*Peer), conns: make(map[netip.AddrPort]*Client)}
}

// peer finds or makes the row of an address. The caller holds mu.
func (t *Table) peer(a netip.Addr, now time.Time) *Peer {
	a = a.Unmap().WithZone("")
	p := t.peers[a]
	if p == nil {
		if len(t.peers) >= maxPeers {
			oldest := slices.MinFunc(slices.Collect(maps.Values(t.peers)),
				func(a, b *Peer) int { return a.Heard.Compare(b.Heard) })
			delete(t.peers, oldest.Addr)
		}
		p = &Peer{Addr: a}
		t.peers[a] = p
	}
	p.Heard = now
	return p
}

// repeated says that a refusal was told before: until its ACK comes it is sent
// again and again (RFC 3261 section 17.2.1). The caller holds mu.
func (t *Table) repeated(h trace.Head) bool {
	f := fnv.New64a()
	fmt.Fprintf(f, "%s\n%s\n%d %s %d", h.CallID, h.FromTag, h.CSeq, h.Method, h.Status)
	sum := f.Sum64()
	if slices.Contains(t.refused[:], sum) {
		return true
	}
	t.refused[t.next%len(t.refused)] = sum
	t.next++
	return false
}

// Message notes one message as it passed the wire. h is its head.
func (t *Table) Message(m trace.Message, h trace.Head) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peer(m.Peer().Addr(), m.At)
	p.Network = m.Network
	switch {
	case m.Out && h.Status >= 300 && h.Status != 487: // 487 is the client's own wish
		if t.repeated(h) {
			return
		}
		p.Refusals++
		p.Refused = Refusal{At: m.At, Method: h.Method, Code: h.Status, Reason: h.Reason}
		if h.Warning != "" {
			p.Refused.Reason += ": " + h.Warning
		}
	case m.Out || h.Status > 0:
	case h.Method == "OPTIONS":
		p.LastOptions = m.At
	case h.Method == "INVITE":
		p.LastInvite = m.At
	}
}

// Opened counts a session of a client.
func (t *Table) Opened(a netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.peer(a, time.Now()).Calls++
}

// Handshake notes a TLS handshake. failed is why it did, "" when it did not.
func (t *Table) Handshake(remote netip.AddrPort, st tls.ConnectionState, failed string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	p := t.peer(remote.Addr(), now)
	p.Network = "tls"
	if failed != "" {
		p.Refusals++
		p.Refused = Refusal{At: now, Method: "TLS", Reason: failed}
		return
	}
	p.TLS = newClient(st)
	if len(t.conns) < maxConns {
		t.conns[unmap(remote)] = p.TLS
	}
}

// Gone forgets a connection.
func (t *Table) Gone(remote netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, unmap(remote))
}

// Client is who is behind a TLS connection, the zero value when there is none.
func (t *Table) Client(remote netip.AddrPort) Client {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.conns[unmap(remote)]; c != nil {
		return *c
	}
	return Client{}
}

// Stranger counts an address that was turned away.
func (t *Table) Stranger(a netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.strangers.Count++
	t.strangers.Last, t.strangers.At = a.Unmap().WithZone(""), time.Now()
}

// Peers returns the rows by address, and who was turned away.
func (t *Table) Peers() ([]Peer, Strangers) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := make([]Peer, 0, len(t.peers))
	for _, p := range t.peers {
		rows = append(rows, *p)
	}
	slices.SortFunc(rows, func(a, b Peer) int { return a.Addr.Compare(b.Addr) })
	return rows, t.strangers
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// maxNames bounds what is kept of a certificate's names.
const maxNames = 16

func newClient(st tls.ConnectionState) *Client {
	c := &Client{Version: tls.VersionName(st.Version)}
	if len(st.PeerCertificates) == 0 {
		return c
	}
	cert := st.PeerCertificates[0]
	sum := sha256.Sum256(cert.Raw)
	c.Subject, c.Expires, c.Fingerprint = cut(cert.Subject.CommonName), cert.NotAfter.UTC(), hex.EncodeToString(sum[:])
	for _, n := range cert.DNSNames {
		c.Names = append(c.Names, cut(n))
	}
	for _, u := range cert.URIs {
		c.Names = append(c.Names, cut(u.String()))
	}
	for _, ip := range cert.IPAddresses {
		c.Names = append(c.Names, ip.String())
	}
	c.Names = c.Names[:min(len(c.Names), maxNames):min(len(c.Names), maxNames)]
	return c
}

// cut bounds a name that a certificate's owner chose.
func cut(s string) string { return s[:min(len(s), 128)] }
