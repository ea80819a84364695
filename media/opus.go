package media

import (
	"fmt"

	"github.com/hraban/opus"
)

// maxPacket is the longest packet that one Opus frame can make (RFC 6716
// section 3.4).
const maxPacket = 1275

// encoder makes Opus packets of 20 ms. It is the only place that calls the
// library, because the library takes the capacity of an output slice for its
// length: every slice handed to it is cut to its capacity here.
type encoder struct {
	opus *opus.Encoder
}

// newEncoder sets up libopus for speech: variable bit rate, no DTX.
func newEncoder(rate, channels, bitrate, complexity int) (*encoder, error) {
	o, err := opus.NewEncoder(rate, channels, opus.AppVoIP)
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
	return buf[:n:n], nil
}
