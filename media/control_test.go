package media

import (
	"encoding/binary"
	"math"
	"net"
	"net/netip"
	"testing"
	"time"

	"siprecd/media/leg"
	"siprecd/media/rtcp"
)

// senderReport is a minimal sender report.
func senderReport(ssrc uint32, since1900 time.Duration, ts uint32) []byte {
	b := []byte{0x80, 200, 0, 6}
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = binary.BigEndian.AppendUint32(b, uint32(3900000000)+uint32(since1900/time.Second))
	b = binary.BigEndian.AppendUint32(b, uint32(uint64(since1900%time.Second)<<32/uint64(time.Second)))
	b = binary.BigEndian.AppendUint32(b, ts)
	return append(b, make([]byte, 8)...)
}

// Two legs of one clock, one of which takes 60 ms longer to arrive: their
// sender reports bring them together. With clocks that have nothing in common
// they stay as they arrived.
func TestSenderReportsAlignLegs(t *testing.T) {
	const seconds, late = 90, 60 * time.Millisecond
	for _, c := range []struct {
		name  string
		skew  time.Duration // of the second leg's wall clock
		apart float64       // ms, at the end
	}{{"one clock", 0, 0}, {"two clocks", 3 * time.Second, 60}} {
		r := newCoreRig(t, Stereo, 8000)
		a, b := r.add(side(Left), leg.Place{}), r.add(side(Right), leg.Place{})
		click := encodeA(clicks(8000, 8000))
		var outA, outB []int16
		for n := range seconds * 50 {
			k, ts := n%50*160, uint32(n*160)
			a.Push(rtpBytes(8, uint16(n), ts, 1, click[k:k+160]), sbc, at(n))
			b.Push(rtpBytes(8, uint16(n), ts+9999, 2, click[k:k+160]), sbc, at(n)+late)
			if n%250 == 100 {
				a.Push(senderReport(1, at(n), ts), sbc, at(n))
				b.Control(senderReport(2, at(n)+c.skew, ts+9999), sbc, at(n)+late)
			}
			for _, t := range r.tracks {
				t.Settle(leg.Samples(at(n), leg.SampleRate))
			}
			leg.Align(a, b)
			if n > 20 {
				outA, outB = append(outA, make([]int16, 160)...), append(outB, make([]int16, 160)...)
				a.Read(outA[len(outA)-160:])
				b.Read(outB[len(outB)-160:])
			}
		}
		x, y := onsets(outA), onsets(outB)
		if len(x) < seconds-3 || len(y) < seconds-3 {
			t.Fatalf("%s: %d and %d clicks", c.name, len(x), len(y))
		}
		if d := float64(y[0]-x[0]) / 8; math.Abs(d-60) > 1 {
			t.Errorf("%s: %.1f ms apart at the beginning", c.name, d)
		}
		if d := float64(y[len(y)-1]-x[len(x)-1]) / 8; math.Abs(d-c.apart) > 12 {
			t.Errorf("%s: %.1f ms apart at the end", c.name, d)
		}
	}
}

// A client that names a privileged port for its media, or reports from one, does
// not make us write to that service.
func TestNoReportToPrivilegedPorts(t *testing.T) {
	for port, want := range map[uint16]bool{0: false, 21: false, 1022: false, 1023: true, 30000: true, 65535: false} {
		for _, from := range []uint16{0, 53, 2000} {
			cfg := mono()
			cfg.Source = netip.AddrPortFrom(sbc.Addr(), port)
			tr := leg.New(cfg, leg.Place{Start: time.Unix(1e9, 0), Depth: DefaultDepth, Allow: func(netip.Addr) bool { return true }})
			tr.Push(rtpBytes(8, 1, 160, 77, make([]byte, 160)), sbc, at(1))
			want := want
			if from != 0 {
				want = from >= 1024
				tr.Control(senderReport(77, time.Second, 160), netip.AddrPortFrom(sbc.Addr(), from), at(2))
			}
			if to, ok := tr.ReportTo(); ok != want {
				t.Errorf("media from port %d, reports from %d: report to %v, %v", port, from, to, ok)
			}
		}
	}
}

