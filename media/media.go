// Package media turns the RTP of a call's parties into Opus packets on the
// call's wall-clock timeline.
package media

import (
	"net/netip"
	"time"
)

// Side is the channel that a stream is heard in.
type Side int

// Left is the caller's side, Right is ours (the listed line's).
const (
	Left Side = iota
	Right
)

// Layout says how the parties share the recording.
type Layout string

// Stereo keeps the sides apart in two channels; Mono mixes all into one.
const (
	Stereo Layout = "stereo"
	Mono   Layout = "mono"
)

// PreSkip is the encoder's delay in samples at 48 kHz (RFC 7845 section 4.2).
const PreSkip = 312

// FrameSamples is the length of every encoded packet in samples at 48 kHz.
const FrameSamples = 960

// Config configures an Engine.
type Config struct {
	Address netip.Addr // where sockets are bound
	PortMin int        // first and last port of the range; RTP takes the even ones
	PortMax int
	Workers int                   // 0: one per core
	Sweep   time.Duration         // how often sockets are emptied; 0: 100 ms
	Depth   time.Duration         // how long a packet may be late; 0: 200 ms
	Batch   time.Duration         // how much of a call is encoded at once; 0: 300 ms
	Allow   func(netip.Addr) bool // extra sources, beside the signalled address, whose RTP is taken
}

// CallConfig configures the recording of one call.
type CallConfig struct {
	Start      time.Time // instant of the timeline's sample 0
	Layout     Layout
	Rate       int // encoder rate in Hz: 8000, 16000 or 48000
	Bitrate    int // bit/s; 0: 32000
	Complexity int // 0 to 10
	Sink       Sink
}

// Sink takes a call's Opus packets, in order, without a gap: packet n holds
// samples n*960-312 onwards (48 kHz) of the call. It is called on a media
// worker and must neither block nor keep the packets after it returns.
type Sink interface {
	WritePackets(packets [][]byte)
}

// Codec names a payload type's encoding as the engine knows it.
type Codec struct {
	Encoding string // PCMU, PCMA, TELEPHONE-EVENT, CN; others are counted, not played
	Clock    int
	Channels int
}

// StreamConfig is what was agreed for one media line.
type StreamConfig struct {
	Name   string // label or index, for statistics
	Side   Side
	Codecs map[uint8]Codec // by payload type; what is not here is never played
	Source netip.AddrPort  // signalled address and port of the sender; may be invalid
	Hold   bool            // the sender announced that it sends nothing
}

// StreamStats is what was counted on one stream since it was added.
type StreamStats struct {
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
	Malformed   uint64        // not RTP
	RTCP        uint64        // muxed on the RTP port; not read
	Stray       uint64        // of another sender than the one that is heard, too few to be believed
	Events      uint64        // telephone-event packets
	Overflow    uint64        // dropped by the kernel because we were slow (SO_RXQ_OVFL)
	LastPacket  time.Time     // zero: none so far
	Level       float64       // dBov of the last batch; -127 for silence
	Silent      time.Duration // how long the stream has been below -60 dBov or absent
	Hold        bool
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

// Summary is a finished call's account.
type Summary struct {
	Duration time.Duration // of the timeline; Samples at 48 kHz
	Samples  int64
	Streams  []StreamStats
	Gaps     []Gap
	Failed   int // frames that libopus refused and silence stands for; never seen
}
