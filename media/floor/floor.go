// Package floor says what libopus alone costs for a call: the price below which
// no recorder can come, and against which siprecd is measured.
//
//	A-law of both parties ─► samples, interleaved ─► several encoders in turn, flat out
//	                                                     │
//	                              CPU time of this thread, per second of call
//
// Promises: the encoders are set up as the recorder sets up its own (a test of
// package media compares their packets), they get what the recorder's get after
// A-law, and only encoding is timed. The thread does nothing else and never
// waits, so caches are warm: that is the best that libopus does here, now.
//
// Caveats: without a clock for one thread (anywhere but on Linux) the whole
// process is timed, which must be idle then.
package floor

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/hraban/opus"

	"siprecd/media/payload"
)

const (
	rate      = 8000 // Hz, of G.711
	frame     = rate / 50
	maxPacket = 1275 // RFC 6716 section 3.4
)

// Coding is how calls are encoded: stereo at 8 kHz, 20 ms a packet, variable
// bit rate.
type Coding struct {
	Bitrate    int // bit/s for both channels
	Complexity int // 0 to 10
}

// Encoder is one libopus encoder.
type Encoder struct {
	opus *opus.Encoder
	buf  [maxPacket]byte
}

// NewEncoder sets up libopus.
func NewEncoder(c Coding) (*Encoder, error) {
	o, err := opus.NewEncoder(rate, 2, opus.AppAudio)
	if err != nil {
		return nil, fmt.Errorf("open an Opus encoder: %w", err)
	}
	if err := errors.Join(o.SetBitrate(c.Bitrate), o.SetComplexity(c.Complexity)); err != nil {
		return nil, fmt.Errorf("set up an Opus encoder: %w", err)
	}
	return &Encoder{opus: o}, nil
}

// Encode makes one packet of 160 samples a channel, interleaved. The packet is
// valid until the next.
func (e *Encoder) Encode(pcm []int16) ([]byte, error) {
	n, err := e.opus.Encode(pcm[:len(pcm):len(pcm)], e.buf[:])
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return e.buf[:n], nil
}

// Audio is what a call's encoder gets, again and again.
type Audio []int16

// Decode makes the audio of a call from what its parties send: G.711 A-law, a
// byte a sample, both as long as the shorter one.
func Decode(caller, agent []byte) (Audio, error) {
	f, ok := payload.Static(8)
	n := min(len(caller), len(agent)) / frame * frame
	if !ok || n == 0 {
		return nil, errors.New("decode: not one frame of audio")
	}
	out := make(Audio, 2*n)
	for i, side := range [][]byte{caller, agent} {
		v := payload.NewVoice(nil)
		v.Decode(0, n, f, side[:n])
		pcm, _ := v.Block()
		for k, x := range pcm {
			out[2*k+i] = x
		}
	}
	return out, nil
}

// Cost encodes for at least that much CPU time, with some encoders in turn, a
// whole round of the audio each, and returns the CPU time that a second of one
// call takes.
func (a Audio) Cost(c Coding, encoders int, atLeast time.Duration) (time.Duration, error) {
	r, err := a.Runner(c, encoders)
	if err != nil {
		return 0, err
	}
	if err := r.Run(atLeast); err != nil {
		return 0, err
	}
	return r.Each(), nil
}

// Runner runs the codec in bursts and adds up what they took.
type Runner struct {
	audio      Audio
	list       []*Encoder
	used, done time.Duration // CPU time; audio of all calls together
}

// Runner sets up encoders for bursts.
func (a Audio) Runner(c Coding, encoders int) (*Runner, error) {
	r := &Runner{audio: a, list: make([]*Encoder, encoders)}
	for i := range r.list {
		var err error
		if r.list[i], err = NewEncoder(c); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Run is one burst of at least that much CPU time: a round of the audio with
// one encoder that is not counted, then whole rounds with all.
func (r *Runner) Run(atLeast time.Duration) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := r.audio.round(r.list[:1]); err != nil { // warms up
		return err
	}
	for began, used := cpu(), time.Duration(0); used < atLeast; {
		if err := r.audio.round(r.list); err != nil {
			return err
		}
		r.done += time.Duration(len(r.list)) * r.audio.Length()
		now := cpu() - began
		r.used, used = r.used+now-used, now
	}
	return nil
}

// Each is the CPU time that a second of one call took; 0 before the first burst.
func (r *Runner) Each() time.Duration {
	if r.done == 0 {
		return 0
	}
	return time.Duration(float64(r.used) / r.done.Seconds())
}

// Length is how long the audio is, once.
func (a Audio) Length() time.Duration {
	return time.Duration(len(a)/2) * time.Second / rate
}

func (a Audio) round(list []*Encoder) error {
	for _, e := range list {
		for at := 0; at < len(a); at += 2 * frame {
			if _, err := e.Encode(a[at : at+2*frame]); err != nil {
				return err
			}
		}
	}
	return nil
}
