// Package leg is the clockless core of one stream of a call: RTP packets are
// pushed in with their time of arrival, samples of the call's timeline are read
// out, later, in order.
//
//	Push: datagram ─► sender? ─► clock: time stamp ─► media position ─► ring, ordered by position
//	Read: ring ─► decode ─► cover up a loss, or silence and the ledger ─► drift ─► samples
//
// Positions. The first packet is heard when it arrived; that is the anchor, and
// time stamps count from it. Anchors change when the time stamps stop making
// sense of the arrivals: a new sender, a jump, a pause that was not counted.
// Jitter, and a stalled network that lets go of everything at once, change
// nothing. What is too late for its place is counted and dropped.
//
// Senders. The stream is its port; the SSRC and the address say who is heard on
// it. Another SSRC, port or address takes over only when the present one has
// fallen silent and the new one has sent a run of packets; these are kept
// meanwhile, so that a real change loses nothing.
//
// Drift. The least delay of the last eight seconds knows no jitter. Once it is
// off by 15 ms, single samples are inserted or dropped by interpolation, one in
// 40 ms, until it is not. Without drift the samples are exactly those sent.
//
// Rates. Time is counted in units of 125 µs, whatever a codec's RTP clock and
// the rate of its audio. Payloads are decoded at their own rate and laid on a
// line of the call's rate (package resample), so that codecs may change from
// packet to packet. Losses in Opus and G.729 are covered up by their decoders,
// Opus with the copy that the next packet carries; others by repeating the
// last pitch period.
//
// Keys. RFC 4733 events are no audio; what was pressed is forgotten at once
// unless the stream is configured to keep it. Tones within the audio stay.
//
// A Track belongs to one goroutine. In the steady state it allocates nothing.
package leg

import (
	"net/netip"
	"time"

	"siprecd/media/payload"
	"siprecd/media/secure"
)

// Side is the channel that a stream is heard in.
type Side int

// Left is the caller's side, Right is ours (the listed line's).
const (
	Left Side = iota
	Right
)

// Codec names a payload type's encoding as it is agreed.
type Codec = payload.Codec

// Config is what was agreed for one media line.
type Config struct {
	Name   string // label or index, for statistics
	Side   Side
	Codecs map[uint8]Codec // by payload type; what is not here is never played
	Source netip.AddrPort  // signalled address and port of the sender; may be invalid
	Hold   bool            // the sender announced that it sends nothing
	Digits bool            // keys that are pressed are kept, see Digit; otherwise nothing is
	Keys   *secure.Keys    // what protects the stream; nil: it is plain
}

// Stats is what was counted on one stream since it was added.
type Stats struct {
	Name        string
	Side        Side
	Port        int
	Packets     uint64 // placed in the recording
	Lost        uint64 // not there when their place was encoded
	Late        uint64 // came after their place was encoded
	Duplicate   uint64
	Reordered   uint64
	WrongSource uint64
	NotAgreed   uint64        // payload types not agreed
	Assumed     uint64        // payload types not agreed but static, so played
	Malformed   uint64        // not RTP
	RTCP        uint64        // on either port
	Stray       uint64        // of another sender than the one that is heard, too few to be believed
	Events      uint64        // telephone-event packets
	Overflow    uint64        // dropped by the kernel because we were slow (SO_RXQ_OVFL)
	FirstPacket time.Time     // zero: none so far
	LastPacket  time.Time     // zero: none so far
	Level       float64       // dBov of the last batch; -127 for silence
	Silent      time.Duration // how long the stream has been below -60 dBov or absent
	Hold        bool
	Security    secure.Stats // of a keyed stream
}

// Digit is one key pressed on a party's telephone (RFC 4733 section 3.2).
type Digit struct {
	Stream string
	Side   Side
	At     time.Duration // since the call's start
	Key    byte          // 0-9 * # A-D, or ! for a flash
}

// Gap is a stretch of a stream's timeline that holds no received audio.
type Gap struct {
	Stream  string
	Side    Side
	From    time.Duration // since the call's start
	To      time.Duration
	Reason  string // "loss", "hold", "no media"
	Packets int    // packets missing, for loss
}
