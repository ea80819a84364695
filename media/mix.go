package media

import "math"

// Limiter.
const (
	fullScale   = 32767
	loudest     = 32000 // peak of what had to be turned down
	blocksASec  = 200   // blocks of 5 ms, one of which is looked ahead
	releaseStep = 0.025 // gain regained in a block: from half to full in 100 ms
)

// limiter brings the sum of several talkers into 16 bits for one channel. Gain
// is worked out for blocks of 5 ms and goes in a straight line from one to the
// next, down in time for a loud block because it looks one block ahead, and up
// again slowly. While the sum fits it is passed on untouched.
type limiter struct {
	carry []int32 // the block looked ahead at
	gain  float64 // at the end of the last block
}

func newLimiter(rate int) *limiter {
	return &limiter{carry: make([]int32, rate/blocksASec), gain: 1}
}

// run takes sum, one block longer than its output, and writes every stride-th
// sample of dst. The first block of sum is the last of the call before.
func (l *limiter) run(dst []int16, stride int, sum []int32) {
	n := len(l.carry)
	now := ceiling(sum[:n])
	l.gain = min(l.gain, now)
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
		peak = max(peak, v, -v)
	}
	if peak <= fullScale {
		return 1
	}
	return loudest / float64(peak)
}

func clip(v float64) int16 {
	return int16(math.Round(max(-32768, min(32767, v))))
}
