package siprec

import (
	"crypto/tls"
	"net/netip"

	"siprecd/siprec/flood"
	"siprecd/siprec/peers"
	"siprecd/siprec/trace"
)

// Names of the packages below that users of this one need.
type (
	Client    = peers.Client    // who a TLS connection's other end is
	Strangers = peers.Strangers // who was turned away
	Dialog    = trace.Dialog    // the messages of a dialog
	Flood     = flood.Limits    // what one client may ask for; zero values mean the defaults
)

// Peer is what is known of one recording client.
type Peer = peers.Peer

// Peers tells of every client that was heard since the start, and who was
// turned away for not being one.
func (s *Server) Peers() ([]Peer, Strangers) { return s.peers.Peers() }

// Trace is the memory of recent dialogs' messages.
func (s *Server) Trace() *trace.Ring { return s.trace }

// watcher hands what passes the sockets to the memory and to the table.
type watcher struct {
	ring  *trace.Ring
	table *peers.Table
}

// Message implements wire.Observer.
func (w watcher) Message(m trace.Message) {
	h := trace.ReadHead(m.Raw)
	w.ring.Note(m, h)
	w.table.Message(m, h)
}

// Handshake implements wire.Observer.
func (w watcher) Handshake(remote netip.AddrPort, st tls.ConnectionState, failed string) {
	w.table.Handshake(remote, st, failed)
}

// Gone implements wire.Observer.
func (w watcher) Gone(remote netip.AddrPort) { w.table.Gone(remote) }

// Stranger implements wire.Observer.
func (w watcher) Stranger(a netip.Addr) { w.table.Stranger(a) }
