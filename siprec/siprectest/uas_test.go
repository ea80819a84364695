package siprectest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/big"
	"mime"
	"mime/multipart"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
	"github.com/pion/rtp"
)

// uas is the smallest recorder that a client can be held against. It shares no
// code with siprecd.
type uas struct {
	t      *testing.T
	target string
	tls    *tls.Config // for the client
	srv    *sipgo.Server

	mu       sync.Mutex
	requests []*sip.Request
	ports    []*rtpPort
	answer   func(u *uas, req *sip.Request, tx sip.ServerTransaction) // nil: 200 at once
	acked    chan struct{}                                            // one for each ACK
	byed     chan struct{}
}

// arrival is one RTP packet and when it came.
type arrival struct {
	rtp.Packet
	at time.Time
}

// rtpPort takes what one leg sends.
type rtpPort struct {
	conn *net.UDPConn
	mu   sync.Mutex
	got  []arrival
	raw  [][]byte // what is not RTP
}

func newUAS(t *testing.T, network string) *uas {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	ua, err := sipgo.NewUA(
		sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(quiet)),
		sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(quiet)))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := sipgo.NewServer(ua, sipgo.WithServerLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	u := &uas{t: t, srv: srv, acked: make(chan struct{}, 1000), byed: make(chan struct{}, 1000)}
	srv.OnInvite(u.onInvite)
	srv.OnAck(func(req *sip.Request, _ sip.ServerTransaction) { u.keep(req); u.acked <- struct{}{} })
	srv.OnBye(func(req *sip.Request, tx sip.ServerTransaction) {
		u.keep(req)
		_ = tx.Respond(sip.NewResponseFromRequest(req, 200, "OK", nil))
		u.byed <- struct{}{}
	})
	other := func(req *sip.Request, tx sip.ServerTransaction) {
		u.keep(req)
		_ = tx.Respond(sip.NewResponseFromRequest(req, 200, "OK", nil))
	}
	srv.OnUpdate(other)
	srv.OnInfo(other)
	u.serve(network)
	t.Cleanup(func() {
		_ = ua.Close()
		u.mu.Lock()
		defer u.mu.Unlock()
		for _, p := range u.ports {
			_ = p.conn.Close()
		}
	})
	return u
}

func (u *uas) serve(network string) {
	u.t.Helper()
	if network == "udp" {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			u.t.Fatal(err)
		}
		u.target = "udp://" + conn.LocalAddr().String()
		u.t.Cleanup(func() { _ = conn.Close() })
		go func() { _ = u.srv.ServeUDP(conn) }()
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { _ = l.Close() })
	u.target = network + "://" + l.Addr().String()
	if network == "tcp" {
		go func() { _ = u.srv.ServeTCP(l) }()
		return
	}
	cert, pool := certificate(u.t)
	u.tls = &tls.Config{RootCAs: pool}
	go func() { _ = u.srv.ServeTLS(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})) }()
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func (u *uas) keep(req *sip.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.requests = append(u.requests, req)
}

// seen are the requests of a method, in order.
func (u *uas) seen(method sip.RequestMethod) (out []*sip.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, r := range u.requests {
		if r.Method == method {
			out = append(out, r)
		}
	}
	return out
}

// answers says what INVITEs get from now on.
func (u *uas) answers(f func(u *uas, req *sip.Request, tx sip.ServerTransaction)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answer = f
}

func (u *uas) onInvite(req *sip.Request, tx sip.ServerTransaction) {
	u.keep(req)
	u.mu.Lock()
	answer := u.answer
	u.mu.Unlock()
	if answer == nil {
		answer = func(u *uas, req *sip.Request, tx sip.ServerTransaction) { _ = tx.Respond(u.ok(req)) }
	}
	answer(u, req, tx)
}

var mline = regexp.MustCompile(`(?m)^m=(\w+) \d+ (\S+) ([^\r\n]+)`)

