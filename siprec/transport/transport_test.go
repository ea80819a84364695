package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a listener whose connections are read to their end, as a SIP stack
// does.
type rig struct {
	*Listener
	mu     sync.Mutex
	counts map[string]int
	got    []string // what Read gave, per call of it
	wg     sync.WaitGroup
}

func start(t *testing.T, tune func(*Config)) *rig {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{counts: map[string]int{}}
	cfg := Config{
		Allow: func(netip.Addr) bool { return true },
		Count: func(s string) { r.mu.Lock(); r.counts[s]++; r.mu.Unlock() },
		Screen: func(_ netip.Addr, m []byte) ([]byte, bool) {
			if bytes.HasPrefix(m, []byte("BAD")) {
				return []byte("400"), false
			}
			return nil, true
		},
	}
	if tune != nil {
		tune(&cfg)
	}
	r.Listener = Wrap(ln, cfg)
	r.wg.Go(func() {
		for {
			c, err := r.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.drain(c) })
		}
	})
	t.Cleanup(func() { r.CloseAll(); r.wg.Wait() })
	return r
}

func (r *rig) drain(c net.Conn) {
	defer c.Close()
	b := make([]byte, 100)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.got = append(r.got, string(b[:n]))
		r.mu.Unlock()
	}
}

func (r *rig) read() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.got, "|")
}

func (r *rig) count(s string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[s]
}

func (r *rig) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-late:
			t.Fatalf("did not happen: %s", what)
		case <-tick.C:
		}
	}
}

// closed waits until the other side closes.
func closed(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("not closed: %v", err)
	}
}

func TestWholeMessagesOnly(t *testing.T) {
	r := start(t, nil)
	c := r.dial(t)
	one, two := "A x\r\nContent-Length: 3\r\n\r\nabc", "B x\r\nl : 0\r\n\r\n"
	stream := one + "\r\n\r\n" + two + "BAD\r\nContent-Length: 2\r\n\r\nxx" + "\r\n" + one
	for i := range stream {
		io.WriteString(c, stream[i:i+1])
	}
	eventually(t, "all read", func() bool { return r.read() == one+"|"+two+"|"+one })
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "\r\n400" {
		t.Errorf("got back %q, %v", b, err)
	}
	// A large one comes in pieces.
	big := "C x\r\nContent-Length: 60000\r\n\r\n" + strings.Repeat("z", 60000)
	io.WriteString(c, big)
	eventually(t, "large one read", func() bool {
		return strings.HasSuffix(strings.ReplaceAll(r.read(), "|", ""), big)
	})
}

func TestNoBoundaryClosesTheConnection(t *testing.T) {
	for name, s := range map[string]string{
		"no length":    "A x\r\nVia: y\r\n\r\n",
		"bad length":   "A x\r\nContent-Length: many\r\n\r\n",
		"huge length":  "A x\r\nContent-Length: 2000000\r\n\r\n",
		"endless head": "A x\r\nX: " + strings.Repeat("y", 70000),
	} {
		r := start(t, nil)
		c := r.dial(t)
		io.WriteString(c, s)
		closed(t, c)
		if r.count("message-size") != 1 || r.read() != "" {
			t.Errorf("%s: %v, read %q", name, r.counts, r.read())
		}
	}
}

func TestDrippingAndSilentPeers(t *testing.T) {
	r := start(t, func(c *Config) {
		c.Limits = Limits{Message: 300 * time.Millisecond, First: 3 * time.Second}
	})
	silent, drip, idle := r.dial(t), r.dial(t), r.dial(t)
	io.WriteString(idle, "\r\n")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				io.WriteString(drip, "A")
			}
		}
	})
	closed(t, silent)
	closed(t, drip)
	close(stop)
	wg.Wait()
	eventually(t, "both counted", func() bool { return r.count("message-timeout") == 2 })
	// The idle one has spoken, and may rest as long as it likes.
	io.WriteString(idle, "A x\r\nContent-Length: 0\r\n\r\n")
	eventually(t, "idle one heard", func() bool { return r.read() != "" })
}

func TestCaps(t *testing.T) {
	r := start(t, func(c *Config) { c.Limits = Limits{PerIP: 3, Total: 5} })
	var open []net.Conn
	for range 3 {
		open = append(open, r.dial(t))
	}
	closed(t, r.dial(t))
	if r.count("too-many-connections") != 1 {
		t.Error(r.counts)
	}
	open[0].Close()
	eventually(t, "place is free", func() bool { r.Listener.mu.Lock(); defer r.Listener.mu.Unlock(); return len(r.conns) == 2 })
	c := r.dial(t)
	io.WriteString(c, "A x\r\nContent-Length: 0\r\n\r\n")
	eventually(t, "served", func() bool { return r.read() != "" })
}

