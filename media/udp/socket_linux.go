//go:build linux && !portable

package udp

import (
	"errors"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Batch is the number of packets that one Read can take.
const Batch = 32

// Sizes: bytes a packet, bytes of control data (a time stamp and a drop count),
// and the kernel's buffer.
const (
	packetBytes   = 2048
	controlBytes  = 128
	receiveBuffer = 1 << 20 // asked for; the kernel may give less
)

// Socket is a non-blocking UDP socket that the runtime's poller does not know:
// nobody is woken when a packet comes.
type Socket struct {
	Port int // local
	fd   int
}

// Open binds a UDP socket. The kernel stamps every packet with its
// arrival and says how many it had to drop.
func Open(addr netip.AddrPort) (*Socket, error) {
	family, sa := sockaddr(addr)
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	for _, o := range [][2]int{
		{unix.SO_RCVBUF, receiveBuffer},
		{unix.SO_TIMESTAMPNS, 1},
		{unix.SO_RXQ_OVFL, 1},
	} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[0], o[1]); err != nil {
			unix.Close(fd)
			return nil, err
		}
	}
	if err := unix.Bind(fd, sa); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &Socket{fd: fd, Port: int(addr.Port())}, nil
}

func sockaddr(addr netip.AddrPort) (family int, sa unix.Sockaddr) {
	if ip := addr.Addr().Unmap(); ip.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: ip.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
}

// Close gives the port back to the system.
func (s *Socket) Close() { unix.Close(s.fd) }

// Send sends a datagram from the socket's port. What the system refuses is
// lost, as it may be on the way.
func (s *Socket) Send(b []byte, to netip.AddrPort) {
	_, sa := sockaddr(to)
	_ = unix.Sendto(s.fd, b, unix.MSG_DONTWAIT, sa)
}

// Busy says whether another port may do better.
func Busy(err error) bool {
	return errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EACCES)
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// Receiver holds the buffers of one recvmmsg call. One serves all sockets of a
// worker; what read has filled is good until the next read.
type Receiver struct {
	msgs  [Batch]mmsghdr
	iovs  [Batch]unix.Iovec
	names [Batch]unix.RawSockaddrInet6 // large enough for both families
	bufs  [Batch][packetBytes]byte
	ctrl  [Batch][controlBytes]byte
	used  int // messages that the last read filled
}

// NewReceiver allocates the buffers of one batch.
func NewReceiver() *Receiver {
	r := &Receiver{}
	for i := range r.msgs {
		r.iovs[i].Base = &r.bufs[i][0]
		r.iovs[i].SetLen(packetBytes)
		h := &r.msgs[i].hdr
		h.Iov = &r.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Control = &r.ctrl[i][0]
		r.ready(i)
	}
	return r
}

// ready tells the kernel how much room message i has; it writes there how much
// it took.
func (r *Receiver) ready(i int) {
	h := &r.msgs[i].hdr
	h.Namelen = unix.SizeofSockaddrInet6
	h.SetControllen(controlBytes)
}

// Read takes what waits in a socket, at most one batch, and returns how many
// packets that was.
func (r *Receiver) Read(s *Socket) int {
	for i := range r.msgs[:r.used] {
		r.ready(i)
	}
	r.used = 0
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd),
			uintptr(unsafe.Pointer(&r.msgs[0])), Batch, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			r.used = int(n)
			return r.used
		case unix.EINTR, unix.ECONNREFUSED:
			continue // a signal, or a pending ICMP error, which the call has cleared
		default:
			return 0 // empty
		}
	}
}

// Packet is packet i of the batch just read. One cut off by the buffer has no
// data.
func (r *Receiver) Packet(i int) Packet {
	m := &r.msgs[i]
	p := Packet{From: r.from(i)}
	if m.hdr.Flags&unix.MSG_TRUNC == 0 {
		p.Data = r.bufs[i][:m.len]
	}
	r.control(i, &p)
	return p
}

func (r *Receiver) from(i int) netip.AddrPort {
	n := &r.names[i]
	if n.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(n))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), swapPort(v4.Port))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(n.Addr).Unmap(), swapPort(n.Port))
}

// swapPort reads a port that the kernel left in network order in a field of
// host order.
func swapPort(p uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&p))
	return uint16(b[0])<<8 | uint16(b[1])
}

// control reads the time stamp and the drop count.
func (r *Receiver) control(i int, p *Packet) {
	buf := r.ctrl[i][:r.msgs[i].hdr.Controllen]
	for len(buf) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&buf[0]))
		size := int(h.Len)
		if size < unix.SizeofCmsghdr || size > len(buf) {
			return
		}
		body := buf[unix.CmsgLen(0):size]
		if h.Level == unix.SOL_SOCKET {
			switch {
			case h.Type == unix.SO_TIMESTAMPNS && len(body) >= int(unsafe.Sizeof(unix.Timespec{})):
				p.Stamp = (*unix.Timespec)(unsafe.Pointer(&body[0])).Nano()
			case h.Type == unix.SO_RXQ_OVFL && len(body) >= 4:
				p.Dropped = *(*uint32)(unsafe.Pointer(&body[0]))
			}
		}
		next := unix.CmsgSpace(size - unix.CmsgLen(0))
		if next > len(buf) {
			return
		}
		buf = buf[next:]
	}
}
