package siprec

import (
	"context"
	"log/slog"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// SIPp is a client that nobody here wrote; its built-in scenario places calls
// with INVITE, ACK and BYE.
func TestSIPpPlacesCalls(t *testing.T) {
	sipp, err := exec.LookPath("sipp")
	if err != nil {
		t.Fatal("sipp is not installed: make test installs Debian's sip-tester")
	}
	h := &recorder{}
	s, err := NewServer(Config{Listen: []string{"udp://127.0.0.1:0", "tcp://127.0.0.1:0"}, Handler: h,
		Peers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	for i, mode := range []string{"u1", "t1"} {
		network := []string{"udp://", "tcp://"}[i]
		addr := ""
		for _, a := range s.Addrs() {
			if rest, ok := strings.CutPrefix(a, network); ok {
				addr = rest
			}
		}
		limit, stop := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(limit, sipp, addr, "-sn", "uac", "-t", mode, "-i", "127.0.0.1",
			"-m", "100", "-r", "50", "-d", "100", "-nostdin", "-timeout", "50")
		cmd.Dir = t.TempDir()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", mode, err, out[max(0, len(out)-3000):])
		}
		stop()
		eventually(t, "every call closed", func() bool { return len(h.closed()) == 100*(i+1) })
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, e := range h.closed() {
		if e.Cause != "bye" {
			t.Errorf("end %+v", e)
		}
	}
}
