// Package limit turns sums of talkers down where they do not fit into 16 bits.
//
//	sums, one block ahead ─► greatest gain at which each block fits ─► gain, in straight lines ─► samples
//
// What fits is passed on untouched, so one talker never changes.
package limit

import "math"

const (
	fullScale   = 32767
	loudest     = 32000 // peak of what had to be turned down
	releaseStep = 0.025 // gain regained in a block: from half to full in 100 ms
)

// BlocksASecond is how many blocks a second has: one of 5 ms is looked ahead.
const BlocksASecond = 200

// Limiter brings the sum of several talkers into 16 bits for one channel. Gain
// is worked out for blocks of 5 ms and goes in a straight line from one to the
// next, down in time for a loud block because it looks one block ahead, and up
// again slowly. While the sum fits it is passed on untouched.
type Limiter struct {
	Carry []int32 // room for the block looked ahead at, which its user keeps from run to run
	gain  float64 // at the end of the last block
}

// New begins at full gain; rate in Hz.
func New(rate int) *Limiter {
	return &Limiter{Carry: make([]int32, rate/BlocksASecond), gain: 1}
}

// At is a limiter for another rate that goes on where this one is.
func (l *Limiter) At(rate int) *Limiter {
	next := New(rate)
	next.gain = l.gain
	return next
}

// Apply is one sample of a sum at the gain of now.
func (l *Limiter) Apply(v int32) int16 { return clip(float64(v) * l.gain) }

// Run takes sum, one block longer than its output, and writes every stride-th
// sample of dst. The first block of sum is the last of the call before; what
// follows it always fits if it is alone: the samples of one talker.
func (l *Limiter) Run(dst []int16, stride int, sum []int32, alone bool) {
	n := len(l.Carry)
	now := ceiling(sum[:n])
	l.gain = min(l.gain, now)
	if alone && l.gain == 1 {
		for i, v := range sum[:len(sum)-n] {
			dst[i*stride] = int16(v)
		}
		return
	}
	for len(sum) >= 2*n {
		next := ceiling(sum[n : 2*n])
		end := min(now, next, l.gain+releaseStep)
		if l.gain == 1 && end == 1 {
			for i, v := range sum[:n] {
				dst[i*stride] = int16(v)
			}
		} else {
			slope := (end - l.gain) / float64(n)
			for i, v := range sum[:n] {
				dst[i*stride] = clip(float64(v) * (l.gain + slope*float64(i+1)))
			}
		}
		l.gain, now = end, next
		sum = sum[n:]
		if len(dst) > n*stride {
			dst = dst[n*stride:]
		}
	}
}

// ceiling is the greatest gain, at most 1, at which a block fits.
func ceiling(block []int32) float64 {
	peak := int32(0)
	for _, v := range block {
		peak = max(peak, v, ^v) // ^v: there is one more below zero, and it fits
	}
	if peak <= fullScale {
		return 1
	}
	return loudest / float64(peak)
}

func clip(v float64) int16 {
	return int16(math.Round(max(-32768, min(32767, v))))
}
