package leg

import (
	"net/netip"
	"time"

	"siprecd/media/rtcp"
)

// ReportEvery is how often a receiver report is due (RFC 3550 section 6.2).
const ReportEvery = 5 * time.Second

// Sender reports.
const (
	steady = 3        // sender reports in a row that must agree before they are believed
	agrees = 5 * ms   // how far they may differ
	apart  = 10 * ms  // a difference between two legs smaller than this is left alone
	oneNTP = 150 * ms // and a greater one comes of two clocks
)

// reports is what RTCP has told about a stream.
type reports struct {
	from   netip.AddrPort // where the latest came from; invalid if on the RTP port
	last   rtcp.Report    // the latest sender report of the sender that is heard
	at     int64          // when it came
	zero   int64          // timeline position of the sender's NTP time 0, in units
	steady int            // reports in a row that agree on it
	prior  rtcp.Source    // counts of our latest report
}

// Control takes a datagram that arrived on the stream's RTCP port.
func (t *Track) Control(b []byte, from netip.AddrPort, arrival time.Duration) {
	if !t.trusted(from.Addr()) {
		t.stats.WrongSource++
		return
	}
	b, ok := t.open(b, from, arrival)
	if !ok {
		return
	}
	t.reports.from = from
	t.hear(b, Samples(arrival, SampleRate))
}

// hear reads RTCP, from which any encryption has been taken off.
func (t *Track) hear(b []byte, arrival int64) {
	t.stats.RTCP++
	r, err := rtcp.Parse(b)
	if err != nil || !r.Sender || r.NTP == 0 || t.flow.id == 0 || r.SSRC != t.flow.ssrc {
		return
	}
	c := &t.reports
	c.last, c.at = r, arrival
	at := t.clock.refAt + int64(int32(r.RTP-t.clock.refTS))/int64(max(1, t.clock.rate)) + t.clock.offset
	zero := at - units(r.NTP)
	if d := zero - c.zero; d > agrees || d < -agrees {
		c.steady = 0
	}
	c.zero = zero
	c.steady++
}

// units is an NTP time (32.32 bits) counted in units.
func units(ntp uint64) int64 {
	return int64(ntp>>32)*SampleRate + int64((ntp&0xffffffff)*SampleRate>>32)
}

// Align makes two streams whose sender reports come from one clock agree on
// what was said at the same time: the one that is ahead is held back, bit by
// bit, as drift is corrected. Streams whose clocks have nothing to do with each
// other are left alone. It acts once for each agreement that is reached.
func Align(a, b *Track) {
	x, y := &a.reports, &b.reports
	if x.steady < steady || y.steady < steady || a.flow.from.Addr() != b.flow.from.Addr() {
		return
	}
	switch d := x.zero - y.zero; {
	case d > oneNTP || d < -oneNTP:
		return
	case d > apart:
		b.delay(d)
	case d < -apart:
		a.delay(-d)
	}
	x.steady, y.steady = 0, 0
}

// keyed says that the stream is protected; then so must be what we send, and
// we have keys for nothing but the sender's.
func (t *Track) keyed() bool { return t.protection.guard != nil }

// delay holds a stream back by so many units.
func (t *Track) delay(n int64) {
	t.clock.bias -= n
	t.clock.slew += n
}

// ReportTo is where a receiver report may be sent: to the sender that was
// signalled and is heard, if its address is one of the allowed peers'; false:
// nowhere. No media comes from a privileged port: who names one wants us to
// write to a service of that host.
func (t *Track) ReportTo() (netip.AddrPort, bool) {
	a := t.source.Addr()
	if t.flow.id == 0 || t.keyed() || t.allow == nil || !a.IsValid() || t.flow.from.Addr() != a || !t.allow(a) {
		return netip.AddrPort{}, false
	}
	to := t.reports.from
	if !to.IsValid() || to.Addr() != a {
		to = netip.AddrPortFrom(a, t.source.Port()+1) // 65535 has none: 0
	}
	return to, to.Port() >= 1024
}

// Report appends a receiver report about the sender that is heard.
func (t *Track) Report(b []byte, from uint32, name string, now time.Duration) []byte {
	f, c := &t.flow, &t.reports
	s := rtcp.Source{SSRC: f.ssrc, Highest: f.highest, Expected: uint64(f.highest-f.first) + 1, Received: f.received}
	if c.last.SSRC == f.ssrc && c.last.Sender {
		s.LastSR, s.Since = c.last.NTP, max(0, now-Duration(c.at))
	}
	if c.prior.SSRC != s.SSRC || c.prior.Expected > s.Expected {
		c.prior = rtcp.Source{}
	}
	b = rtcp.Append(b, from, name, s, c.prior)
	c.prior = s
	return b
}
