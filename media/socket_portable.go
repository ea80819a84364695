//go:build !linux || portable

package media

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Sizes of a receive batch, and how long an empty socket is waited for.
const (
	batchPackets  = 32
	packetBytes   = 2048
	receiveBuffer = 1 << 20
	emptyWait     = time.Millisecond
)

// socket is an ordinary UDP socket, for systems without recvmmsg: right, but
// not dense.
type socket struct {
	conn *net.UDPConn
	port int
}

func openSocket(addr netip.AddrPort) (*socket, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	if err := conn.SetReadBuffer(receiveBuffer); err != nil {
		conn.Close()
		return nil, err
	}
	return &socket{conn: conn, port: int(addr.Port())}, nil
}

func (s *socket) close() { s.conn.Close() }

// portBusy says whether another port may do better.
func portBusy(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES)
}

// receiver holds the packets of one batch; they are good until the next read.
type receiver struct {
	bufs [batchPackets][packetBytes]byte
	got  [batchPackets]packet
}

func newReceiver() *receiver { return &receiver{} }

// read takes what waits in a socket, at most one batch.
func (r *receiver) read(s *socket) int {
	if s.conn.SetReadDeadline(time.Now().Add(emptyWait)) != nil {
		return 0
	}
	for i := range r.bufs {
		n, from, err := s.conn.ReadFromUDPAddrPort(r.bufs[i][:])
		if err != nil {
			return i
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		r.got[i] = packet{data: r.bufs[i][:n], from: from, stamp: time.Now().UnixNano()}
	}
	return batchPackets
}

func (r *receiver) packet(i int) packet { return r.got[i] }
