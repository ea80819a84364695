// Package trace remembers the SIP messages of recent dialogs, so that an
// engineer can see what a recording client and the recorder said to each other.
//
//	socket ─► Message ─► scrub: keys go ─► Ring: live | ended | refused ─► ladder, pcap
//
// Promises. What is remembered is the plain text behind TLS, without media
// keys, ICE passwords and digest credentials: they are overwritten, at the
// same length, before a message is kept, so that no reader of the memory can
// hand one out. Bytes are bounded, in all and for each dialog: the opening of
// a dialog and its latest messages stay, the middle goes. Calls that are live
// are forgotten last, and refused ones never push out calls. What is over is
// forgotten after an hour. Keep-alives and requests outside of dialogs are not
// kept.
//
// Caveats. Messages hold numbers and names: whoever hands them out answers for
// who sees them. The memory is gone with the process. In a pcap file every
// message is one UDP datagram, also what came over TCP or TLS.
package trace

import (
	"net/netip"
	"time"
)

// Message is one SIP message as it passed a socket.
type Message struct {
	At      time.Time      `json:"at"`
	Network string         `json:"network"` // udp, tcp, tls
	Out     bool           `json:"out"`     // the recorder sent it
	From    netip.AddrPort `json:"from"`
	To      netip.AddrPort `json:"to"`
	Raw     []byte         `json:"raw"`
}

// Peer is the other side's address.
func (m Message) Peer() netip.AddrPort {
	if m.Out {
		return m.To
	}
	return m.From
}

// Dialog is what is remembered of one dialog, oldest message first.
type Dialog struct {
	CallID   string    `json:"call_id"`
	Tag      string    `json:"tag"` // the client's
	State    State     `json:"state"`
	Messages []Message `json:"messages"`
	LeftOut  int       `json:"left_out"` // messages that were dropped from the middle
}

// State is how far a dialog has come.
type State string

// The states of a dialog.
const (
	Opening State = "opening" // the INVITE has no final answer yet
	Live    State = "live"
	Ended   State = "ended"   // a BYE was seen
	Refused State = "refused" // the INVITE was
)

// Event is something that happened to a call beside its messages.
type Event struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"`
	Text string    `json:"text,omitempty"`
}
