package trace

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
)

// The pcap file format, little-endian, times in nanoseconds, packets that
// begin with their IP header (LINKTYPE_RAW).
const (
	pcapMagic   = 0xa1b23c4d
	pcapRawIP   = 101
	pcapSnapLen = 262144

	udpHeader = 8
	maxUDP    = 65535 - 40 - udpHeader // what fits into a datagram over IPv6 and IPv4
)

// WritePcap writes messages as a capture file. Each is one UDP datagram with
// the true addresses and time, whatever it came over; its true size is in the
// record when the message is longer than a datagram can be.
func WritePcap(w io.Writer, messages []Message) error {
	le := binary.LittleEndian
	head := le.AppendUint32(nil, pcapMagic)
	head = le.AppendUint16(head, 2)
	head = le.AppendUint16(head, 4)
	head = append(head, make([]byte, 8)...) // time zone and accuracy, always 0
	head = le.AppendUint32(head, pcapSnapLen)
	head = le.AppendUint32(head, pcapRawIP)
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	for _, m := range messages {
		packet := datagram(m)
		rec := le.AppendUint32(nil, uint32(m.At.Unix()))
		rec = le.AppendUint32(rec, uint32(m.At.Nanosecond()))
		rec = le.AppendUint32(rec, uint32(len(packet)))
		rec = le.AppendUint32(rec, uint32(len(packet)+max(0, len(m.Raw)-maxUDP)))
		if _, err := w.Write(append(rec, packet...)); err != nil {
			return fmt.Errorf("write capture: %w", err)
		}
	}
	return nil
}

// datagram is a message in an IP packet.
func datagram(m Message) []byte {
	be := binary.BigEndian
	raw := m.Raw[:min(len(m.Raw), maxUDP)]
	from, to := same(m.From, m.To)
	udp := be.AppendUint16(nil, from.Port())
	udp = be.AppendUint16(udp, to.Port())
	udp = be.AppendUint16(udp, uint16(udpHeader+len(raw)))
	udp = be.AppendUint16(udp, 0)
	udp = append(udp, raw...)
	src, dst := from.Addr().AsSlice(), to.Addr().AsSlice()
	pseudo := append(append(append([]byte{}, src...), dst...), 0, 17)
	sum := checksum(be.AppendUint16(pseudo, uint16(len(udp))), udp)
	if sum == 0 {
		sum = 0xffff // 0 says that there is none (RFC 768)
	}
	be.PutUint16(udp[6:], sum)

	var ip []byte
	if from.Addr().Is4() {
		ip = []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0}
		be.PutUint16(ip[2:], uint16(20+len(udp)))
		ip = append(append(ip, src...), dst...)
		be.PutUint16(ip[10:], checksum(ip))
	} else {
		ip = []byte{0x60, 0, 0, 0, 0, 0, 17, 64}
		be.PutUint16(ip[4:], uint16(len(udp)))
		ip = append(append(ip, src...), dst...)
	}
	return append(ip, udp...)
}

// same brings two addresses into one family; an unknown one is 0.0.0.0.
func same(a, b netip.AddrPort) (netip.AddrPort, netip.AddrPort) {
	x, y := a.Addr().Unmap().WithZone(""), b.Addr().Unmap().WithZone("")
	if !x.IsValid() {
		x = netip.IPv4Unspecified()
	}
	if !y.IsValid() {
		y = netip.IPv4Unspecified()
	}
	if x.Is4() != y.Is4() {
		x, y = netip.AddrFrom16(x.As16()), netip.AddrFrom16(y.As16())
	}
	return netip.AddrPortFrom(x, a.Port()), netip.AddrPortFrom(y, b.Port())
}

// checksum is the Internet checksum (RFC 1071) over parts that each but the
// last have an even length.
func checksum(parts ...[]byte) uint16 {
	var sum uint32
	for _, p := range parts {
		for i := 0; i+1 < len(p); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(p[i:]))
		}
		if len(p)%2 == 1 {
			sum += uint32(p[len(p)-1]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
