//go:build !linux || portable

package udp

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Batch is the number of packets that one Read can take.
const Batch = 32

// Sizes in bytes, and how long an empty socket is waited for.
const (
	packetBytes   = 2048
	receiveBuffer = 1 << 20
	emptyWait     = time.Millisecond
)

// Socket is an ordinary UDP socket, for systems without recvmmsg: right, but
// not dense.
type Socket struct {
	Port int // local
	conn *net.UDPConn
}

// Open binds a UDP socket.
func Open(addr netip.AddrPort) (*Socket, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	if err := conn.SetReadBuffer(receiveBuffer); err != nil {
		conn.Close()
		return nil, err
	}
	return &Socket{conn: conn, Port: int(addr.Port())}, nil
}

// Close gives the port back to the system.
func (s *Socket) Close() { s.conn.Close() }

// Send sends a datagram from the socket's port. What the system refuses is
// lost, as it may be on the way.
func (s *Socket) Send(b []byte, to netip.AddrPort) {
	_, _ = s.conn.WriteToUDPAddrPort(b, to)
}

// Busy says whether another port may do better.
func Busy(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES)
}

// Receiver holds the packets of one batch; they are good until the next read.
type Receiver struct {
	bufs [Batch][packetBytes]byte
	got  [Batch]Packet
}

// NewReceiver allocates the buffers of one batch.
func NewReceiver() *Receiver { return &Receiver{} }

// Read takes what waits in a socket, at most one batch.
func (r *Receiver) Read(s *Socket) int {
	if s.conn.SetReadDeadline(time.Now().Add(emptyWait)) != nil {
		return 0
	}
	for i := range r.bufs {
		n, from, err := s.conn.ReadFromUDPAddrPort(r.bufs[i][:])
		if err != nil {
			return i
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		r.got[i] = Packet{Data: r.bufs[i][:n], From: from, Stamp: time.Now().UnixNano()}
	}
	return Batch
}

// Packet is packet i of the batch just read.
func (r *Receiver) Packet(i int) Packet { return r.got[i] }
