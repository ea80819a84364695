package media

import "math"

// taps is the number of input samples that one output sample of an upsampler
// looks at.
const taps = 16

// filter holds an upsampler's coefficients, one row for each output sample of
// an input sample. It is shared by all streams of a call.
type filter struct {
	rows [][taps]float32
}

// newFilter makes a windowed-sinc interpolator for a whole ratio of rates.
func newFilter(ratio int) *filter {
	f := &filter{rows: make([][taps]float32, ratio)}
	for r := range f.rows {
		sum := 0.0
		var row [taps]float64
		for k := range row {
			x := float64(k-taps/2+1) - float64(r)/float64(ratio) // distance in input samples
			row[k] = sinc(0.95*x) * (0.5 + 0.5*math.Cos(math.Pi*x/(taps/2)))
			sum += row[k]
		}
		for k := range row {
			f.rows[r][k] = float32(row[k] / sum)
		}
	}
	return f
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// upsampler brings one stream to the call's rate. Its input runs taps/2
// samples ahead of its output, so that nothing is delayed.
type upsampler struct {
	filter *filter
	past   [taps - 1]int16
}

// prime gives the samples that run ahead.
func (u *upsampler) prime(ahead *[taps / 2]int16) { copy(u.past[taps-1-taps/2:], ahead[:]) }

// run makes len(src)*ratio samples in dst.
func (u *upsampler) run(dst, src []int16) {
	var line [2 * taps]int16
	ratio := len(u.filter.rows)
	for len(src) > 0 {
		n := copy(line[taps-1:], src)
		copy(line[:], u.past[:])
		for i := range n {
			in := line[i : i+taps]
			for r := range u.filter.rows {
				sum := float32(0)
				for k, c := range &u.filter.rows[r] {
					sum += c * float32(in[k])
				}
				dst[i*ratio+r] = clip(float64(sum))
			}
		}
		copy(u.past[:], line[n:n+taps-1])
		src, dst = src[n:], dst[n*ratio:]
	}
}

func clip(v float64) int16 {
	return int16(math.Round(max(-32768, min(32767, v))))
}
