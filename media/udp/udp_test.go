package udp

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

func open(t *testing.T) (*Socket, *net.UDPConn) {
	t.Helper()
	var s *Socket
	for p := uint16(44000); s == nil && p < 44200; p += 2 {
		got, err := Open(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p))
		if err != nil && !Busy(err) {
			t.Fatal(err)
		}
		s = got
	}
	if s == nil {
		t.Fatal("no port")
	}
	t.Cleanup(s.Close)
	c, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.Port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return s, c
}

func TestReadInBatches(t *testing.T) {
	s, c := open(t)
	r := NewReceiver()
	if n := r.Read(s); n != 0 {
		t.Fatalf("%d packets in a new socket", n)
	}
	begin := time.Now().UnixNano()
	for i := range 40 {
		if _, err := c.Write([]byte{byte(i), 1, 2}); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	readUntil(t, s, r, func(p Packet) bool {
		if len(p.Data) != 3 || p.Data[0] != byte(seen) || p.From.String() != c.LocalAddr().String() || p.Dropped != 0 {
			t.Errorf("packet %d: %+v", seen, p)
		}
		if p.Stamp < begin-1e6 || p.Stamp > time.Now().UnixNano()+1e6 {
			t.Errorf("packet %d came at %d, sending began at %d", seen, p.Stamp, begin)
		}
		seen++
		return seen == 40
	})
	if n := r.Read(s); n != 0 {
		t.Errorf("%d packets more than were sent", n)
	}
}

// readUntil reads a socket until the last packet that is waited for.
func readUntil(t *testing.T, s *Socket, r *Receiver, last func(Packet) bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for seen, done := 0, false; !done; {
		n := r.Read(s)
		for i := range n {
			done = last(r.Packet(i)) || done
		}
		seen += n
		if n > 0 {
			continue
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("only %d packets in 10 s", seen)
		}
	}
}

func TestBusyPort(t *testing.T) {
	s, _ := open(t)
	_, err := Open(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(s.Port)))
	if !Busy(err) {
		t.Errorf("%v", err)
	}
}

func TestPorts(t *testing.T) {
	for _, c := range []struct{ lo, hi, want int }{{20000, 20009, 5}, {20001, 20009, 4}, {20001, 20001, 0}, {65534, 65535, 1}} {
		p := NewPorts(c.lo, c.hi)
		if n := Even(c.lo, c.hi); n != c.want {
			t.Errorf("%d-%d: %d even ports, want %d", c.lo, c.hi, n, c.want)
		}
		seen := map[int]bool{}
		for n, ok := p.Take(); ok; n, ok = p.Take() {
			if n%2 != 0 || n < c.lo || n > c.hi || seen[n] {
				t.Errorf("%d-%d: port %d", c.lo, c.hi, n)
			}
			seen[n] = true
		}
		if used, total := p.Count(); used != c.want || total != c.want {
			t.Errorf("%d-%d: %d of %d", c.lo, c.hi, used, total)
		}
	}
	p := NewPorts(30000, 30999)
	a, _ := p.Take()
	p.Give(a)
	for range 499 {
		if b, _ := p.Take(); b == a {
			t.Error("a port did not rest")
		}
	}
}
