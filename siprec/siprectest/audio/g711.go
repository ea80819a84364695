package audio

// G.711 encoders, after the segment description of the Recommendation. Input
// is 16 bit; A-law codes its top 13 bits, mu-law its top 14. Negative values
// are taken by their ones' complement, as the reference in ITU-T G.191 does.

// EncodeALaw is the A-law code of one sample, even bits inverted.
func EncodeALaw(pcm int16) byte {
	v, sign := int(pcm)>>3, byte(0x80) // the sign bit of A-law is set for positive values
	if v < 0 {
		v, sign = -v-1, 0
	}
	seg := segment(v, 5)
	mantissa := v >> 1
	if seg > 1 {
		mantissa = v >> seg
	}
	return (sign | byte(seg<<4) | byte(mantissa&0x0f)) ^ 0x55
}

// EncodeMuLaw is the mu-law code of one sample, all bits inverted.
func EncodeMuLaw(pcm int16) byte {
	const bias, clip = 33, 8158
	v, sign := int(pcm)>>2, byte(0)
	if v < 0 {
		v, sign = -v-1, 0x80
	}
	v = min(v, clip) + bias
	seg := segment(v, 6)
	return ^(sign | byte(seg<<4) | byte(v>>(seg+1)&0x0f))
}

// segment is the number of the companding segment of v, 0 to 7, where the
// first segment has so many bits.
func segment(v, bits int) int {
	seg := 0
	for v>>bits != 0 && seg < 7 {
		v >>= 1
		seg++
	}
	return seg
}
