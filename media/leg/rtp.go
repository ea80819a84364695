package leg

import "encoding/binary"

// wire is what a datagram on an RTP port turns out to be (RFC 7983).
type wire uint8

const (
	wireRTP   wire = iota
	wireRTCP       // RFC 5761: second byte 192 to 223
	wireOther      // STUN, DTLS, garbage
)

// rtpPacket is an RTP packet's fixed header and payload (RFC 3550 section 5.1).
type rtpPacket struct {
	payload []byte
	ts      uint32
	ssrc    uint32
	seq     uint16
	pt      uint8
}

const rtpHeaderBytes = 12

// parseRTP reads a datagram. CSRCs and the header extension are stepped over,
// whatever they hold; padding is cut off. A payload may be empty.
func parseRTP(b []byte) (rtpPacket, wire) {
	var p rtpPacket
	if len(b) < 2 || b[0]>>6 != 2 {
		return p, wireOther
	}
	if b[1] >= 192 && b[1] <= 223 {
		return p, wireRTCP
	}
	n := rtpHeaderBytes + 4*int(b[0]&0x0f)
	if len(b) < n {
		return p, wireOther
	}
	p.pt = b[1] & 0x7f
	p.seq = binary.BigEndian.Uint16(b[2:])
	p.ts = binary.BigEndian.Uint32(b[4:])
	p.ssrc = binary.BigEndian.Uint32(b[8:])
	if b[0]&0x10 != 0 { // extension
		if len(b) < n+4 {
			return p, wireOther
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
		if len(b) < n {
			return p, wireOther
		}
	}
	end := len(b)
	if b[0]&0x20 != 0 { // padding
		pad := int(b[end-1])
		if pad == 0 || n+pad > end {
			return p, wireOther
		}
		end -= pad
	}
	p.payload = b[n:end]
	return p, wireRTP
}
