package secure

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// pipe makes a net.PacketConn of a swept socket, for pion/dtls. While a
// handshake is under way it asks for the socket to be emptied; after that it
// takes what the sweeps bring.
type pipe struct {
	link Link
	in   chan datagram
	quit chan struct{} // closed by the handshake's owner

	mu       sync.Mutex
	to       netip.AddrPort
	pollTill time.Time
	settled  bool
	deadline time.Time
	changed  chan struct{} // closed when the deadline changes
}

type datagram struct {
	b    []byte
	from netip.AddrPort
}

func newPipe(link Link, to netip.AddrPort, active bool) *pipe {
	p := &pipe{
		link: link, to: to, in: make(chan datagram, maxWaiting),
		quit: make(chan struct{}), changed: make(chan struct{}),
	}
	if active {
		p.pollTill = time.Now().Add(pollFor)
	}
	return p
}

// deliver is called by the sockets' owner.
func (p *pipe) deliver(b []byte, from netip.AddrPort) {
	select {
	case p.in <- datagram{append([]byte(nil), b...), from}:
	default:
	}
}

// remote is where the peer is.
func (p *pipe) remote() net.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return net.UDPAddrFromAddrPort(p.to)
}

// settle ends the polling, soon: a lost last flight is asked for quickly.
func (p *pipe) settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settled = true
	p.pollTill = time.Now().Add(retryAfter)
}

// took notes where a packet came from: replies go there. Any port of the
// signalled address will do, since only its certificate makes it the peer.
func (p *pipe) took(from netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = from
	if !p.settled {
		p.pollTill = time.Now().Add(pollFor)
	}
}

// waits is what a read waits for besides a packet.
func (p *pipe) waits() (deadline time.Time, changed <-chan struct{}, poll bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deadline, p.changed, time.Now().Before(p.pollTill)
}

// ReadFrom implements net.PacketConn.
func (p *pipe) ReadFrom(b []byte) (int, net.Addr, error) {
	tick := time.NewTimer(pollEvery)
	defer tick.Stop()
	for {
		deadline, changed, poll := p.waits()
		if !deadline.IsZero() && !time.Now().Before(deadline) {
			return 0, nil, os.ErrDeadlineExceeded
		}
		wait := time.Minute
		if poll {
			wait = pollEvery
		}
		if !deadline.IsZero() {
			wait = min(wait, time.Until(deadline))
		}
		tick.Reset(wait)
		select {
		case d := <-p.in:
			p.took(d.from)
			return copy(b, d.b), net.UDPAddrFromAddrPort(d.from), nil
		case <-p.quit:
			return 0, nil, net.ErrClosed
		case <-changed:
		case <-tick.C:
			if poll {
				p.link.Poll()
			}
		}
	}
}

// WriteTo implements net.PacketConn. It sends to where the peer was heard last.
func (p *pipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	p.mu.Lock()
	to := p.to
	p.mu.Unlock()
	if to.IsValid() && to.Port() != 0 {
		p.link.Send(b, to)
	}
	return len(b), nil
}

// Close implements net.PacketConn. The socket is not ours to close.
func (p *pipe) Close() error { return nil }

// LocalAddr implements net.PacketConn.
func (p *pipe) LocalAddr() net.Addr { return &net.UDPAddr{} }

// SetDeadline implements net.PacketConn.
func (p *pipe) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (p *pipe) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

// SetWriteDeadline implements net.PacketConn. Writing does not wait.
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }
