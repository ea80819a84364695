package rtpsend

import (
	"net/netip"
	"testing"
	"time"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// sink is a socket that nobody reads.
func sink(tb testing.TB) netip.AddrPort {
	tb.Helper()
	conn, err := listen(loopback)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadBuffer(1)
	ap, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		tb.Fatal(err)
	}
	return ap
}

func config() Config {
	return Config{Payload: make([]byte, 8000), Loop: true, Ptime: 20 * time.Millisecond, PayloadType: 8, EventPT: 101}
}

// TestStepAllocatesNothing guards the promise that lets one process drive
// hundreds of calls.
func TestStepAllocatesNothing(t *testing.T) {
	for _, shared := range []bool{false, true} {
		p := NewPacer()
		defer p.Stop()
		c := config()
		c.Impair = Impair{Loss: 0.1, Reorder: 0.1, Duplicate: 0.1, Gaps: []Span{{time.Second, 2 * time.Second}}}
		s, err := p.NewStream(c, Socket{Addr: loopback, Shared: shared})
		if err != nil {
			t.Fatal(err)
		}
		s.Aim(sink(t))
		p.mu.Lock() // the stream is not started; step it by hand
		n := testing.AllocsPerRun(2000, s.step)
		p.mu.Unlock()
		if n >= 0.5 {
			t.Errorf("shared %v: %.2f allocations a packet", shared, n)
		}
	}
}

// TestPacerIdles starts, empties and starts the wheel again.
func TestPacerIdles(t *testing.T) {
	p := NewPacer()
	to := sink(t)
	for range 2 {
		c := config()
		c.End, c.Start = 400*time.Millisecond, 350*time.Millisecond // beyond one turn of the wheel
		s, err := p.NewStream(c, Socket{Addr: loopback})
		if err != nil {
			t.Fatal(err)
		}
		s.Aim(to)
		began := time.Now()
		p.Start(s)
		select {
		case <-s.Done():
		case <-time.After(5 * time.Second):
			t.Fatal("the stream does not end")
		}
		if d := time.Since(began); d < 390*time.Millisecond {
			t.Errorf("it took %v, want 400 ms or more", d)
		}
		if n := s.Stats().Sent; n != 3 {
			t.Errorf("%d packets in 50 ms, want 3", n)
		}
		s.Halt()
	}
	p.mu.Lock()
	if p.live != 0 {
		t.Errorf("%d streams live", p.live)
	}
	p.mu.Unlock()
	p.Stop()
}

// TestStopEndsStreams stops the pacer under running streams.
func TestStopEndsStreams(t *testing.T) {
	p := NewPacer()
	s, err := p.NewStream(config(), Socket{Addr: loopback})
	if err != nil {
		t.Fatal(err)
	}
	p.Start(s)
	p.Stop()
	select {
	case <-s.Done():
	default:
		t.Error("the stream is not over")
	}
	s.Halt()
	if s.Stats().Sent != 0 {
		t.Error("a stream that is aimed nowhere has sent")
	}
}

func BenchmarkStep(b *testing.B) {
	for name, shared := range map[string]bool{"own": false, "shared": true} {
		b.Run(name, func(b *testing.B) {
			p := NewPacer()
			defer p.Stop()
			s, err := p.NewStream(config(), Socket{Addr: loopback, Shared: shared})
			if err != nil {
				b.Fatal(err)
			}
			s.Aim(sink(b))
			b.ReportAllocs()
			for b.Loop() {
				s.step()
			}
		})
	}
}
