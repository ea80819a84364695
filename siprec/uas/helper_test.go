package uas

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"go.uber.org/goleak"
	"siprecd/siprec/flood"
	"siprecd/siprec/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// app is an application that takes every call and notes what it is told.
type app struct {
	accept func(ctx context.Context, r *Request) error
	change func(r *Request) error
	heard  func() bool

	mu    sync.Mutex
	calls map[string]*appCall // by Call-ID
	opens int
}

type appCall struct {
	app *app
	d   *Dialog

	mu   sync.Mutex
	seen []string // method and CSeq of each request
	ends []End
}

func (a *app) Accept(ctx context.Context, d *Dialog, r *Request) (Call, Reply, error) {
	c := &appCall{app: a, d: d}
	a.mu.Lock()
	a.opens++
	a.calls[d.CallID()] = c
	accept := a.accept
	a.mu.Unlock()
	if accept != nil {
		if err := accept(ctx, r); err != nil {
			return nil, Reply{}, err
		}
	}
	c.see(r)
	return c, Reply{ContentType: "application/sdp", Body: []byte("v=0\r\n"), Offer: len(r.Body) == 0}, nil
}

func (a *app) call(id string) *appCall {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[id]
}

func (a *app) opened() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.opens
}

func (c *appCall) see(r *Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, fmt.Sprintf("%s %d", r.Method, r.CSeq))
}

func (c *appCall) story() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := strings.Join(c.seen, ", ")
	for _, e := range c.ends {
		s += "; " + e.Cause
	}
	return s
}

func (c *appCall) Change(_ context.Context, r *Request) (Reply, error) {
	c.see(r)
	c.app.mu.Lock()
	f := c.app.change
	c.app.mu.Unlock()
	if f != nil {
		if err := f(r); err != nil {
			return Reply{}, err
		}
	}
	if len(r.Body) == 0 {
		return Reply{}, nil
	}
	return Reply{ContentType: "application/sdp", Body: r.Body}, nil
}

func (c *appCall) Offer(context.Context) (Reply, error) {
	return Reply{ContentType: "application/sdp", Body: []byte("v=0\r\nm=ours\r\n"), Offer: true}, nil
}

func (c *appCall) Close(e End) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends = append(c.ends, e)
}

func (c *appCall) ended() []End {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]End(nil), c.ends...)
}

func (c *appCall) Receiving() bool {
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	return c.app.heard != nil && c.app.heard()
}

// onAccept, onChange and onHeard set what the application does.
func (a *app) onAccept(f func(context.Context, *Request) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.accept = f
}

func (a *app) onChange(f func(*Request) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.change = f
}

func (a *app) onHeard(f func() bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard = f
}

// lab is a running server with its application.
type lab struct {
	*app
	srv  *Server
	logs *syncBuffer
	stop func()
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func start(t *testing.T, tune func(*Config, *timing)) *lab {
	t.Helper()
	l := &lab{app: &app{calls: make(map[string]*appCall)}, logs: &syncBuffer{}}
	cfg := Config{
		Config: wire.Config{
			Listen: []string{"udp://127.0.0.1:0", "tcp://127.0.0.1:0", "tls://127.0.0.1:0"},
			Peers:  []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
			TLS:    testTLS(t), Logger: slog.New(slog.NewTextHandler(l.logs, nil)),
			Flood: flood.Limits{Rate: 10_000, Burst: 10_000, Pending: 10_000},
		},
		UserAgent: "test/1", MediaTypes: "application/sdp, x/y", Accept: l.Accept,
	}
	tm := standardTiming()
	if tune != nil {
		tune(&cfg, &tm)
	}
	srv, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv.time = tm
	l.srv = srv
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx) }()
	var once sync.Once
	l.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
	}
	t.Cleanup(l.stop)
	return l
}

func testTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func (l *lab) addr(network string) string {
	for _, a := range l.srv.Addrs() {
		if rest, ok := strings.CutPrefix(a, network+"://"); ok {
			return rest
		}
	}
	return ""
}

// peer is a recording client on a raw socket.
type peer struct {
	t       *testing.T
	network string
	conn    net.Conn
	buf     []byte
}

func (l *lab) dial(t *testing.T, network string) *peer {
	t.Helper()
	var c net.Conn
	var err error
	if network == "tls" {
		c, err = tls.Dial("tcp", l.addr("tls"), &tls.Config{InsecureSkipVerify: true})
	} else {
		c, err = net.Dial(network, l.addr(network))
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, network: network, conn: c}
	t.Cleanup(func() { c.Close() })
	return p
}

func (p *peer) send(msgs ...string) {
	p.t.Helper()
	var all string
	for _, m := range msgs {
		all += m
	}
	if _, err := io.WriteString(p.conn, all); err != nil {
		p.t.Fatal(err)
	}
}

// read returns the next message, or nil when none comes in time.
func (p *peer) read(patience time.Duration) sip.Message {
	p.t.Helper()
	raw := p.raw(patience)
	if raw == nil {
		return nil
	}
	m, err := sip.ParseMessage(raw)
	if err != nil {
		p.t.Fatalf("server sent what does not parse: %v\n%s", err, raw)
	}
	return m
}

