//go:build linux && !portable

package udp

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestOnly(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		var s *Socket
		for port := 36400; s == nil && port < 36500; port++ {
			s, _ = Open(netip.AddrPortFrom(netip.MustParseAddr(host), uint16(port)))
		}
		if s == nil {
			t.Logf("no socket at %s", host)
			continue
		}
		good, bad := sender(t, host, s.Port), sender(t, host, s.Port)
		other := bad.LocalAddr().(*net.UDPAddr).AddrPort()
		if err := s.Only(netip.MustParseAddrPort("192.0.2.1:4"), good.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
			t.Fatal(err)
		}
		check := func(want ...netip.AddrPort) {
			t.Helper()
			fmt.Fprint(bad, "other")
			fmt.Fprint(good, "a packet of some length")
			rx, got := NewReceiver(), []netip.AddrPort{}
			late := time.After(5 * time.Second)
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for len(got) < len(want) {
				select {
				case <-tick.C:
				case <-late:
					t.Fatalf("%s: got %v, want %v", host, got, want)
				}
				for i := range rx.Read(s) {
					if p := rx.Packet(i); len(p.Data) != len("other") && len(p.Data) != len("a packet of some length") {
						t.Errorf("%s: a packet was cut to %d bytes", host, len(p.Data))
					}
					got = append(got, rx.Packet(i).From)
				}
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%s: got %v, want %v", host, got, want)
				}
			}
		}
		mine := good.LocalAddr().(*net.UDPAddr).AddrPort()
		check(mine)
		if err := s.All(); err != nil {
			t.Fatal(err)
		}
		check(other, mine)
		s.Close()
	}
}

func sender(t *testing.T, host string, port int) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(host)}, &net.UDPAddr{IP: net.ParseIP(host), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
