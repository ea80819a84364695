package sentinel

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"siprecd/siprec"
	"siprecd/store"
)

// wants looks once and judges what is said.
func wants(t *testing.T, c Check, now time.Time, want string) {
	t.Helper()
	if got := c.Look(now); (got == "") != (want == "") || !strings.Contains(got, want) {
		t.Errorf("%s says %q, want %q", c.Name, got, want)
	}
}

func TestClock(t *testing.T) {
	wall, elapsed := time.Date(2026, 10, 25, 0, 59, 50, 0, time.UTC), time.Duration(0)
	c := Clock(func() time.Time { return wall }, func() time.Duration { return elapsed })
	pass := func(d, step time.Duration) { wall, elapsed = wall.Add(d+step), elapsed+d }
	for range 300 { // an hour is put back by the council's clock, not by the machine's
		pass(Every, 0)
		wants(t, c, wall, "")
	}
	pass(Every, time.Second) // NTP sets it right
	wants(t, c, wall, "")
	for step, want := range map[time.Duration]string{24 * time.Hour: "stepped by +86400 s", -24 * time.Hour: "stepped by -86400 s", 87600 * time.Hour: "stepped by +315360000 s"} {
		pass(Every, step)
		wants(t, c, wall, want)
		pass(Every, 0)
		wants(t, c, wall, want) // it is told for a while
		pass(stepTold, 0)
		wants(t, c, wall, "")
	}
}

func TestCertificate(t *testing.T) {
	now := time.Now()
	from, until, bad := now.Add(-time.Hour), now.Add(100*time.Hour), error(nil)
	c := Certificate(func(time.Time) (time.Time, time.Time, error) { return from, until, bad }, 48*time.Hour)
	wants(t, c, now, "")
	bad = errors.New("no certificate in it")
	wants(t, c, now, "the old certificate stays in use: no certificate in it")
	bad = nil
	wants(t, c, now.Add(53*time.Hour), "expires on")
	wants(t, c, now.Add(101*time.Hour), "expired on")
	wants(t, c, now.Add(-2*time.Hour), "not valid before")
	wants(t, Certificate(func(time.Time) (time.Time, time.Time, error) { return from, until, nil }, 0), until.Add(-time.Second), "")
}

func TestClients(t *testing.T) {
	now := time.Now()
	rows := []siprec.Peer{
		{Addr: netip.MustParseAddr("10.0.0.5"), Calls: 3, Heard: now},
		{Addr: netip.MustParseAddr("10.0.0.6"), Heard: now.Add(-time.Hour)}, // never placed a call nor asked
	}
	peers := func() ([]siprec.Peer, siprec.Strangers) { return rows, siprec.Strangers{} }
	c := Clients(peers, time.Minute)
	wants(t, c, now, "")
	wants(t, c, now.Add(time.Minute), "10.0.0.5")
	wants(t, Clients(peers, 0), now.Add(time.Hour), "")
}

func TestMalformed(t *testing.T) {
	now, n := time.Now(), uint64(0)
	c := Malformed(func() map[string]uint64 { return map[string]uint64{"malformed": n} })
	for s := range 60 {
		n += 2 // a few are noise
		wants(t, c, now.Add(time.Duration(s)*Every), "")
	}
	now, n = now.Add(60*Every), n+muchMalformed
	wants(t, c, now, "no SIP")
	for s := 1; time.Duration(s)*Every <= malformedIn+Every; s++ {
		c.Look(now.Add(time.Duration(s) * Every))
	}
	wants(t, c, now.Add(malformedIn+2*Every), "")
}

func TestBacklog(t *testing.T) {
	now, h := time.Now(), store.Health{Live: 10, Backlog: muchBacklog}
	c := Backlog(func() store.Health { return h })
	wants(t, c, now, "")
	h.Backlog++
	wants(t, c, now, "") // a burst
	wants(t, c, now.Add(backlogFor), "more slowly than they come")
	h.Live = 200 // each of them has one at the cut
	wants(t, c, now.Add(backlogFor), "")
}

func TestMemory(t *testing.T) {
	limit := uint64(1 << 40)
	c := Memory(func() uint64 { return limit })
	wants(t, c, time.Now(), "")
	limit = resident() // all of it
	wants(t, c, time.Now(), "memory that the process may have is used")
	limit = 0 // there is none
	wants(t, c, time.Now(), "")
	if resident() < 1<<20 {
		t.Errorf("this process has %d bytes", resident())
	}
}

func TestAddress(t *testing.T) {
	list := []net.Addr{&net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: net.CIDRMask(8, 32)}, &net.IPNet{IP: net.IPv4(10, 0, 0, 5), Mask: net.CIDRMask(24, 32)}}
	interfaces := func() ([]net.Addr, error) { return list, nil }
	for addr, want := range map[string]string{"10.0.0.5": "", "10.0.0.6": "is not an address of this machine", "127.0.0.9": "", "::1": "is not"} {
		wants(t, Address(netip.MustParseAddr(addr), interfaces), time.Now(), want)
	}
	list = list[:1]
	wants(t, Address(netip.MustParseAddr("10.0.0.5"), interfaces), time.Now(), "no media can arrive")
	wants(t, Address(netip.MustParseAddr("127.0.0.1"), net.InterfaceAddrs), time.Now(), "")
	wants(t, Address(netip.MustParseAddr("10.0.0.5"), func() ([]net.Addr, error) { return nil, errors.New("x") }), time.Now(), "")
}

func TestFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wants(t, File("x", path, "trouble"), time.Now(), "") // never was there
	write("a")
	f, c := File("x", path, "trouble"), Configuration(path)
	wants(t, f, time.Now(), "")
	wants(t, c, time.Now(), "")
	write("b")
	wants(t, f, time.Now(), "")
	wants(t, c, time.Now(), "was changed")
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	wants(t, f, time.Now(), "is gone")
	wants(t, c, time.Now(), "cannot be read any more: no such file")
	write("a")
	wants(t, f, time.Now(), "another file")
	wants(t, c, time.Now(), "")
	wants(t, Keys(func() error { return errors.New("host key: no") }), time.Now(), "the next start will fail: host key: no")
	wants(t, Keys(func() error { return nil }), time.Now(), "")
	wants(t, Descriptors(), time.Now(), "")
}

// TestRun shows that a check that hangs holds up no other, and not the end.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		said := map[string]string{}
		hang, wrong := make(chan struct{}), "wrong"
		checks := []Check{
			{"hangs", func(time.Time) string { <-hang; return "" }},
			{"works", func(time.Time) string { mu.Lock(); defer mu.Unlock(); return wrong }},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			Run(ctx, checks, func(name, text string) { mu.Lock(); defer mu.Unlock(); said[name] = text }, slog.New(slog.DiscardHandler))
		}()
		synctest.Wait()
		mu.Lock()
		if !maps.Equal(said, map[string]string{"works": "wrong"}) {
			t.Errorf("said %v", said)
		}
		wrong = ""
		mu.Unlock()
		<-time.After(Every)
		synctest.Wait()
		mu.Lock()
		if said["works"] != "" {
			t.Errorf("said %v", said)
		}
		mu.Unlock()
		began := time.Now()
		cancel()
		<-done
		if took := time.Since(began); took > leaveWithin {
			t.Errorf("the end took %v", took)
		}
		close(hang)
	})
}
