// Package audio makes what the recording client's legs say: tones, silence and
// WAV files, all at 8 kHz mono, and encodes it to G.711.
//
//	WAV file ──► ReadWAV ──► Audio ──► EncodeALaw, EncodeMuLaw ──► RTP payload
//	Tone, Beeps, Silence ──────┘
//
// Promises: tones are exact to the rounding of 16 bits and join without a
// click where they loop; the encoders use the decision values of the
// Recommendation. It shares no code with the recorder's decoders.
package audio

import (
	"math"
	"time"
)

// SampleRate is the rate of every Audio, Hz.
const SampleRate = 8000

// Audio is what a leg sends: 8 kHz mono. It is never written to once made, so
// legs may share it.
type Audio struct {
	PCM  []int16 // full scale is 32768
	Loop bool    // begin again at the end; otherwise silence follows
}

// Length is how long the audio is, once through.
func (a Audio) Length() time.Duration {
	return time.Duration(len(a.PCM)) * time.Second / SampleRate
}

// Tone is a sine of a whole number of Hz, for as long as the call lasts. Its
// peak is at dbfs (0: full scale), so its RMS level is 3.01 dB lower.
func Tone(hz int, dbfs float64) Audio {
	pcm := make([]int16, SampleRate)
	fillTone(pcm, hz, dbfs)
	return Audio{PCM: pcm, Loop: true}
}

// Beeps is a tone as by Tone that sounds for on at the start of every period,
// with silence between: a clock that can be heard.
func Beeps(hz int, dbfs float64, on, period time.Duration) Audio {
	pcm := make([]int16, Samples(period))
	fillTone(pcm[:min(len(pcm), Samples(on))], hz, dbfs)
	return Audio{PCM: pcm, Loop: true}
}

// Silence is digital silence for as long as the call lasts.
func Silence() Audio { return Audio{PCM: make([]int16, SampleRate), Loop: true} }

// Limit is the audio's first d, looping if it is shorter, as one piece that
// does not loop: Tone(440, -20).Limit(3*time.Second).
func (a Audio) Limit(d time.Duration) Audio {
	pcm := make([]int16, Samples(d))
	for n := copy(pcm, a.PCM); a.Loop && n > 0 && n < len(pcm); {
		n += copy(pcm[n:], a.PCM)
	}
	return Audio{PCM: pcm}
}

func fillTone(pcm []int16, hz int, dbfs float64) {
	peak := 32767 * math.Pow(10, dbfs/20)
	for i := range pcm {
		pcm[i] = int16(math.Round(peak * math.Sin(2*math.Pi*float64(hz)*float64(i)/SampleRate)))
	}
}

// Samples is the number of samples in d.
func Samples(d time.Duration) int { return int(d * SampleRate / time.Second) }
