// Package siprectest is a SIPREC recording client (SRC, RFC 7866): it places
// recording sessions on a recorder over real sockets, sends the RTP of every
// party, and reports what it saw. Tests, `siprecd call` and the canary use it.
//
//	Options ──► plan ──► Client.Run ──► Call ──► link ──► UDP, TCP or TLS
//	                        │             │      (SIP: one socket for all calls)
//	                     Report ◄─────────┤
//	                                   stream ──► pacer ──► a UDP socket per leg
//
// Promises. What is sent is written here and nowhere else: bodies, metadata
// and RTP share no code with the recorder, so that a fault in one is not
// hidden by the same fault in the other. Answers are read here too. The same
// seed gives the same losses, duplicates and swaps. One goroutine paces all
// streams of all calls; sending a packet allocates nothing, so one process
// drives hundreds of calls beside the recorder it tests.
//
// sipgo gives the message types, the parser and the client transactions. The
// socket is ours (link), for two reasons: sipgo refuses to send a datagram
// over 1300 bytes unless a global of its is changed, and an ordinary SIPREC
// INVITE is larger; and a client that can lose an ACK or vanish on purpose
// has to own its socket.
//
// Caveats. Audio is G.711 at 8 kHz. RTP is sent on a 5 ms grid, so a packet
// leaves up to 5 ms after its time. There is no RTCP and no digest
// authentication, and requests go to the target whatever a Record-Route says.
package siprectest

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"siprecd/siprec/siprectest/audio"
	"siprecd/siprec/siprectest/keying"
	"siprecd/siprec/siprectest/offer"
	"siprecd/siprec/siprectest/rtpsend"
)

// ErrOptions is wrapped by every error about options that cannot be used.
var ErrOptions = errors.New("siprectest: bad options")

// The names of offer, audio and rtpsend that users of this package need.
const (
	RFC7865    = offer.RFC7865    // RFC 7865, Require: siprec, +sip.src
	Draft      = offer.Draft      // the namespace and elements of the drafts before it
	BroadWorks = offer.BroadWorks // recording_metadata first, no Require, ;src
	NoMetadata = offer.NoMetadata // application/sdp alone

	PCMA = offer.PCMA // G.711 A-law, payload type 8
	PCMU = offer.PCMU // G.711 mu-law, payload type 0
)

// Types of the packages below that Options and Report are made of.
type (
	Audio      = audio.Audio      // what a leg says: audio.Tone, audio.ReadWAV, ...
	Body       = offer.Body       // of a SIP request
	AnswerLine = offer.AnswerLine // an m-line of the recorder's answer
	Impair     = rtpsend.Impair   // what goes wrong with a stream
	Span       = rtpsend.Span
	Jump       = rtpsend.Jump
	Event      = rtpsend.Event
	Foreign    = rtpsend.Foreign
	LegReport  = rtpsend.Stats // the packets of one leg
	SRTP       = keying.SRTP   // how a leg is encrypted
)

// Options says what to call and how. The zero value of every field but Target
// is useful. It can be used for any number of runs.
type Options struct {
	Target string      // udp://host:port, tcp://, tls:// or sip:host:port (UDP)
	TLS    *tls.Config // for tls://; nil verifies against the system's roots

	From, To  string // the caller's number and the number called
	UserAgent string // the User-Agent header
	Headers   []Header
	Dialect   string // RFC7865 when empty

	Codec      string        // PCMA when empty
	Ptime      time.Duration // 20 ms when 0; whole milliseconds, 5 to 60
	Legs       []Leg         // empty: a caller and an agent in conversation
	ExtraMedia []string      // further m-lines for the offer, each with its a= lines
	Duration   time.Duration // from the first packet; 0: as long as the longest audio
	MediaAddr  netip.Addr    // where RTP is sent from; invalid: as the SIP socket
	SharePorts bool          // one port per leg for all calls together: cheaper, less like a real client

	Loss, Reorder, Duplicate float64 // fractions of the packets, on every leg
	Seed                     uint64  // of the three above

	Calls      int     // 1 when 0
	Rate       float64 // new calls a second; 0: all at once
	Concurrent int     // most calls at a time; 0: no limit

	Script  []Step // what happens in mid-call
	Faults  Faults // what this client does wrong
	Timeout time.Duration
	Log     *slog.Logger // nil: silent
}

// Header is one more SIP header field of the initial INVITE.
type Header struct{ Name, Value string }

// Leg is one party of the recorded call, with the stream that it sends.
type Leg struct {
	Label string // a=label (RFC 4574); its place counted from 1 when empty
	Name  string // display name in the metadata
	AoR   string // address of record, e.g. sip:02088257050@example.org
	Codec string // Options.Codec when empty
	Audio Audio
	Start time.Duration // the first packet is sent this long after the ACK
	SSRC  uint32        // random when 0
	First uint16        // sequence number of the first packet; random when 0
	SRTP  SRTP          // how it is encrypted; zero: not at all
	Impair
}

// Step does something in mid-call. At counts from the first moment of media.
// A step that fails is noted in the call's report and the call goes on.
type Step struct {
	At time.Duration
	Do func(ctx context.Context, c *Call) error
}

// Faults are ways in which a client misbehaves.
type Faults struct {
	CancelAfter time.Duration // CANCEL so long after the INVITE, if unanswered and once a 1xx came
	LoseAcks    int           // so many ACKs of the call are not sent
	NoBye       bool          // the client vanishes: packets stop, no BYE
	NoMedia     bool          // no RTP at all
}
