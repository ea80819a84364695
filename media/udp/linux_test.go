//go:build linux && !portable

package udp

import "testing"

// What the kernel had to drop is told with a later packet.
func TestDropsAreCounted(t *testing.T) {
	s, c := open(t)
	r := NewReceiver()
	const sent = 20000
	got, dropped := 0, 0
	note := func(p Packet) (last bool) {
		got++
		dropped = max(dropped, int(p.Dropped))
		return len(p.Data) == 1
	}
	for range sent {
		if _, err := c.Write(make([]byte, 172)); err != nil {
			t.Fatal(err)
		}
	}
	for n := r.Read(s); n > 0; n = r.Read(s) { // there must be room for the next
		for i := range n {
			note(r.Packet(i))
		}
	}
	if _, err := c.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	readUntil(t, s, r, note)
	if got+dropped != sent+1 || dropped == 0 {
		t.Errorf("%d received and %d dropped of %d", got, dropped, sent+1)
	}
}
