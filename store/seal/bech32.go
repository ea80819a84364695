package seal

const bech32Digits = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

// bech32 writes data in the form in which age writes keys (BIP 173, without its
// limit of length; all lower case but the name, which is taken as it is). The
// result is one piece of memory with room for a line end, and no other copy of
// data is made, so that clearing the two leaves nothing.
func bech32(name string, data []byte) []byte {
	sum := uint32(1)
	add := func(v byte) {
		top := sum >> 25
		sum = (sum&0x1ffffff)<<5 ^ uint32(v)
		for i, g := range [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	for i := range len(name) {
		add(lower(name[i]) >> 5)
	}
	add(0)
	for i := range len(name) {
		add(lower(name[i]) & 31)
	}
	out := make([]byte, 0, len(name)+1+(len(data)*8+4)/5+6+1)
	out = append(append(out, name...), '1')
	put := func(v byte) {
		add(v)
		out = append(out, bech32Digits[v])
	}
	var bits uint16
	have := 0
	for _, b := range data {
		bits, have = bits<<8|uint16(b), have+8
		for ; have >= 5; have -= 5 {
			put(byte(bits>>(have-5)) & 31)
		}
	}
	if have > 0 {
		put(byte(bits<<(5-have)) & 31)
	}
	for range 6 {
		add(0)
	}
	sum ^= 1
	for i := range 6 {
		out = append(out, bech32Digits[sum>>(5*(5-i))&31])
	}
	return out
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
