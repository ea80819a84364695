package rtpsend

import (
	"fmt"
	"net"
	"net/netip"
)

// batchSize is how many packets go into one system call at most.
const batchSize = 64

// outlet is a media socket that many streams share. What one tick has to send
// goes out in few system calls (sendmmsg on Linux; elsewhere one by one). On
// one machine that makes a packet about a third cheaper.
type outlet struct {
	conn   *net.UDPConn
	full   int
	failed int
	to     [batchSize]netip.AddrPort
	bufs   [batchSize]packet
	batch  batch
}

// listen opens a socket on a free port.
func listen(addr netip.Addr) (*net.UDPConn, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	if err != nil {
		return nil, fmt.Errorf("open a media socket: %w", err)
	}
	return conn, nil
}

func newOutlet(addr netip.Addr) (*outlet, error) {
	conn, err := listen(addr)
	if err != nil {
		return nil, err
	}
	o := &outlet{conn: conn}
	if err := o.batch.open(o); err != nil {
		_ = conn.Close() // nothing was sent
		return nil, fmt.Errorf("open a media socket: %w", err)
	}
	return o, nil
}

// add copies a packet into the batch.
func (o *outlet) add(p *packet, to netip.AddrPort) {
	if o.full == batchSize {
		o.flush()
	}
	buf := &o.bufs[o.full]
	buf.n = copy(buf.b[:], p.b[:p.n])
	o.to[o.full] = to
	o.full++
}

// flush sends the batch. A packet that the system refuses is left out.
func (o *outlet) flush() {
	for from := 0; from < o.full; {
		n, err := o.batch.send(o, from)
		if err != nil || n <= 0 {
			o.failed++
			n = max(n, 0) + 1
		}
		from += n
	}
	o.full = 0
}

// shared is the outlet of that number.
func (p *Pacer) shared(addr netip.Addr, n int) (*outlet, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.outlets) <= n {
		o, err := newOutlet(addr)
		if err != nil {
			return nil, err
		}
		p.outlets = append(p.outlets, o)
	}
	return p.outlets[n], nil
}
