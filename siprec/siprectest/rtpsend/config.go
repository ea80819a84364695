package rtpsend

import (
	"net/netip"
	"time"
)

// SampleRate is the RTP clock of G.711, Hz. A sample is a byte of payload.
const SampleRate = 8000

// Config is what one stream sends.
type Config struct {
	Label       string
	Payload     []byte // the audio, a byte a sample; streams may share it
	Loop        bool   // Payload begins again at its end; otherwise Silence follows
	Silence     byte
	PayloadType uint8
	EventPT     uint8 // payload type of Events
	Ptime       time.Duration
	Start       time.Duration // the first packet, after Pacer.Start
	End         time.Duration // the last packet's end, after Pacer.Start; 0: never
	SSRC        uint32
	Sequence    uint16 // of the first packet
	Timestamp   uint32 // of the moment of Pacer.Start
	Seed        [2]uint64
	Impair
}

// Socket says where a stream sends from.
type Socket struct {
	Addr   netip.Addr
	Shared bool // the socket number Number of all streams, instead of its own
	Number int
}

// Impair is what goes wrong with one stream. Times count from Pacer.Start, by
// the stream's own clock.
type Impair struct {
	Loss, Reorder, Duplicate float64 // fractions of the packets
	SkewPPM                  float64 // sample clock fast (+) or slow (-) by so many millionths
	Gaps                     []Span  // nothing is sent, timestamps go on (DTX)
	Jumps                    []Jump
	Events                   []Event
	Foreign                  []Foreign
}

// Span is a stretch of the call.
type Span struct{ From, To time.Duration }

// Jump moves the RTP header's counters from a moment on. A stream's jumps are
// in the order of their times.
type Jump struct {
	At        time.Duration
	Timestamp int32  // samples added
	Sequence  int16  // numbers added
	SSRC      uint32 // new source; 0: as before
}

// Event is a DTMF digit sent as RTP events instead of audio (RFC 4733).
type Event struct {
	At, For time.Duration
	Digit   byte // 0-9 * # A-D
}

// Foreign marks a stretch whose packets carry a payload type nobody offered.
type Foreign struct {
	Span
	PayloadType uint8
}

// Stats counts the packets of one stream. Sent includes duplicates and events;
// Dropped and Skipped were not sent.
type Stats struct {
	Label          string `json:"label,omitempty"`
	SSRC           uint32 `json:"ssrc,omitempty"`
	FirstSequence  uint16 `json:"first_sequence,omitempty"`
	FirstTimestamp uint32 `json:"first_timestamp,omitempty"`
	Sent           int    `json:"sent"`
	Dropped        int    `json:"dropped,omitempty"`    // lost on purpose
	Duplicated     int    `json:"duplicated,omitempty"` // sent twice on purpose
	Reordered      int    `json:"reordered,omitempty"`  // sent after their successor
	Skipped        int    `json:"skipped,omitempty"`    // silent: hold, gap, not wanted
	Events         int    `json:"events,omitempty"`     // RFC 4733 packets
	Foreign        int    `json:"foreign,omitempty"`    // with a payload type not offered
	Failed         int    `json:"failed,omitempty"`     // refused by the operating system
}

// Add adds the counts of another stream.
func (l *Stats) Add(m Stats) {
	l.Sent += m.Sent
	l.Dropped += m.Dropped
	l.Duplicated += m.Duplicated
	l.Reordered += m.Reordered
	l.Skipped += m.Skipped
	l.Events += m.Events
	l.Foreign += m.Foreign
	l.Failed += m.Failed
}
