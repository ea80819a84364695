package main

import (
	"net"
	"testing"
	"time"
)

// TestStatusShowsAStranger in the table of clients, and finds nothing wrong with
// it. The faults that the status must name are the torture rows G5.
func TestStatusShowsAStranger(t *testing.T) {
	t.Parallel()
	s := newServer(t, "sip.peers=[127.0.0.1]")
	s.start()
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	stranger, err := d.DialContext(t.Context(), "udp", s.udp)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.Write([]byte("OPTIONS sip:x SIP/2.0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	await(t, "the stranger to be shown", 10*time.Second, func() bool { st := s.status(); return st.OK && st.Strangers.Last == "127.0.0.9" })
}
