//go:build linux && !portable

package udp

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// netOffset is where the kernel's filter machine shows the IP header
// (SKF_NET_OFF); the packet itself begins with the UDP header.
const netOffset = 0xfff00000

// Only has the kernel drop, before they take room in the socket's buffer, all
// packets that come from none of these addresses. What waits already stays.
func (s *Socket) Only(from ...netip.AddrPort) error {
	prog := program(from)
	return unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]})
}

// All undoes Only.
func (s *Socket) All() error {
	return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
}

// program is a classic BPF program that lets packets of the given sources
// through whole, and no others.
func program(from []netip.AddrPort) []unix.SockFilter {
	var out []unix.SockFilter
	for _, f := range from {
		checks := words(f)
		for i, c := range checks {
			miss := uint8(2*(len(checks)-i-1) + 1) // over the other checks and the verdict
			out = append(out,
				unix.SockFilter{Code: unix.BPF_LD | c.size | unix.BPF_ABS, K: c.at},
				unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: miss, K: c.value})
		}
		out = append(out, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff})
	}
	return append(out, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0})
}

// word is one value that must stand at one place.
type word struct {
	size      uint16
	at, value uint32
}

// words are what a packet of a source has in it.
func words(f netip.AddrPort) []word {
	out := []word{{unix.BPF_H, 0, uint32(f.Port())}}
	at, ip := uint32(netOffset+12), f.Addr().Unmap().AsSlice()
	if len(ip) == 16 {
		at = netOffset + 8
	}
	for ; len(ip) > 0; ip, at = ip[4:], at+4 {
		out = append(out, word{unix.BPF_W, at, binary.BigEndian.Uint32(ip)})
	}
	return out
}
