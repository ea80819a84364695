package payload

// Law is a G.711 decoding table: the linear sample for each of the 256 codes.
type Law [256]int16

// The two laws of ITU-T G.711, scaled to 16 bits. They are never changed.
var (
	MuLaw = makeLaw(muLawSample)
	ALaw  = makeLaw(aLawSample)
)

func makeLaw(f func(byte) int) *Law {
	var t Law
	for i := range t {
		t[i] = int16(f(byte(i)))
	}
	return &t
}

// muLawSample decodes one mu-law code: all bits inverted, then sign, three
// bits of segment, four bits of step within it.
func muLawSample(code byte) int {
	code = ^code
	v := ((int(code&0x0f)<<3)+0x84)<<(code>>4&7) - 0x84
	if code&0x80 != 0 {
		return -v
	}
	return v
}

// aLawSample decodes one A-law code: every other bit inverted, then sign (set
// for positive), segment, step.
func aLawSample(code byte) int {
	code ^= 0x55
	v := int(code&0x0f)<<4 + 8
	if seg := code >> 4 & 7; seg > 0 {
		v = (v + 0x100) << (seg - 1)
	}
	if code&0x80 == 0 {
		return -v
	}
	return v
}

// Decode turns codes into samples; dst is at least as long as src.
func (t *Law) Decode(dst []int16, src []byte) {
	dst = dst[:len(src)]
	for i, c := range src {
		dst[i] = t[c]
	}
}
