//go:build linux && !portable

package udp

import "testing"

// What the kernel had to drop is told with a later packet.
func TestDropsAreCounted(t *testing.T) {
	s, c := open(t)
	r := NewReceiver()
	const sent = 20000
	got, dropped := 0, 0
	drain := func() {
		for n := r.Read(s); n > 0; n = r.Read(s) {
			for i := range n {
				got++
				dropped = max(dropped, int(r.Packet(i).Dropped))
			}
		}
	}
	for range sent {
		if _, err := c.Write(make([]byte, 172)); err != nil {
			t.Fatal(err)
		}
	}
	drain()
	if _, err := c.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	drain()
	if got+dropped != sent+1 || dropped == 0 {
		t.Errorf("%d received and %d dropped of %d", got, dropped, sent+1)
	}
}
