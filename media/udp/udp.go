// Package udp receives datagrams in sweeps: sockets that nobody waits on, emptied
// in batches when their owner has the time.
//
//	kernel's socket buffer ──recvmmsg, 32 at a time──► Receiver (one per worker) ──► Packet
//
// On Linux a Socket is a raw non-blocking descriptor that Go's poller does not
// know, so that a packet wakes nobody; every packet carries the kernel's time of
// arrival and, once some were dropped, how many. Elsewhere, and with the build
// tag "portable", it is an ordinary net.UDPConn: right, but not dense, and the
// arrival is the time of reading.
//
// Nothing here may be used by two goroutines at once, but for Ports.
package udp

import "net/netip"

// Packet is a datagram. One that was cut off by the buffer has no data.
type Packet struct {
	Data    []byte // good until the Receiver's next Read
	From    netip.AddrPort
	Stamp   int64  // arrival by the wall clock, Unix ns; 0: unknown
	Dropped uint32 // packets that the kernel has dropped on this socket so far; 0: says nothing
}