// A report goes to the signalled address of an allowed peer that is heard, and
// to nobody else; it tells what was lost.
func TestReceiverReports(t *testing.T) {
	for _, c := range []struct {
		name    string
		allowed bool
	}{{"allowed", true}, {"not allowed", false}} {
		cfg := mono()
		tr := leg.New(cfg, leg.Place{Start: time.Unix(1e9, 0), Depth: DefaultDepth, Allow: func(a netip.Addr) bool { return c.allowed }})
		if _, ok := tr.ReportTo(); ok {
			t.Errorf("%s: a report before anything is heard", c.name)
		}
		for n := range 65 {
			if n%13 != 7 {
				tr.Push(rtpBytes(8, uint16(65500+n), uint32(n*160), 77, make([]byte, 160)), sbc, at(n))
			}
		}
		tr.Control(senderReport(77, time.Second, 160*64), netip.AddrPortFrom(sbc.Addr(), 30009), at(65))
		to, ok := tr.ReportTo()
		if ok != c.allowed || ok && to.Port() != 30009 {
			t.Errorf("%s: report to %v, %v", c.name, to, ok)
		}
		b := tr.Report(nil, 5, cname, at(65)+time.Second)
		if r, err := rtcp.Parse(b); err != nil || r.SSRC != 5 {
			t.Errorf("%+v, %v", r, err)
		}
		for at, want := range map[int]uint32{8: 77, 12: 5*256/65<<24 | 5, 16: 65500 + 64} {
			if got := binary.BigEndian.Uint32(b[at:]); got != want {
				t.Errorf("%s: word at %d is %d, want %d", c.name, at, got, want)
			}
		}
	}
}

// On real ports: RTCP on the port above is read and answered; from a stranger
// it is only counted.
func TestControlPort(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a report to be due")
	}
	// Below the system's own range: there nobody else is given the port for RTCP.
	e, err := Open(Config{Address: netip.MustParseAddr("127.0.0.1"), PortMin: 11400, PortMax: 11599,
		Allow: func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.1") }})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	listen := func(ip net.IP) *net.UDPConn {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: ip})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	rtp, ctl, stranger := listen(net.IPv4(127, 0, 0, 1)), listen(net.IPv4(127, 0, 0, 1)), listen(net.IPv4(127, 0, 0, 9))
	call, err := e.NewCall(CallConfig{Start: time.Now(), Layout: Stereo, Rate: 8000, Sink: nullSink{}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := mono()
	cfg.Source = rtp.LocalAddr().(*net.UDPAddr).AddrPort()
	s, err := call.Add(cfg)
	if err != nil {
		t.Fatal(err)
	}
	to := func(p int) *net.UDPAddr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: p} }
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := range 280 {
		if _, err := rtp.WriteToUDP(rtpBytes(8, uint16(n), uint32(n*160), 9, make([]byte, 160)), to(s.Port())); err != nil {
			t.Fatal(err)
		}
		if n == 20 {
			for _, from := range []*net.UDPConn{ctl, stranger} {
				if _, err := from.WriteToUDP(senderReport(9, at(n), uint32(n*160)), to(s.Port()+1)); err != nil {
					t.Fatal(err)
				}
			}
		}
		<-tick.C
	}
	buf := make([]byte, 1500)
	if err := ctl.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, from, err := ctl.ReadFromUDP(buf)
	if err != nil || from.Port != s.Port()+1 {
		t.Fatalf("no report: %v from %v", err, from)
	}
	if r, err := rtcp.Parse(buf[:n]); err != nil || r.Sender {
		t.Errorf("%+v, %v", r, err)
	}
	if err := stranger.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := stranger.ReadFromUDP(buf); err == nil {
		t.Error("a stranger was answered")
	}
	sum := call.Finish(time.Now())
	if st := sum.Streams[0]; st.RTCP != 1 || st.WrongSource != 1 {
		t.Errorf("counts: %+v", st)
	}
}
