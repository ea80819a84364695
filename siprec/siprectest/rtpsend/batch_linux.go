//go:build linux && !portable

package rtpsend

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// batch holds what one sendmmsg call needs.
type batch struct {
	raw   syscall.RawConn
	call  func(fd uintptr) bool // made once, so that sending allocates nothing
	v6    bool                  // of the socket
	msgs  [batchSize]mmsghdr
	iovs  [batchSize]unix.Iovec
	names [batchSize]unix.RawSockaddrInet6 // large enough for both families
	from  int                              // first packet of the call, and one behind the last
	to    int
	n     int
	errno syscall.Errno
}

func (b *batch) open(o *outlet) (err error) {
	if b.raw, err = o.conn.SyscallConn(); err != nil {
		return err
	}
	local, err := netip.ParseAddrPort(o.conn.LocalAddr().String())
	if err != nil {
		return err
	}
	b.v6 = !local.Addr().Unmap().Is4()
	b.call = b.write
	for i := range b.msgs {
		b.iovs[i].Base = &o.bufs[i].b[0]
		h := &b.msgs[i].hdr
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
	}
	return nil
}

// send sends the outlet's packets from one on, and says how many went.
func (b *batch) send(o *outlet, from int) (int, error) {
	for i := from; i < o.full; i++ {
		b.iovs[i].SetLen(o.bufs[i].n)
		b.name(i, o.to[i])
	}
	b.from, b.to = from, o.full
	if err := b.raw.Write(b.call); err != nil {
		return 0, err
	}
	if b.errno != 0 {
		return 0, b.errno
	}
	return b.n, nil
}

// write is the system call; false: the socket's buffer is full, call again.
func (b *batch) write(fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.msgs[b.from])), uintptr(b.to-b.from), 0, 0, 0)
		switch errno {
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			b.n, b.errno = int(n), errno
			return true
		}
	}
}

// name writes where packet i goes.
func (b *batch) name(i int, to netip.AddrPort) {
	var port [2]byte
	binary.BigEndian.PutUint16(port[:], to.Port())
	if b.v6 {
		b.names[i] = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: to.Addr().As16()}
		*(*[2]byte)(unsafe.Pointer(&b.names[i].Port)) = port
		b.msgs[i].hdr.Namelen = unix.SizeofSockaddrInet6
		return
	}
	v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&b.names[i]))
	*v4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().Unmap().As4()}
	*(*[2]byte)(unsafe.Pointer(&v4.Port)) = port
	b.msgs[i].hdr.Namelen = unix.SizeofSockaddrInet4
}
