package flood

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

var epoch = time.Date(2027, 5, 1, 10, 0, 0, 0, time.UTC)

func call(n int) Call { return Call{CallID: fmt.Sprint("c", n), FromTag: "t", CSeq: 1} }

func addr(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

// A client that takes over another's calls offers 50 a second for ten minutes,
// and each ACK comes a second late.
func TestAnHonestClientIsNeverRefused(t *testing.T) {
	g := New(Limits{})
	for n := range 30_000 {
		now := epoch.Add(time.Duration(n) * 20 * time.Millisecond)
		if !g.Invite(addr(1), call(n), now) {
			t.Fatalf("call %d was refused", n)
		}
		if n >= 50 {
			g.Acknowledged(addr(1), call(n-50))
		}
	}
	if g := New(Limits{}); true {
		for n := range 75 {
			if !g.Invite(addr(1), call(n), epoch) {
				t.Fatalf("of a burst, call %d was refused", n)
			}
		}
	}
}

func TestAFloodIsBounded(t *testing.T) {
	g, in := New(Limits{}), 0
	for n := range 10_000 {
		if g.Invite(addr(1), call(n), epoch.Add(time.Duration(n)*200*time.Microsecond)) {
			in++
		}
	}
	if in != 75 || g.Pending() != 75 {
		t.Errorf("%d calls of a flood without an ACK came in, %d half-open", in, g.Pending())
	}
	if !g.Invite(addr(1), call(0), epoch.Add(2*time.Second)) {
		t.Error("a copy of a call that is in was refused")
	}
	if !g.Invite(addr(2), call(-1), epoch.Add(2*time.Second)) {
		t.Error("another client pays for the flood")
	}
	if !g.Invite(addr(1), call(-2), epoch.Add(time.Minute)) || g.Pending() != 1 {
		t.Errorf("the flood is not over after a minute: %d half-open", g.Pending())
	}
	g, in = New(Limits{}), 0
	for n := range 10_000 { // with ACKs, the bucket bounds it
		if g.Invite(addr(1), call(n), epoch.Add(time.Duration(n)*200*time.Microsecond)) {
			in++
			g.Acknowledged(addr(1), call(n))
		}
	}
	if in < 590 || in > 601 {
		t.Errorf("%d calls in two seconds, want 600", in)
	}
}

func TestForgedSourcesDoNotHurtThoseWhoHaveShownThemselves(t *testing.T) {
	g, in := New(Limits{}), 0
	if !g.Invite(addr(1), call(0), epoch) {
		t.Fatal("refused")
	}
	g.Acknowledged(addr(1), call(0))
	for n := 2; n < 20_000; n++ {
		if g.Invite(addr(n), call(n), epoch.Add(time.Duration(n)*100*time.Microsecond)) {
			in++
		}
	}
	if in != all*75 {
		t.Errorf("%d forged calls came in", in)
	}
	for n := range 300 {
		if !g.Invite(addr(1), call(-n-1), epoch.Add(2*time.Second)) {
			t.Fatal("a client that has shown itself was refused")
		}
	}
	if len(g.sources) > maxSources || len(g.calls) > maxCalls {
		t.Errorf("%d sources, %d calls are remembered", len(g.sources), len(g.calls))
	}
}

func TestARefusalMakesRoom(t *testing.T) {
	g := New(Limits{Rate: 1000, Burst: 1000, Pending: 1})
	for n := range 300 {
		if !g.Invite(addr(1), call(n), epoch) {
			t.Fatal("refused though nothing is half-open")
		}
		if g.Invite(addr(1), call(-1), epoch) {
			t.Fatal("two are half-open")
		}
		g.Refused(call(n))
		g.Refused(call(n)) // its copies change nothing
	}
}

func TestOtherRequests(t *testing.T) {
	g, in := New(Limits{Rate: 10, Burst: 20}), 0
	for range 1000 {
		if g.Other(addr(1), epoch) {
			in++
		}
	}
	if in != others*20 || !g.Other(addr(2), epoch) || !g.Other(addr(1), epoch.Add(time.Second)) {
		t.Errorf("%d came in", in)
	}
}