// ok is a 200 that takes every m-line of the offer on ports of its own; a
// re-INVITE gets the same ports, and inactive for inactive.
func (u *uas) ok(req *sip.Request) *sip.Response {
	sdp := bodyPart(u.t, req, "application/sdp")
	blocks := mline.FindAllStringSubmatchIndex(sdp, -1)
	var b strings.Builder
	b.WriteString("v=0\r\no=srs 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n")
	for i, m := range blocks {
		end := len(sdp)
		if i+1 < len(blocks) {
			end = blocks[i+1][0]
		}
		block := sdp[m[0]:end]
		direction := "recvonly"
		if strings.Contains(block, "a=inactive") {
			direction = "inactive"
		}
		label := regexp.MustCompile(`a=label:(\S+)`).FindStringSubmatch(block)
		fmt.Fprintf(&b, "m=%s %d %s %s\r\na=%s\r\n", sdp[m[2]:m[3]], u.port(i), sdp[m[4]:m[5]], sdp[m[6]:m[7]], direction)
		if label != nil {
			fmt.Fprintf(&b, "a=label:%s\r\n", label[1])
		}
	}
	res := sip.NewSDPResponseFromRequest(req, []byte(b.String()))
	res.AppendHeader(sip.NewHeader("Contact", "<sip:srs@"+strings.SplitN(u.target, "//", 2)[1]+">;+sip.srs"))
	return res
}

// port is the number of RTP port i.
func (u *uas) port(i int) int { return u.open(i).conn.LocalAddr().(*net.UDPAddr).Port }

// open is RTP port i, opened when first asked for.
func (u *uas) open(i int) *rtpPort {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.ports) <= i {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			panic(err) // not on the test's goroutine
		}
		_ = conn.SetReadBuffer(4 << 20)
		p := &rtpPort{conn: conn}
		u.ports = append(u.ports, p)
		go p.read()
	}
	return u.ports[i]
}

func (p *rtpPort) read() {
	buf := make([]byte, 2000)
	for {
		n, err := p.conn.Read(buf)
		if err != nil {
			return
		}
		now := time.Now()
		b := append([]byte(nil), buf[:n]...)
		var pkt rtp.Packet
		p.mu.Lock()
		if err := pkt.Unmarshal(b); err != nil || b[0]>>6 != 2 {
			p.raw = append(p.raw, b)
		} else {
			p.got = append(p.got, arrival{pkt, now})
		}
		p.mu.Unlock()
	}
}

// packets are what port i has got, once it has n or a second has passed.
func (u *uas) packets(i, n int) []arrival {
	u.t.Helper()
	p := u.open(i)
	var got []arrival
	poll(u.t, fmt.Sprintf("%d packets on port %d", n, i), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		got = append([]arrival(nil), p.got...)
		return len(got) >= n
	})
	return got
}

// poll waits until a condition holds.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(5 * time.Second)
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// bodyPart is the part of that type of a request's body, parsed by the
// standard library.
func bodyPart(t *testing.T, req *sip.Request, want string) string {
	t.Helper()
	ct := req.GetHeader("Content-Type")
	if ct == nil {
		return ""
	}
	kind, params, err := mime.ParseMediaType(ct.Value())
	if err != nil {
		t.Errorf("Content-Type %q: %v", ct.Value(), err)
		return ""
	}
	if kind == want {
		return string(req.Body())
	}
	if kind != "multipart/mixed" {
		return ""
	}
	for _, p := range parts(t, string(req.Body()), params["boundary"]) {
		if p.kind == want {
			return p.body
		}
	}
	return ""
}

type bodyPartT struct{ kind, disposition, body string }

func parts(t *testing.T, body, boundary string) (out []bodyPartT) {
	t.Helper()
	r := multipart.NewReader(strings.NewReader(body), boundary)
	for {
		p, err := r.NextRawPart()
		if err != nil {
			return out
		}
		var b strings.Builder
		buf := make([]byte, 4096)
		for {
			n, err := p.Read(buf)
			b.Write(buf[:n])
			if err != nil {
				break
			}
		}
		out = append(out, bodyPartT{p.Header.Get("Content-Type"), p.Header.Get("Content-Disposition"), b.String()})
	}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