// raw does as read, unparsed.
func (p *peer) raw(patience time.Duration) []byte {
	p.conn.SetReadDeadline(time.Now().Add(patience))
	chunk := make([]byte, 65536)
	for {
		if n := wholeMessage(p.buf); n > 0 {
			msg := p.buf[:n]
			p.buf = p.buf[n:]
			return msg
		}
		n, err := p.conn.Read(chunk)
		if err != nil {
			return nil
		}
		p.buf = append(p.buf, chunk[:n]...)
	}
}

func wholeMessage(b []byte) int {
	i := bytes.Index(b, []byte("\r\n\r\n"))
	if i < 0 {
		return 0
	}
	for line := range strings.SplitSeq(string(b[:i]), "\r\n") {
		var n int
		if _, err := fmt.Sscanf(strings.ToLower(line), "content-length: %d", &n); err == nil {
			if len(b) < i+4+n {
				return 0
			}
			return i + 4 + n
		}
	}
	return i + 4
}

// response reads until a final response to a method comes.
func (p *peer) response(method string) *sip.Response {
	p.t.Helper()
	for {
		m := p.read(15 * time.Second)
		if m == nil {
			p.t.Fatalf("no final response to %s", method)
		}
		if r, ok := m.(*sip.Response); ok && r.StatusCode >= 200 && string(r.CSeq().MethodName) == method {
			return r
		}
	}
}

func (p *peer) want(method string, code int) *sip.Response {
	p.t.Helper()
	r := p.response(method)
	if r.StatusCode != code {
		p.t.Fatalf("%s: got %d %s, want %d", method, r.StatusCode, r.Reason, code)
	}
	return r
}

// request reads until a request of the server's comes, and answers it.
func (p *peer) request(method string, answer int) *sip.Request {
	p.t.Helper()
	for {
		m := p.read(15 * time.Second)
		if m == nil {
			p.t.Fatalf("the server sent no %s", method)
		}
		if r, ok := m.(*sip.Request); ok && string(r.Method) == method {
			p.send(sip.NewResponseFromRequest(r, answer, "Answer", nil).String())
			return r
		}
	}
}

// dlg writes the requests of one dialog.
type dlg struct {
	p                      *peer
	callID, from, to, body string
	branch                 int
}

func (p *peer) dialog(callID string) *dlg {
	return &dlg{p: p, callID: callID, from: "f" + callID, body: "v=0\r\nclient\r\n"}
}

// msg writes a request. extra holds header lines; a line that begins with
// "Via" replaces the usual one.
func (g *dlg) msg(method string, cseq int, body string, extra ...string) string {
	g.branch++
	cseqMethod := method
	var b strings.Builder
	fmt.Fprintf(&b, "%s sip:srs@127.0.0.1 SIP/2.0\r\n", method)
	via := fmt.Sprintf("Via: SIP/2.0/%s %s;branch=z9hG4bK%s.%d;rport", strings.ToUpper(g.p.network), g.p.conn.LocalAddr(), g.callID, g.branch)
	var rest strings.Builder
	for _, e := range extra {
		if strings.HasPrefix(e, "Via:") {
			via = e
			continue
		}
		rest.WriteString(e + "\r\n")
	}
	to := "<sip:srs@127.0.0.1>"
	if g.to != "" {
		to += ";tag=" + g.to
	}
	fmt.Fprintf(&b, "%s\r\nMax-Forwards: 70\r\nFrom: <sip:src@127.0.0.1>;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\n",
		via, g.from, to, g.callID, cseq, cseqMethod)
	fmt.Fprintf(&b, "Contact: <sip:%s;transport=%s>;+sip.src\r\n%s", g.p.conn.LocalAddr(), g.p.network, rest.String())
	if body != "" {
		b.WriteString("Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return b.String()
}

func (g *dlg) send(method string, cseq int, body string, extra ...string) {
	g.p.t.Helper()
	g.p.send(g.msg(method, cseq, body, extra...))
}

// open sends the INVITE, takes the 200 and acknowledges it.
func (g *dlg) open(extra ...string) *sip.Response {
	g.p.t.Helper()
	r := g.invite(extra...)
	g.send("ACK", 1, "")
	return r
}

// invite does as open without the ACK.
func (g *dlg) invite(extra ...string) *sip.Response {
	g.p.t.Helper()
	g.send("INVITE", 1, g.body, extra...)
	r := g.p.want("INVITE", 200)
	g.to, _ = r.To().Params.Get("tag")
	return r
}

// eventually polls a condition, for at most ten seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
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

func (l *lab) storyOf(t *testing.T, callID, want string) {
	t.Helper()
	c := l.call(callID)
	if c == nil {
		t.Fatalf("no call %s", callID)
	}
	eventually(t, fmt.Sprintf("story %q; it is %q", want, c.story()), func() bool { return c.story() == want })
}

func (l *lab) empty(t *testing.T) {
	t.Helper()
	eventually(t, "all dialogs forgotten", func() bool {
		l.srv.mu.Lock()
		defer l.srv.mu.Unlock()
		return len(l.srv.dialogs)+len(l.srv.initial)+len(l.srv.early) == 0
	})
}

func header(m sip.Message, name string) string { return wire.Text(m, name) }
