package audio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrWAV is wrapped by every error about a WAV file that cannot be used.
var ErrWAV = errors.New("audio: not usable as WAV")

// wavFormat is what the fmt chunk says.
type wavFormat struct{ tag, channels, rate, bits int }

// ReadWAV reads a WAV file: PCM, 16 bit, mono or stereo, 8, 16 or 48 kHz. It
// returns one Audio for each channel, brought down to 8 kHz where needed; none
// of them loops. A data chunk that is longer than the file is read as far as
// it goes, for that is what a stopped recorder leaves.
func ReadWAV(file []byte) ([]Audio, error) {
	format, data, err := wavChunks(file)
	if err != nil {
		return nil, err
	}
	if err := format.check(); err != nil {
		return nil, err
	}
	frames := len(data) / 2 / format.channels
	if frames == 0 {
		return nil, fmt.Errorf("%w: no audio in it", ErrWAV)
	}
	out := make([]Audio, format.channels)
	for c := range out {
		pcm := make([]int16, frames)
		for i := range pcm {
			pcm[i] = int16(binary.LittleEndian.Uint16(data[2*(i*format.channels+c):]))
		}
		out[c].PCM = decimate(pcm, format.rate/SampleRate)
	}
	return out, nil
}

// check says what cannot be used. Tag 0xfffe is PCM too, with more said of it
// in a longer chunk.
func (f wavFormat) check() error {
	switch {
	case f.tag != 1 && f.tag != 0xfffe || f.bits != 16:
		return fmt.Errorf("%w: format %d with %d bits: want PCM (1) with 16 bits", ErrWAV, f.tag, f.bits)
	case f.channels < 1 || f.channels > 2:
		return fmt.Errorf("%w: %d channels: want 1 or 2", ErrWAV, f.channels)
	case f.rate != 8000 && f.rate != 16000 && f.rate != 48000:
		return fmt.Errorf("%w: %d Hz: want 8000, 16000 or 48000", ErrWAV, f.rate)
	}
	return nil
}

// wavChunks finds the fmt and data chunks.
func wavChunks(file []byte) (f wavFormat, data []byte, err error) {
	if len(file) < 12 || string(file[:4]) != "RIFF" || string(file[8:12]) != "WAVE" {
		return f, nil, fmt.Errorf("%w: no RIFF WAVE header", ErrWAV)
	}
	for rest := file[12:]; len(rest) >= 8; {
		id, size := string(rest[:4]), int64(binary.LittleEndian.Uint32(rest[4:]))
		rest = rest[8:]
		body := rest[:min(size, int64(len(rest)))]
		switch id {
		case "fmt ":
			if len(body) < 16 {
				return f, nil, fmt.Errorf("%w: fmt chunk of %d bytes", ErrWAV, len(body))
			}
			f = wavFormat{
				tag:      int(binary.LittleEndian.Uint16(body)),
				channels: int(binary.LittleEndian.Uint16(body[2:])),
				rate:     int(binary.LittleEndian.Uint32(body[4:])),
				bits:     int(binary.LittleEndian.Uint16(body[14:])),
			}
		case "data":
			if f.rate == 0 {
				return f, nil, fmt.Errorf("%w: data before fmt", ErrWAV)
			}
			return f, body, nil
		}
		rest = rest[min(size+size&1, int64(len(rest))):]
	}
	return f, nil, fmt.Errorf("%w: no data chunk", ErrWAV)
}

// decimate keeps every factor-th sample after a windowed-sinc low pass that
// passes up to 3.4 kHz and is 60 dB down from 4.6 kHz on, without delay.
func decimate(pcm []int16, factor int) []int16 {
	if factor == 1 {
		return pcm
	}
	taps := lowPass(factor)
	half := len(taps) / 2
	out := make([]int16, (len(pcm)+factor-1)/factor)
	for i := range out {
		var sum float64
		for k, t := range taps {
			if j := i*factor + k - half; j >= 0 && j < len(pcm) {
				sum += t * float64(pcm[j])
			}
		}
		out[i] = int16(math.Round(min(max(sum, -32768), 32767)))
	}
	return out
}

// lowPass is a Blackman-windowed sinc with its edge at half the rate that
// remains after decimation, gain 1 at 0 Hz.
func lowPass(factor int) []float64 {
	half := 24 * factor
	taps := make([]float64, 2*half+1)
	var sum float64
	for i := range taps {
		x := float64(i-half) / float64(factor)
		sinc := 1.0
		if x != 0 {
			sinc = math.Sin(math.Pi*x) / (math.Pi * x)
		}
		phase := 2 * math.Pi * float64(i) / float64(2*half)
		taps[i] = sinc * (0.42 - 0.5*math.Cos(phase) + 0.08*math.Cos(2*phase))
		sum += taps[i]
	}
	for i := range taps {
		taps[i] /= sum
	}
	return taps
}