// A connection that only holds a place gives it up for a new one; one that has
// brought a message keeps it.
func TestARoomFullOfSilenceKeepsNobodyOut(t *testing.T) {
	r := start(t, func(c *Config) { c.Limits = Limits{PerIP: 10, Total: 3} })
	good := r.dial(t)
	io.WriteString(good, "A x\r\nContent-Length: 0\r\n\r\n")
	eventually(t, "served", func() bool { return r.read() != "" })
	first := r.dial(t)
	eventually(t, "the first is in", func() bool { r.Listener.mu.Lock(); defer r.Listener.mu.Unlock(); return len(r.conns) == 2 })
	io.WriteString(first, "A x\r\nContent-Len")
	r.dial(t)
	late := r.dial(t)
	io.WriteString(late, "B x\r\nContent-Length: 0\r\n\r\n")
	eventually(t, "the late one is served", func() bool { return strings.Contains(r.read(), "B x") })
	closed(t, first)
	io.WriteString(good, "C x\r\nContent-Length: 0\r\n\r\n")
	eventually(t, "the good one is still there", func() bool { return strings.Contains(r.read(), "C x") })
	if r.count("connection-displaced") != 1 || r.count("too-many-connections") != 0 {
		t.Error(r.counts)
	}
	io.WriteString(r.dial(t), "D x\r\nContent-Length: 0\r\n\r\n")
	eventually(t, "the room is full of useful ones", func() bool { return strings.Contains(r.read(), "D x") })
	closed(t, r.dial(t))
	if r.count("too-many-connections") != 1 {
		t.Error(r.counts)
	}
}

func TestStrangersAreNotRead(t *testing.T) {
	r := start(t, func(c *Config) { c.Allow = func(a netip.Addr) bool { return a.String() != "127.0.0.1" } })
	closed(t, r.dial(t))
	if r.count("peer-not-allowed") != 1 {
		t.Error(r.counts)
	}
}

func TestTLSHandshakeHasADeadline(t *testing.T) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, func(c *Config) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
		c.Limits = Limits{Handshake: 3 * time.Second, First: 5 * time.Second}
	})
	stalled := r.dial(t)
	stalled.Write([]byte{22, 3})
	closed(t, stalled)
	if r.count("tls-handshake") != 1 {
		t.Error(r.counts)
	}
	c := tls.Client(r.dial(t), &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "A x\r\nContent-Length: 0\r\n\r\n")
	eventually(t, "served", func() bool { return r.read() != "" })
}

// failing gives out an error a few times before it serves.
type failing struct {
	net.Listener
	left int
}

func (f *failing) Accept() (net.Conn, error) {
	if f.left > 0 {
		f.left--
		return nil, errors.New("too many open files")
	}
	return f.Listener.Accept()
}

func TestPassingErrorsDoNotEndTheListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Wrap(&failing{ln, 2}, Config{Allow: func(netip.Addr) bool { return true }, Count: func(string) {}})
	defer l.CloseAll()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got.Close()
}

func TestQuietLog(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(Quiet(slog.NewTextHandler(&b, nil), time.Hour)).With("caller", "tp", "callid", "secret-1")
	for range 100 {
		log.Error("failed to parse", "data", "secret-2", "error", "bad line 'sip:02088257050@host'", "raddr", "192.0.2.1:5060")
	}
	log.Warn("other", "req", "secret-3")
	log.Debug("chatter")
	out := b.String()
	if strings.Contains(out, "secret") || strings.Contains(out, "8825") || strings.Count(out, "\n") != 2 {
		t.Errorf("log is\n%s", out)
	}
	for _, want := range []string{"level=WARN", "caller=tp", "raddr=192.0.2.1:5060"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is missing in\n%s", want, out)
		}
	}
	if log.Enabled(context.TODO(), slog.LevelDebug) {
		t.Error("debug lines are made")
	}
	b.Reset()
	now := slog.New(Quiet(slog.NewTextHandler(&b, nil), 0))
	for i := range 300 {
		now.Info(fmt.Sprint("m", i%280))
	}
	if strings.Count(b.String(), "\n") != 300 {
		t.Error("lines are missing with no interval")
	}
}

// FuzzStream: whatever comes in whatever pieces, what Read gives out is made
// of whole messages that passed the screen, and nothing hangs.
func FuzzStream(f *testing.F) {
	f.Add([]byte("A x\r\nContent-Length: 3\r\n\r\nabc"), 1)
	f.Add([]byte("\r\n\r\nBAD\r\nl: 0\r\n\r\nA\nl:0\n\n"), 3)
	f.Add([]byte("A x\r\nContent-Length: 99999999999999999999\r\n\r\n"), 7)
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		ours, theirs := net.Pipe()
		l := &Listener{cfg: Config{Limits: Limits{}.withDefaults(), Count: func(string) {}}, perIP: map[netip.Addr]int{}, conns: map[*conn]struct{}{}}
		passed := 0
		l.cfg.Screen = func(_ netip.Addr, m []byte) ([]byte, bool) {
			ok := !bytes.HasPrefix(m, []byte("BAD"))
			if end := headerEnd(m, 0); ok && end > 0 {
				if n, has := contentLength(m[:end]); has && end+n == len(m) {
					passed += len(m)
				}
			}
			return nil, ok
		}
		c := &conn{Conn: ours, owner: l, born: time.Now()}
		go io.Copy(io.Discard, theirs)
		var wg sync.WaitGroup
		wg.Go(func() {
			step := max(1, piece%100)
			for rest := in; len(rest) > 0; rest = rest[min(step, len(rest)):] {
				if _, err := theirs.Write(rest[:min(step, len(rest))]); err != nil {
					return
				}
			}
			theirs.Close()
		})
		n, err := io.Copy(io.Discard, struct{ io.Reader }{c})
		if int(n) != passed {
			t.Errorf("%d bytes given out, %d passed (%v)", n, passed, err)
		}
		ours.Close()
		wg.Wait()
	})
}
