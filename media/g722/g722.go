// Package g722 decodes G.722 at 64 kbit/s (ITU-T G.722, mode 1): a byte of
// payload is two samples of 16 kHz.
//
//	byte ─┬─ 6 bits ─► lower band: scale, predict ─┐
//	      └─ 2 bits ─► upper band: scale, predict ─┴─► two-band synthesis ─► 2 samples
//
// Promises. The output is bit for bit that of the recommendation. Any bytes are
// valid input; nothing is allocated.
//
// Caveats. The RTP clock of G.722 counts 8000 a second (RFC 3551 section
// 4.5.2); that is the caller's business. The synthesis delays the audio by 11
// samples (0.7 ms), as in every decoder.
package g722

// Rate is that of the decoded audio, samples a second.
const Rate = 16000

// Decoder is one stream's. Its zero value is not ready: see New.
type Decoder struct {
	low, high band
	line      [24]int32 // of the synthesis filter
}

// New makes a decoder in the state that the recommendation begins with.
func New() *Decoder {
	d := &Decoder{}
	d.low.det, d.high.det = 32, 8
	return d
}

// Decode writes 2*len(src) samples of 16 kHz to dst, which must be that long.
func (d *Decoder) Decode(dst []int16, src []byte) {
	dst = dst[:2*len(src)]
	for i, c := range src {
		dst[2*i], dst[2*i+1] = d.step(int32(c))
	}
}

// step decodes one byte.
func (d *Decoder) step(code int32) (first, second int16) {
	six, two := code&0x3f, code>>6&3
	rlow := clamp(d.low.s+d.low.det*fine[six]>>15, -16384, 16383)
	d.low.predict(d.low.det * coarse[six>>2] >> 15)
	d.low.scale(lowLog[lowStep[six>>2]], 18432, 8)

	dhigh := d.high.det * upper[two] >> 15
	rhigh := clamp(d.high.s+dhigh, -16384, 16383)
	d.high.predict(dhigh)
	d.high.scale(highLog[highStep[two]], 22528, 10)

	copy(d.line[:], d.line[2:])
	d.line[22], d.line[23] = rlow+rhigh, rlow-rhigh
	var even, odd int32
	for i, c := range synthesis {
		odd += d.line[2*i] * c
		even += d.line[2*i+1] * synthesis[len(synthesis)-1-i]
	}
	return int16(saturate(even >> 11)), int16(saturate(odd >> 11))
}

// band is the adaptive part of one of the two bands.
type band struct {
	s   int32    // predicted signal
	sz  int32    // of which by the zeros
	nb  int32    // logarithm of the step
	det int32    // the step
	r   [3]int32 // reconstructed signal, newest first
	p   [3]int32 // the same without the poles' part
	a   [3]int32 // poles' coefficients, from 1
	d   [7]int32 // quantised differences, newest first
	b   [7]int32 // zeros' coefficients, from 1
}

// scale adapts the step to what was just decoded (blocks LOGSCL and SCALEL of
// the recommendation, or LOGSCH and SCALEH).
func (b *band) scale(weight, limit, shift int32) {
	b.nb = clamp(b.nb*127>>7+weight, 0, limit)
	step := inverse[b.nb>>6&31]
	if n := shift - b.nb>>11; n < 0 {
		step <<= -n
	} else {
		step >>= n
	}
	b.det = step << 2
}

// predict takes the newest difference and predicts the next sample (block 4).
func (b *band) predict(diff int32) {
	b.d[0] = diff
	b.r[0] = saturate(b.s + diff)
	b.p[0] = saturate(b.sz + diff)
	a1, a2 := b.poles()
	b.zeros()
	copy(b.d[1:], b.d[:6])
	b.r[2], b.r[1] = b.r[1], b.r[0]
	b.p[2], b.p[1] = b.p[1], b.p[0]
	b.a[1], b.a[2] = a1, a2
	sp := saturate(a1*saturate(2*b.r[1])>>15 + a2*saturate(2*b.r[2])>>15)
	b.sz = 0
	for i := 6; i > 0; i-- {
		b.sz += b.b[i] * saturate(2*b.d[i]) >> 15
	}
	b.sz = saturate(b.sz)
	b.s = saturate(sp + b.sz)
}

// poles adapts the two pole coefficients (UPPOL2, UPPOL1).
func (b *band) poles() (a1, a2 int32) {
	same1 := b.p[0]>>15 == b.p[1]>>15
	same2 := b.p[0]>>15 == b.p[2]>>15
	w := saturate(4 * b.a[1])
	if same1 {
		w = min(-w, 32767)
	}
	a2 = w>>7 - 128
	if same2 {
		a2 = w>>7 + 128
	}
	a2 = clamp(a2+b.a[2]*32512>>15, -12288, 12288)
	a1 = -192
	if same1 {
		a1 = 192
	}
	limit := saturate(15360 - a2)
	return clamp(saturate(a1+b.a[1]*32640>>15), -limit, limit), a2
}

// zeros adapts the six zero coefficients (UPZERO).
func (b *band) zeros() {
	gain := int32(128)
	if b.d[0] == 0 {
		gain = 0
	}
	for i := 1; i < 7; i++ {
		w := -gain
		if b.d[i]>>15 == b.d[0]>>15 {
			w = gain
		}
		b.b[i] = saturate(w + b.b[i]*32640>>15)
	}
}

func saturate(v int32) int32 { return clamp(v, -32768, 32767) }

func clamp(v, low, high int32) int32 { return max(low, min(high, v)) }
