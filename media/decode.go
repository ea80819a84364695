package media

import (
	"errors"
	"fmt"
	"io"

	"siprecd/media/ogg"
)

// DecodedRate is the rate of decoded audio, samples a second.
const DecodedRate = 48000

// Audio is a decoded recording: one slice of samples a channel, equally long.
type Audio struct{ Channels [][]int16 }

// Decode reads a whole Ogg Opus file, pre-skip and end trim taken off. It is
// for checking recordings, so it holds all of the audio in memory.
func Decode(r io.Reader) (*Audio, error) {
	in, err := ogg.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("read Ogg Opus: %w", err)
	}
	channels := in.Head().Channels
	d, err := newDecoder(DecodedRate, channels)
	if err != nil {
		return nil, err
	}
	pcm := []int16{} // interleaved
	for {
		p, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read Ogg Opus: %w", err)
		}
		if pcm, err = d.decode(pcm, p.Data, p.Samples); err != nil {
			return nil, err
		}
	}
	from := min(in.Head().PreSkip*channels, len(pcm))
	to := min(from+int(in.Total())*channels, len(pcm))
	return split(pcm[from:to], channels), nil
}

// split takes interleaved samples apart.
func split(pcm []int16, channels int) *Audio {
	a := &Audio{Channels: make([][]int16, channels)}
	for i, v := range pcm {
		c := i % channels
		a.Channels[c] = append(a.Channels[c], v)
	}
	return a
}
