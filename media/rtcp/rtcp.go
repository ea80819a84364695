// Package rtcp reads what a recorder needs of RTCP, and writes receiver reports
// (RFC 3550 section 6).
//
// Promises. Any bytes can be read; what is damaged is an error, and what comes
// before the damage is kept. Nothing is allocated for reading, nor for writing
// into a buffer that is large enough.
//
// Caveats. Of a sender report the clocks are read and nothing else; of SDES,
// APP, feedback and extended reports nothing. Protected RTCP is not understood.
package rtcp

import (
	"encoding/binary"
	"errors"
	"time"
)

// Packet types (RFC 3550 section 12.1).
const (
	typeSender   = 200
	typeReceiver = 201
	typeSource   = 202
	typeBye      = 203
)

// ErrFormat says that bytes are not RTCP, or not to their end.
var ErrFormat = errors.New("rtcp: not a compound packet")

// Report is what was read of one compound packet.
type Report struct {
	SSRC   uint32 // of whoever sent it
	Sender bool   // it holds a sender report
	NTP    uint64 // its wall clock, 32.32 bits since 1900
	RTP    uint32 // the same moment as an RTP time stamp
	Bye    bool   // the sender leaves
}

// Parse reads a compound packet. On an error the report holds what was read
// before it.
func Parse(b []byte) (Report, error) {
	var r Report
	if len(b) == 0 {
		return r, ErrFormat
	}
	for first := true; len(b) > 0; first = false {
		size := packet(b)
		if size == 0 {
			return r, ErrFormat
		}
		p := b[:size]
		if first {
			r.SSRC = binary.BigEndian.Uint32(p[4:])
		}
		switch p[1] {
		case typeSender:
			if size < 28 {
				return r, ErrFormat
			}
			r.Sender, r.NTP, r.RTP = true, binary.BigEndian.Uint64(p[8:]), binary.BigEndian.Uint32(p[16:])
		case typeBye:
			r.Bye = true
		}
		b = b[size:]
	}
	return r, nil
}

// packet is the length of the first packet in b, 0 if it is none.
func packet(b []byte) int {
	if len(b) < 8 || b[0]>>6 != 2 || b[1] < 192 || b[1] > 223 {
		return 0
	}
	if size := 4 + 4*int(binary.BigEndian.Uint16(b[2:])); size >= 8 && size <= len(b) {
		return size
	}
	return 0
}

// Source is what a receiver counts of one sender, for its reports.
type Source struct {
	SSRC     uint32
	Highest  uint32 // sequence number, with its turns in the upper half
	Expected uint64 // packets, since the beginning
	Received uint64
	Jitter   uint32        // in RTP clock ticks; 0 where it is not measured
	LastSR   uint64        // NTP time of its latest sender report; 0: none
	Since    time.Duration // and how long ago it came
}

// Append writes a receiver report on one source, with the SDES item that every
// compound packet has (RFC 3550 section 6.1). name is our CNAME, at most 255
// bytes. prior are the counts of the report before.
func Append(b []byte, from uint32, name string, s, prior Source) []byte {
	b = append(b, 0x81, typeReceiver, 0, 7)
	b = binary.BigEndian.AppendUint32(b, from)
	b = binary.BigEndian.AppendUint32(b, s.SSRC)
	lost := int64(s.Expected) - int64(s.Received)
	b = binary.BigEndian.AppendUint32(b, uint32(fraction(s, prior))<<24|uint32(max(-1<<23, min(1<<23-1, lost)))&0xffffff)
	b = binary.BigEndian.AppendUint32(b, s.Highest)
	b = binary.BigEndian.AppendUint32(b, s.Jitter)
	b = binary.BigEndian.AppendUint32(b, uint32(s.LastSR>>16))
	delay := uint32(0)
	if s.LastSR != 0 {
		delay = uint32(s.Since * 65536 / time.Second)
	}
	b = binary.BigEndian.AppendUint32(b, delay)

	name = name[:min(len(name), 255)]
	pad := 4 - (10+len(name))%4 // at least one zero ends the chunk
	b = append(b, 0x81, typeSource, 0, byte((10+len(name)+pad)/4-1))
	b = binary.BigEndian.AppendUint32(b, from)
	b = append(b, 1, byte(len(name)))
	b = append(b, name...)
	return append(b, make([]byte, pad)...)
}

// fraction is the share of packets lost since the report before, of 256.
func fraction(s, prior Source) byte {
	expected := int64(s.Expected - prior.Expected)
	lost := expected - int64(s.Received-prior.Received)
	if expected <= 0 || lost <= 0 {
		return 0
	}
	return byte(min(255, lost*256/expected))
}
