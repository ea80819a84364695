package media

import (
	"fmt"

	"github.com/hraban/opus"

	"siprecd/media/payload"
)

// maxPacket is the longest packet that one Opus frame can make (RFC 6716
// section 3.4).
const maxPacket = 1275

// encoder makes Opus packets of 20 ms. It is the only place that calls the
// library, because the library takes the capacity of an output slice for its
// length: every slice handed to it is cut to its capacity here.
type encoder struct {
	opus  *opus.Encoder
	fresh bool // primed, and nothing encoded since
}

// newEncoder sets up libopus: variable bit rate, no DTX.
//
// The application is "audio", not "VoIP", although these are calls. At 32
// kbit/s for two channels of G.711 the latter codes them as SILK, which turns
// steady tones down by up to 3 dB and lets each side into the other at -20 dB
// when both sound; "audio" takes CELT, keeps the level within half a dB and
// the sides 40 dB apart, comes 7 dB closer to the input for speech too, and
// needs half the CPU (measured with libopus 1.3.1). From 34 kbit/s on at
// complexity 5, or 38 at 0, a silent side stays entirely silent. Below about
// 15 kbit/s libopus goes over to SILK by itself.
func newEncoder(rate, channels, bitrate, complexity int) (*encoder, error) {
	o, err := opus.NewEncoder(rate, channels, opus.AppAudio)
	if err != nil {
		return nil, fmt.Errorf("open an Opus encoder at %d Hz: %w", rate, err)
	}
	if err := o.SetBitrate(bitrate); err != nil {
		return nil, fmt.Errorf("set the Opus bit rate to %d: %w", bitrate, err)
	}
	if err := o.SetComplexity(complexity); err != nil {
		return nil, fmt.Errorf("set the Opus complexity to %d: %w", complexity, err)
	}
	return &encoder{opus: o}, nil
}

// encode makes one packet of one frame of interleaved samples, in buf.
func (e *encoder) encode(pcm []int16, buf *[maxPacket]byte) ([]byte, error) {
	n, err := e.opus.Encode(pcm[:len(pcm):len(pcm)], buf[:maxPacket:maxPacket])
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if e.fresh {
		e.fresh = false
		if err := e.opus.SetPacketLossPerc(0); err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
	}
	return buf[:n:n], nil
}

// prime makes an encoder take over from another in the middle of a stream: it
// is given the frame before, so that it knows the audio that overlaps with its
// first packet, and told that packets get lost, so that this packet refers to
// none before it. What cannot be set only makes the joint worse.
func (e *encoder) prime(pcm []int16, buf *[maxPacket]byte) {
	if e.opus.SetPacketLossPerc(100) != nil {
		return
	}
	e.fresh = false
	if _, err := e.encode(pcm, buf); err == nil {
		e.fresh = true
	}
}

// voice decodes one stream that came as Opus, at 48 kHz; two channels are
// mixed into one. It is what payload.Decoder asks for.
type voice struct {
	opus *opus.Decoder
}

func openVoice() (payload.Decoder, error) {
	o, err := opus.NewDecoder(maxRate, 1)
	if err != nil {
		return nil, fmt.Errorf("open an Opus decoder: %w", err)
	}
	return &voice{o}, nil
}

// Decode fills dst with a packet's audio.
func (v *voice) Decode(dst []int16, packet []byte) error {
	n, err := v.opus.Decode(packet, dst[:len(dst):len(dst)])
	if err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	clear(dst[n:])
	return nil
}

// Conceal fills dst with what may have been there: from the copy that the next
// packet carries (in-band FEC), where it has one, else by going on as before.
func (v *voice) Conceal(dst []int16, next []byte) error {
	var err error
	if next != nil {
		err = v.opus.DecodeFEC(next, dst[:len(dst):len(dst)])
	} else {
		err = v.opus.DecodePLC(dst[:len(dst):len(dst)])
	}
	if err != nil {
		return fmt.Errorf("conceal: %w", err)
	}
	return nil
}

// decoder turns Opus packets back into samples, for checking recordings.
type decoder struct {
	opus     *opus.Decoder
	channels int
}

func newDecoder(rate, channels int) (*decoder, error) {
	o, err := opus.NewDecoder(rate, channels)
	if err != nil {
		return nil, fmt.Errorf("open an Opus decoder: %w", err)
	}
	return &decoder{opus: o, channels: channels}, nil
}

// decode appends a packet's samples, interleaved, to pcm; samples is the
// packet's length in one channel.
func (d *decoder) decode(pcm []int16, packet []byte, samples int) ([]int16, error) {
	from, to := len(pcm), len(pcm)+samples*d.channels
	pcm = append(pcm, make([]int16, samples*d.channels)...)
	if _, err := d.opus.Decode(packet, pcm[from:to:to]); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return pcm, nil
}
