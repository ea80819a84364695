// Package media turns the RTP of a call's parties into Opus packets on the
// call's wall-clock timeline.
//
//	 sockets            streams (media/leg)                    call                     recorder
//	┌───────┐ sweep    ┌───────────────────────────┐        ┌──────────────────────┐  ┌──────┐
//	│ udp   ├─────────►│ ring ─► decode ─► timeline├───────►│ mix ─► limit ─► Opus ├─►│ Sink │
//	│ udp   ├─────────►│                           ├───────►│ encode: 20 ms frames │  └──────┘
//	└───────┘ recvmmsg └───────────────────────────┘ samples└──────────────────────┘ packets
//	└─ visit: all of this for one call, then for the next; one worker, some hundred calls ──┘
//
// A recorder has no latency duty, so nothing here wakes for a packet. A worker
// per core goes round its calls every 520 ms. A visit empties a call's sockets
// (media/udp: recvmmsg, with the kernel's time of arrival), lets packets wait 200
// ms for those that they have overtaken, and encodes what frames are complete.
// So a call's state is warm for the whole of a batch. What has been encoded
// trails the present by 200 to 740 ms; Open refuses settings that could make it
// more than MaxLatency. A call that is listened to is visited every 20 ms
// (Hasten), the others stay in their batches. The workers take turns, and let
// the rest of the process run between two calls. In the steady state nothing is
// allocated for a packet, no lock is waited for and nothing is written to a disk.
//
// The timeline's sample 0 is the call's start. A call is played up to the
// moment before its sockets were last read, so a worker that is held up loses
// nothing: it is only late, which Load tells. Streams come and go at any time;
// where none is heard there is silence, and the Summary says why. Caller left,
// ours right; several streams of a side, or all in the mono layout, are added
// up, and turned down only where the sum would not fit.
//
// A call begins at the rate that was agreed. When a stream brings wider audio
// than any before, the encoder is replaced between two frames, before any of
// that audio is encoded, and the joint is not heard (see core.widen). Narrower
// streams are interpolated. RTCP is read on the port above each stream's, or on
// its own; sender reports of one clock bring the streams of a call together,
// and receiver reports go to the signalled address of an allowed peer.
//
// Caveats. A call never becomes narrower again. A packet that comes after its place was encoded is counted and
// dropped. A sender may burst ahead of real time by no more than the network
// explains: what claims to be from the future is heard when it arrives.
package media

import (
	"net/netip"
	"time"

	"siprecd/media/leg"
	"siprecd/media/payload"
)

// Side is the channel that a stream is heard in.
type Side = leg.Side

// Left is the caller's side, Right is ours (the listed line's).
const (
	Left  = leg.Left
	Right = leg.Right
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

// Narrow is the lowest encoder rate in Hz: that of G.711.
const Narrow = leg.SampleRate

// Plays is the rate in Hz of the audio that an encoding is turned into; 0: it is
// not. Comfort noise and telephone-event are no audio.
func Plays(c Codec) int { return payload.Plays(c) }

// Codecs are the encodings that are played, each with its RTP clock.
func Codecs() []Codec { return payload.Codecs() }

// Config configures an Engine.
type Config struct {
	Address netip.Addr // where sockets are bound
	PortMin int        // first and last port of the range; RTP takes the even ones
	PortMax int
	Workers int                   // 0: one per core
	Sweep   time.Duration         // how often a call's sockets are emptied and what is complete encoded; 0: 520 ms
	Depth   time.Duration         // how long a packet may be late; 0: 200 ms
	Batch   time.Duration         // how much of a call is encoded in one go at most, whole frames of 20 ms; 0: 520 ms
	Allow   func(netip.Addr) bool // extra sources, beside the signalled address, whose RTP is taken
}

// CallConfig configures the recording of one call.
type CallConfig struct {
	Start      time.Time // instant of the timeline's sample 0
	Layout     Layout
	Rate       int // encoder rate in Hz: 8000, 16000 or 48000; it rises by itself when a stream brings wider audio
	Bitrate    int // bit/s; 0: 36000. In stereo a silent side stays entirely silent from 34000 on (38000 below complexity 5)
	Complexity int // 0 to 10
	Sink       Sink
}

// Sink takes a call's Opus packets, in order, without a gap: packet n holds
// samples n*960-312 onwards (48 kHz) of the call. It is called on a media
// worker and must neither block nor keep the packets after it returns.
type Sink interface {
	WritePackets(packets [][]byte)
}

// What is agreed for a stream and what is counted on it; see package leg.
type (
	// Codec names a payload type's encoding as the engine knows it.
	Codec = leg.Codec
	// StreamConfig is what was agreed for one media line.
	StreamConfig = leg.Config
	// StreamStats is what was counted on one stream since it was added.
	StreamStats = leg.Stats
	// Gap is a stretch of a stream's timeline that holds no received audio.
	Gap = leg.Gap
	// Digit is one key pressed on a party's telephone.
	Digit = leg.Digit
)

// Summary is a finished call's account.
type Summary struct {
	Duration time.Duration // of the timeline; Samples at 48 kHz
	Samples  int64
	Streams  []StreamStats
	Gaps     []Gap
	Digits   []Digit // of the streams that asked for them
	Failed   int     // frames that libopus refused and silence stands for; never seen
	Broken   bool    // a panic has ended it early, see Call.Broken
}
