// Package resample lays runs of audio of 8, 16 and 48 kHz end to end and gives
// them out at one of these rates.
//
//	Put: run of 8, 16 or 48 kHz ─► each sample spread over its neighbourhood ─► sum ─► Take: one rate
//
// A run at the line's own rate is passed on as it is. Another is interpolated by
// a polyphase filter: every sample adds the filter's response around its own
// place to the sum. So runs of several rates may follow one another at any
// point, as they do when a sender changes its codec, without a state to switch.
//
// Time is counted in units of 125 µs, which is one sample of 8 kHz, two of 16
// kHz and six of 48 kHz. The output is not delayed; for that the line must be
// given Reach units more than are taken.
//
// Promises. What is below 3.4 kHz in an 8 kHz run (6.8 kHz in a 16 kHz run)
// keeps its level within 0.1 dB, and its images stay below -60 dB. A line can be
// made wider and go back a little, so that a call that becomes wideband has no
// joint. Nothing is allocated in the steady state.
//
// Caveats. Rates only go up: a run that is wider than its line is averaged
// down, which is good enough for what must not happen.
package resample

import "math"

// Rate is that of the units, in Hz.
const Rate = 8000

const (
	half  = 16   // input samples on each side that an output sample looks at
	Reach = half // units that must be known beyond what is taken, at any rate but 8 kHz
	Back  = 200  // units that Widen can go back
	kept  = Back + 2*Reach
	beta  = 5.65 // of the Kaiser window: images 60 dB down
)

// kernels are the filter's responses from one number of samples a unit to
// another. They are never changed.
var kernels = map[[2]int][]float32{
	{1, 2}: kernel(2),
	{1, 6}: kernel(6),
	{2, 6}: kernel(3),
}

// kernel is the response to one input sample: 2*half*ratio output samples, the
// first of them half input samples before it.
func kernel(ratio int) []float32 {
	out := make([]float32, 2*half*ratio)
	for r := range ratio {
		var row [2 * half]float64
		sum := 0.0
		for m := range row {
			x := float64(m-half) + float64(r)/float64(ratio)
			row[m] = sinc(x) * kaiser(x/half)
			sum += row[m]
		}
		for m, v := range row {
			out[m*ratio+r] = float32(v / sum)
		}
	}
	return out
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// kaiser is the Kaiser window for x from -1 to 1.
func kaiser(x float64) float64 {
	return bessel(beta*math.Sqrt(max(0, 1-x*x))) / bessel(beta)
}

// bessel is the modified Bessel function of the first kind, order 0.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; k < 40; k++ {
		term *= x / (2 * k) * x / (2 * k)
		sum += term
	}
	return sum
}

// Line is one stream's. It belongs to one goroutine.
type Line struct {
	wide int       // samples a unit of the output: 1, 2 or 6
	done int       // units put and not yet taken
	flat []int16   // their samples, if wide is 1
	acc  []float32 // otherwise: their sums, and those of Reach units beyond
	past []int16   // the last units put, to do them again when the line is widened
	ks   []uint8   // samples a unit of each; past has room for wide
}

// NewLine makes a line that gives so many samples a unit: 1, 2 or 6.
func NewLine(wide int) *Line {
	l := &Line{}
	l.widen(wide)
	return l
}

func (l *Line) widen(wide int) {
	l.wide, l.done = wide, 0
	l.flat, l.acc, l.past, l.ks = nil, nil, nil, nil
	if wide < 6 {
		l.past, l.ks = make([]int16, kept*wide), make([]uint8, kept)
		for i := range l.ks {
			l.ks[i] = 1
		}
	}
}

// Wide is the number of samples a unit.
func (l *Line) Wide() int { return l.wide }

// Need is how many more units must be put before n can be taken.
func (l *Line) Need(n int) int {
	if l.wide > 1 {
		n += Reach
	}
	return max(0, n-l.done)
}

// Widen makes the line give more samples a unit and go back by some units, at
// most Back: what was taken last is given again, at the new rate.
func (l *Line) Widen(wide, back int) {
	if wide <= l.wide {
		return
	}
	old := *l
	l.widen(wide)
	l.done = old.done + back - kept
	for u := range kept {
		n := int(old.ks[u])
		l.Put(n, old.past[u*old.wide:][:n])
	}
}

// Put appends a run: a whole number of units of k samples each.
func (l *Line) Put(k int, run []int16) {
	n := len(run) / k
	switch {
	case k > l.wide:
		l.Put(l.wide, average(run, k/l.wide))
		return
	case l.wide == 1:
		l.flat = append(l.flat, run...)
	default:
		l.add(k, run)
	}
	l.done += n
	l.remember(k, run)
}

func average(run []int16, n int) []int16 {
	out := make([]int16, len(run)/n)
	for i := range out {
		sum := 0
		for _, v := range run[i*n:][:n] {
			sum += int(v)
		}
		out[i] = int16(sum / n)
	}
	return out
}

// add sums a run into the output from unit done on. Places before the output
// are left out.
func (l *Line) add(k int, run []int16) {
	if end := (l.done + len(run)/k + Reach) * l.wide; end > len(l.acc) {
		l.acc = append(l.acc, make([]float32, end-len(l.acc))...)
	}
	at := l.done * l.wide
	if k == l.wide {
		for i, v := range run {
			if at+i >= 0 {
				l.acc[at+i] += float32(v)
			}
		}
		return
	}
	kern := kernels[[2]int{k, l.wide}]
	ratio := l.wide / k
	at -= half * ratio
	for i, v := range run {
		from := at + i*ratio
		skip := max(0, -from)
		if v == 0 || skip >= len(kern) {
			continue
		}
		x, part := float32(v), kern[skip:]
		out := l.acc[from+skip:][:len(part)]
		for q, c := range part {
			out[q] += x * c
		}
	}
}

// remember keeps the last units put.
func (l *Line) remember(k int, run []int16) {
	if l.past == nil {
		return
	}
	n := len(run) / k
	if n > kept {
		run, n = run[(n-kept)*k:], kept
	}
	copy(l.past, l.past[n*l.wide:])
	copy(l.ks, l.ks[n:])
	to := l.past[(kept-n)*l.wide:]
	if k == l.wide {
		copy(to, run)
	} else {
		for u := range n {
			copy(to[u*l.wide:], run[u*k:][:k])
		}
	}
	for u := kept - n; u < kept; u++ {
		l.ks[u] = uint8(k)
	}
}

// Take fills dst with the next whole units. As many must have been put, and
// Reach more where Need says so.
func (l *Line) Take(dst []int16) {
	n := len(dst) / l.wide
	l.done -= n
	if l.wide == 1 {
		copy(dst, l.flat)
		l.flat = l.flat[:copy(l.flat, l.flat[len(dst):])]
		return
	}
	for i, v := range l.acc[:len(dst)] {
		dst[i] = round(v)
	}
	left := copy(l.acc, l.acc[len(dst):])
	clear(l.acc[left:])
}

func round(v float32) int16 {
	switch {
	case v >= 32767:
		return 32767
	case v <= -32768:
		return -32768
	case v < 0:
		return int16(v - 0.5)
	}
	return int16(v + 0.5)
}
