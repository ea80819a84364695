package media

import (
	"net/netip"
	"time"

	"siprecd/media/leg"
	"siprecd/media/udp"
)

// cname is our name in RTCP: the same for all, since it says nothing.
const cname = "siprecd"

// lookEvery is how often an RTCP port is read: nothing there is urgent, and what
// came knows when.
const lookEvery = leg.ReportEvery / 2

// rtcpPort is a stream's RTCP port, the one above its RTP port (RFC 3550 section
// 11). Receiver reports leave from it, and nothing else ever does.
type rtcpPort struct {
	sock *udp.Socket
	ssrc uint32
	look time.Duration // when it is read again, on the engine's clock
	due  time.Duration // when the next report is sent
	buf  []byte
}

// openControl binds the port above the given one; nil if it cannot be had, or
// lies outside the range: a stream can do without.
func (e *Engine) openControl(port int, ssrc uint32) *rtcpPort {
	if port+1 > e.cfg.PortMax {
		return nil
	}
	s, err := udp.Open(netip.AddrPortFrom(e.cfg.Address, uint16(port+1)))
	if err != nil {
		return nil
	}
	return &rtcpPort{sock: s, ssrc: ssrc, due: e.now() + leg.ReportEvery, buf: make([]byte, 0, 128)}
}

func (c *rtcpPort) close() {
	if c != nil {
		c.sock.Close()
	}
}

// report reads a stream's RTCP port and sends the report that is due, to the
// signalled address of an allowed peer and nowhere else.
func (c *Call) report(s *Stream) {
	k := s.rtcp
	now := c.eng.now()
	if s.sock == nil || k == nil || now < k.look {
		return
	}
	k.look = now + lookEvery
	if n := c.w.rx.Read(k.sock); n > 0 {
		at := c.clock()
		at.earliest = now - lookEvery - c.eng.cfg.Sweep
		for i := range n {
			p := c.w.rx.Packet(i)
			s.track.Control(p.Data, p.From, at.arrival(p.Stamp)-c.start)
		}
	}
	if now < k.due {
		return
	}
	k.due = now + leg.ReportEvery
	if to, ok := s.track.ReportTo(); ok {
		k.sock.Send(s.track.Report(k.buf[:0], k.ssrc, cname, now-c.start), to)
	}
}
