// Package payload knows what RTP payloads hold, and turns them into audio.
//
//	Codec (as agreed) ──FormatOf──► Format ──Length──► units
//	payload ──Voice.Decode──► block of mono audio at the codec's own rate ──At──► samples
//	loss ────Voice.Cover───► the same, made up
//
// Time is counted in units of 125 µs: one sample of 8 kHz, two of 16, six of
// 48. Several channels are averaged into one.
//
// Promises. Any bytes can be given: what a decoder refuses is silent and told.
// In the steady state nothing is allocated.
//
// Caveats. Opus is decoded by whoever opens the Voice (libopus has one place in
// the program); G.729 only in builds with the tag g729, see package g729.
package payload

import (
	"encoding/binary"
	"slices"
	"strings"

	"siprecd/media/g729"
	"siprecd/media/ogg"
)

// Unit is how many units a second has, in Hz: the lowest rate of audio.
const Unit = 8000

// ms is a thousandth of a second in units.
const ms = Unit / 1000

// maxWide is the greatest number of samples a unit.
const maxWide = 6

// Kind is what a payload type means to a stream.
type Kind uint8

// The kinds.
const (
	None Kind = iota // not agreed
	PCMU             // PCMU
	PCMA             // PCMA
	G722
	G729
	Linear // L16
	Opus
	Event // telephone-event (RFC 4733)
	Noise // comfort noise (RFC 3389)
	Other // agreed, but not known here; or an empty packet
)

// Audio says that payloads hold sound.
func (k Kind) Audio() bool { return k >= PCMU && k <= Opus }

// law is the table of a G.711 kind.
func (k Kind) law() *Law {
	if k == PCMU {
		return MuLaw
	}
	return ALaw
}

// Format is what a payload type holds. The RTP clock and the rate of the audio
// are two things: G.722 is 16 kHz counted at 8000, an Opus stream counts 48000
// whatever it holds.
type Format struct {
	Kind     Kind
	Clock    uint8 // of the RTP time stamps, in multiples of Unit
	Wide     uint8 // of the audio, in multiples of Unit
	channels uint8
	Assumed  bool // not agreed, but static (RFC 3551 section 6)
}

// Codec names a payload type's encoding as it is agreed.
type Codec struct {
	Encoding string // PCMU, OPUS, TELEPHONE-EVENT, CN and so on
	Clock    int    // RTP clock in Hz; 0: 8000
	Channels int    // 0: one
}

// Plays says whether an encoding is turned into audio here, at which rate in
// Hz; 0: it is not. Comfort noise and telephone-event are no audio.
func Plays(c Codec) int {
	if f := FormatOf(c); f.Kind.Audio() {
		return int(f.Wide) * Unit
	}
	return 0
}

// Codecs are the encodings that are turned into audio, each with its RTP clock.
func Codecs() []Codec {
	list := []Codec{
		{Encoding: "PCMU", Clock: 8000, Channels: 1}, {Encoding: "PCMA", Clock: 8000, Channels: 1},
		{Encoding: "G722", Clock: 8000, Channels: 1}, {Encoding: "opus", Clock: 48000, Channels: 2},
		{Encoding: "L16", Clock: 8000, Channels: 1}, {Encoding: "L16", Clock: 16000, Channels: 1}, {Encoding: "L16", Clock: 48000, Channels: 1},
	}
	if g729.Available {
		list = append(list, Codec{Encoding: "G729", Clock: 8000, Channels: 1})
	}
	return list
}

// audio are the encodings that are played: by name, kind and rate of the audio
// (0: that of the RTP clock), with the clocks and the most channels that they
// may have.
var audio = map[string]struct {
	kind     Kind
	wide     uint8
	clocks   []int
	channels int
}{
	"PCMU": {PCMU, 1, []int{8000}, 1},
	"PCMA": {PCMA, 1, []int{8000}, 1},
	"G722": {G722, 2, []int{8000, 16000}, 1}, // some count what they should not
	"G729": {G729, 1, []int{8000}, 1},
	"L16":  {Linear, 0, []int{8000, 16000, 48000}, 2},
	"OPUS": {Opus, 6, []int{48000}, 2},
}

// FormatOf reads what was agreed for a payload type.
func FormatOf(c Codec) Format {
	clock, channels := c.Clock, max(1, c.Channels)
	if clock == 0 {
		clock = Unit
	}
	f := Format{Kind: Other, Clock: 1, Wide: 1, channels: 1}
	if slices.Contains([]int{8000, 16000, 48000}, clock) {
		f.Clock = uint8(clock / Unit)
	}
	switch name := strings.ToUpper(c.Encoding); name {
	case "TELEPHONE-EVENT":
		f.Kind = Event
	case "CN":
		f.Kind = Noise
	default:
		a, ok := audio[name]
		if !ok || !slices.Contains(a.clocks, clock) || channels > a.channels || a.kind == G729 && !g729.Available {
			break
		}
		f.Kind, f.Wide, f.channels = a.kind, a.wide, uint8(channels)
		if a.wide == 0 {
			f.Wide = f.Clock
		}
	}
	return f
}

// Static is the format of a payload type that means something without
// having been agreed.
func Static(pt uint8) (Format, bool) {
	f := Format{Clock: 1, Wide: 1, channels: 1, Assumed: true}
	switch pt {
	case 0:
		f.Kind = PCMU
	case 8:
		f.Kind = PCMA
	case 9:
		f.Kind, f.Wide = G722, 2
	default:
		return f, false
	}
	return f, true
}

// Length is how long a payload's audio is, in units; 0: it holds
// none, or is no payload of this format. Of an event it is how long
// that has lasted.
func (f Format) Length(b []byte) int {
	switch f.Kind {
	case PCMU, PCMA, G722:
		return len(b)
	case G729: // frames of 10 ms; a shorter one at the end is comfort noise
		return (len(b)/g729.FrameBytes + min(1, len(b)%g729.FrameBytes)) * g729.FrameSamples
	case Linear:
		return len(b) / (2 * int(f.Wide) * int(f.channels))
	case Opus:
		n, err := ogg.PacketSamples(b)
		if err != nil || n > MaxBlock*maxWide {
			return 0
		}
		return n / maxWide
	case Event:
		if len(b) < 4 {
			return 0
		}
		return int(binary.BigEndian.Uint16(b[2:])) / int(f.Clock)
	}
	return 0
}
