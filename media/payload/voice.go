package payload

import (
	"encoding/binary"

	"siprecd/media/g722"
	"siprecd/media/g729"
)

// MaxBlock is the longest audio decoded at once, in units: an Opus packet's limit.
const MaxBlock = 120 * ms

// grid is what a decoder's cover for a loss is a multiple of: 2.5 ms, the
// shortest Opus frame.
const grid = 20

// Decoder turns the payloads of one stream into mono audio, and knows how to
// cover up a loss. A slice given to it is filled whole.
type Decoder interface {
	// Decode fills dst with a payload's audio.
	Decode(dst []int16, payload []byte) error
	// Conceal fills dst with what may have been there, a multiple of 2.5 ms;
	// next is the payload that follows, or nil.
	Conceal(dst []int16, next []byte) error
}

// Voice decodes a stream's payloads. What it has decoded waits in block.
type Voice struct {
	open  func() (Decoder, error) // makes an Opus decoder
	opus  Decoder
	g729  Decoder
	g722  *g722.Decoder
	kind  Kind    // of the payload decoded last
	dtx   bool    // which told that the sender is silent
	run   int     // units of the present loss covered so far
	block []int16 // decoded audio from one media position to another
	wide  int     // its samples a unit
	from  int64
	to    int64
}

// NewVoice makes a Voice. open makes a decoder for mono audio of 48 kHz from
// Opus; nil: there is none.
func NewVoice(open func() (Decoder, error)) Voice { return Voice{open: open} }

// At finds what has been decoded for a media position, up to another.
func (v *Voice) At(pos, end int64) []int16 {
	if pos < v.from || pos >= v.to {
		return nil
	}
	k := int64(v.wide)
	return v.block[(pos-v.from)*k : (min(end, v.to)-v.from)*k]
}

// End is the media position where the latest block ends.
func (v *Voice) End() int64 { return v.to }

// Block is the latest block, and its samples a unit.
func (v *Voice) Block() ([]int16, int) { return v.block, v.wide }

// Silent says that the latest payload told that the sender is silent (DTX).
func (v *Voice) Silent() bool { return v.dtx }

// Run is how many units have been covered since the latest payload.
func (v *Voice) Run() int { return v.run }

// Kind is that of the latest payload.
func (v *Voice) Kind() Kind { return v.kind }

// Conceals says that losses are covered by the latest payload's decoder.
func (v *Voice) Conceals() bool { return v.decoder(v.kind) != nil }

// room makes block hold n units from a media position on.
func (v *Voice) room(pos int64, n, wide int) []int16 {
	if need := n * wide; cap(v.block) < need {
		v.block = make([]int16, need)
	} else {
		v.block = v.block[:need]
	}
	v.from, v.to, v.wide = pos, pos+int64(n), wide
	return v.block
}

// Reset forgets the state of the decoders: another sender begins.
func (v *Voice) Reset() { v.opus, v.g729, v.g722, v.dtx = nil, nil, nil, false }

// Decode turns a payload into a block of n units from a media position on.
// false: it was refused by its decoder, and the block is silent.
func (v *Voice) Decode(pos int64, n int, f Format, data []byte) bool {
	out := v.room(pos, n, int(f.Wide))
	v.kind, v.dtx, v.run = f.Kind, false, 0
	switch v.kind {
	case PCMU, PCMA:
		v.kind.law().Decode(out, data)
	case G722:
		if v.g722 == nil {
			v.g722 = g722.New()
		}
		v.g722.Decode(out, data)
	case Linear:
		linear(out, data, int(f.channels))
	default:
		v.dtx = len(data) <= 2
		d := v.decoder(v.kind)
		if d == nil || d.Decode(out, data) != nil {
			clear(out)
			return false
		}
	}
	return true
}

// decoder is the one for a kind that keeps its own record of the past; nil if
// the kind has none, or it cannot be had.
func (v *Voice) decoder(k Kind) Decoder {
	var err error
	switch k {
	case Opus:
		if v.opus == nil && v.open != nil {
			if v.opus, err = v.open(); err != nil {
				v.opus = nil
			}
		}
		return v.opus
	case G729:
		if v.g729 == nil {
			v.g729 = g729.New()
		}
		return v.g729
	}
	return nil
}

// Cover makes a block for a loss, by the decoder; false: it cannot. next is the
// payload right after the loss, of the same kind, or nil.
func (v *Voice) Cover(pos, end int64, next []byte) bool {
	d := v.decoder(v.kind)
	n := int(end-pos) / grid * grid
	if d == nil || n == 0 {
		return false
	}
	wide := 1
	if v.kind == Opus {
		wide = 6
	}
	if end-pos-int64(n) > 0 {
		next = nil
	}
	v.run += n
	out := v.room(pos, n, wide)
	if d.Conceal(out, next) != nil {
		clear(out)
	}
	return true
}

// linear reads big-endian samples (RFC 3551 section 4.5.11), channels averaged.
func linear(dst []int16, src []byte, channels int) {
	for i := range dst {
		sum := 0
		for c := range channels {
			sum += int(int16(binary.BigEndian.Uint16(src[2*(i*channels+c):])))
		}
		dst[i] = int16(sum / channels)
	}
}
