package uas

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"siprecd/siprec/sessiontimer"
	"siprecd/siprec/wire"
)

func TestAddressInUse(t *testing.T) {
	l := start(t, nil)
	for _, network := range []string{"udp", "tcp"} {
		_, err := NewServer(Config{Accept: l.Accept, Config: wire.Config{Listen: []string{network + "://" + l.addr(network)},
			Peers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Logger: slog.New(slog.DiscardHandler)}})
		if err == nil || !strings.Contains(err.Error(), l.addr(network)) {
			t.Errorf("%s: %v", network, err)
		}
	}
}

func TestOptionsAndMethods(t *testing.T) {
	ready := make(chan error, 1)
	l := start(t, func(c *Config, _ *timing) {
		c.Ready = func() error {
			select {
			case err := <-ready:
				return err
			default:
				return nil
			}
		}
	})
	p := l.dial(t, "udp")
	g := p.dialog("opt")
	g.send("OPTIONS", 1, "")
	r := p.want("OPTIONS", 200)
	if header(r, "Allow") != allowValue || header(r, "Accept") != "application/sdp, x/y" || header(r, "Supported") == "" {
		t.Errorf("200 is\n%s", r)
	}
	for i, m := range []string{"NOTIFY", "REFER", "SUBSCRIBE", "MESSAGE", "REGISTER", "PUBLISH", "FLY"} {
		g.send(m, i+2, "")
		if r := p.want(m, 405); header(r, "Allow") != allowValue {
			t.Errorf("405 is\n%s", r)
		}
	}
	for i, m := range []string{"PRACK", "INFO", "UPDATE"} {
		g.send(m, i+20, "")
		p.want(m, 481)
	}
	ready <- fmt.Errorf("disk full")
	g.send("OPTIONS", 40, "")
	if r := p.want("OPTIONS", 503); header(r, "Retry-After") != "10" {
		t.Errorf("503 is\n%s", r)
	}
	ready <- &Refusal{Code: 503, Reason: "Reserve Reached", RetryAfter: time.Minute}
	g.send("INVITE", 41, "x")
	if r := p.want("INVITE", 503); header(r, "Retry-After") != "60" || r.Reason != "Reserve Reached" {
		t.Errorf("503 is\n%s", r)
	}

	h := p.dialog("in")
	h.open()
	for i, c := range []struct {
		method string
		code   int
	}{{"OPTIONS", 200}, {"INFO", 200}, {"PRACK", 481}, {"NOTIFY", 405}, {"REFER", 405}, {"BYE", 200}} {
		h.send(c.method, i+2, "")
		r := p.want(c.method, c.code)
		if tag, _ := r.To().Params.Get("tag"); tag != h.to {
			t.Errorf("%s: tag %q", c.method, tag)
		}
	}
}

func TestRequire(t *testing.T) {
	l := start(t, nil)
	p := l.dial(t, "udp")
	for i, c := range []struct {
		lines []string
		bad   string
	}{
		{[]string{"Require: siprec"}, ""},
		{[]string{"Require: siprec, timer"}, ""},
		{[]string{"Require: siprec", "Require: 100rel"}, ""},
		{[]string{"Require: siprec", "Require: foo , Bar"}, "foo, Bar"},
		{[]string{"Proxy-Require: privacy", "Supported:", "Recv-Info:"}, ""},
	} {
		g := p.dialog(fmt.Sprint("req", i))
		g.send("INVITE", 1, "x", c.lines...)
		r := p.response("INVITE")
		if got := header(r, "Unsupported"); got != c.bad || (r.StatusCode == 420) != (c.bad != "") {
			t.Errorf("%q: %d, Unsupported %q", c.lines, r.StatusCode, got)
		}
		g.to, _ = r.To().Params.Get("tag")
		g.send("ACK", 1, "")
	}
}

func TestSessionTimerHeaders(t *testing.T) {
	l := start(t, nil)
	p := l.dial(t, "tcp")
	for i, c := range []struct {
		lines         []string
		code          int
		want, require string
	}{
		{nil, 200, "", ""},
		{[]string{"Supported: timer", "Session-Expires: 1800"}, 200, "1800;refresher=uac", "timer"},
		{[]string{"k: replaces, timer", "x: 1800;refresher=uac"}, 200, "1800;refresher=uac", "timer"},
		{[]string{"Supported: timer", "Session-Expires: 600 ; Refresher=UAS"}, 200, "600;refresher=uas", ""},
		{[]string{"Session-Expires: 1800"}, 200, "1800;refresher=uas", ""},
		{[]string{"Supported: timer", "Session-Expires: 60"}, 422, "", ""},
		{[]string{"Session-Expires: soon"}, 200, "", ""},
	} {
		g := p.dialog(fmt.Sprint("se", i))
		g.send("INVITE", 1, "x", c.lines...)
		r := p.want("INVITE", c.code)
		if header(r, "Session-Expires") != c.want || header(r, "Require") != c.require {
			t.Errorf("%q:\n%s", c.lines, r)
		}
		if c.code == 422 && header(r, "Min-SE") != "90" {
			t.Errorf("422 is\n%s", r)
		}
		g.to, _ = r.To().Params.Get("tag")
		g.send("ACK", 1, "")
	}
}

// What happens when a session timer runs down. The interval is shortened from
// within one of the dialog's own steps, for none under 90 s can be agreed.
func TestSessionTimerRunsDown(t *testing.T) {
	for name, c := range map[string]struct {
		timer sessiontimer.Refresh
		heard bool
		sent  string
	}{
		"silent": {sessiontimer.Refresh{Interval: 300 * time.Millisecond}, false, "BYE"},
		"heard":  {sessiontimer.Refresh{Interval: 300 * time.Millisecond}, true, ""},
		"ours":   {sessiontimer.Refresh{Interval: 300 * time.Millisecond, ByUs: true}, false, "UPDATE"},
	} {
		t.Run(name, func(t *testing.T) {
			l := start(t, nil)
			g := l.dial(t, "udp").dialog(name)
			g.open()
			d := l.call(name).d
			l.onHeard(func() bool { return c.heard })
			l.onChange(func(r *Request) error {
				d.timer, d.expiry = c.timer, c.timer.Deadline(time.Now())
				return &Refusal{Code: 488, Reason: "leave the timer alone"}
			})
			g.send("UPDATE", 2, "")
			g.p.want("UPDATE", 488)
			switch c.sent {
			case "":
				eventually(t, "counted", func() bool { return l.srv.Counters()["refresh-missing"] >= 2 })
				g.send("BYE", 9, "")
				g.p.want("BYE", 200)
			case "BYE":
				g.p.request("BYE", 200)
				l.storyOf(t, name, "INVITE 1, UPDATE 2; session expired")
			case "UPDATE":
				if r := g.p.request("UPDATE", 200); len(r.Body()) != 0 || !strings.HasSuffix(header(r, "Session-Expires"), ";refresher=uac") {
					t.Errorf("UPDATE is\n%s", r)
				}
				g.p.request("UPDATE", 481)
				l.storyOf(t, name, "INVITE 1, UPDATE 2; session lost")
			}
		})
	}
}

func TestDrainAndShutdown(t *testing.T) {
	l := start(t, nil)
	g := l.dial(t, "tcp").dialog("d")
	g.open()
	l.srv.Drain()
	other := l.dial(t, "udp").dialog("n")
	other.send("INVITE", 1, "x")
	if r := other.p.want("INVITE", 503); header(r, "Retry-After") == "" {
		t.Errorf("503 is\n%s", r)
	}
	other.send("OPTIONS", 2, "")
	other.p.want("OPTIONS", 503)
	g.send("UPDATE", 2, "x")
	g.p.want("UPDATE", 200)

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := l.srv.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if r := g.p.request("BYE", 200); !strings.Contains(header(r, "Reason"), "shuts down") {
		t.Errorf("BYE is\n%s", r)
	}
	l.storyOf(t, "d", "INVITE 1, UPDATE 2; shutdown")
	g.send("UPDATE", 3, "")
	g.p.want("UPDATE", 481)
	l.stop()
	if _, err := net.DialTimeout("tcp", l.addr("tcp"), time.Second); err == nil {
		t.Error("still listening")
	}
}

func TestServeEndsWithCallsUp(t *testing.T) {
	l := start(t, nil)
	started := make(chan struct{})
	g := l.dial(t, "udp").dialog("up")
	g.open()
	l.onAccept(func(ctx context.Context, _ *Request) error { close(started); <-ctx.Done(); return ctx.Err() })
	h := l.dial(t, "udp").dialog("opening")
	h.send("INVITE", 1, "x")
	<-started
	l.stop()
	h.p.want("INVITE", 503)
	g.p.request("BYE", 200)
	l.storyOf(t, "up", "INVITE 1; shutdown")
}

func TestPeersThatAreNotAllowed(t *testing.T) {
	l := start(t, func(c *Config, _ *timing) {
		c.Peers = []netip.Prefix{netip.MustParsePrefix("127.0.0.5/32"), netip.MustParsePrefix("192.0.2.0/24")}
	})
	p := l.dial(t, "udp")
	for i := range 50 {
		p.dialog(fmt.Sprint("no", i)).send("OPTIONS", 1, "")
	}
	eventually(t, "all dropped", func() bool { return l.srv.Counters()["peer-not-allowed"] == 50 })
	if n := l.srv.stack.TP.Pool("udp").Size(); n != 1 { // the listener itself
		t.Errorf("sipgo keeps %d UDP entries", n)
	}
	q := l.dial(t, "tcp")
	q.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := q.conn.Read(make([]byte, 1)); err == nil {
		t.Error("a stranger's connection was read")
	}
	if n := strings.Count(l.logs.String(), "allow-list"); n != 1 {
		t.Errorf("%d log lines:\n%s", n, l.logs)
	}
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 5)}}
	c, err := d.DialContext(t.Context(), "udp", l.addr("udp"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ok := &peer{t: t, network: "udp", conn: c}
	ok.dialog("yes").send("OPTIONS", 1, "")
	ok.want("OPTIONS", 200)
}

func TestMalformedIsAnswered(t *testing.T) {
	l := start(t, nil)
	for _, network := range []string{"udp", "tcp"} {
		p := l.dial(t, network)
		for name, spoil := range map[string]func(string) string{
			"open angle":  func(m string) string { return strings.Replace(m, ">;+sip.src", ";+sip.src", 1) },
			"cseq number": func(m string) string { return strings.Replace(m, "CSeq: 1", "CSeq: 2999999999", 1) },
			"cseq method": func(m string) string { return strings.Replace(m, "CSeq: 1 INVITE", "CSeq: 1 BYE", 1) },
			"route port":  func(m string) string { return strings.Replace(m, "Max-Forw", "Route: <sip:a:b;lr>\r\nMax-Forw", 1) },
			"bare lf":     func(m string) string { return strings.Replace(m, "\r\nMax-Forwards", "\nMax-Forwards", 1) },
			"folded via": func(m string) string {
				return strings.Replace(m, "CSeq: 1 ", "CSeq: 3000000000\r\n\tINVITE\r\nX: 1 ", 1)
			},
		} {
			id := strings.ReplaceAll(name, " ", "")
			bad := spoil(p.dialog("bad-"+id).msg("INVITE", 1, "x"))
			p.send(bad)
			got := string(p.raw(3 * time.Second))
			if !strings.HasPrefix(got, "SIP/2.0 400 ") || !strings.Contains(got, "Call-ID: bad-"+id) ||
				!strings.Contains(got, "branch=z9hG4bKbad-"+id) {
				t.Errorf("%s, %s: got\n%s", network, name, got)
			}
		}
		// The connection is as good as before.
		g := p.dialog("good" + network)
		g.open()
		p.send(strings.Replace(g.msg("ACK", 1, ""), "CSeq: 1 ACK", "CSeq: x ACK", 1))
		g.send("BYE", 2, "")
		p.want("BYE", 200)
	}
	u := l.dial(t, "udp")
	u.send(strings.Replace(u.dialog("long").msg("INVITE", 1, "x"), "Content-Length: 1", "Content-Length: 99", 1))
	u.want("INVITE", 400)
	u.send("\r\n\r\n" + u.dialog("blank").msg("OPTIONS", 1, ""))
	u.want("OPTIONS", 200)
	before := l.srv.Counters()["malformed"]
	u.send("not SIP at all 020 8825 7050")
	u.send("INVITE sip:02088257050@127.0.0.1 SIP/2.0\r\n\r\n")
	eventually(t, "counted", func() bool { return l.srv.Counters()["malformed"] == before+2 })
}

func TestKeepAliveOnAStream(t *testing.T) {
	l := start(t, nil)
	p := l.dial(t, "tcp")
	p.send("\r\n\r\n")
	b := make([]byte, 2)
	p.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(p.conn, b); err != nil || string(b) != "\r\n" {
		t.Fatalf("%q, %v", b, err)
	}
	p.send("\r\n" + p.dialog("after").msg("OPTIONS", 1, ""))
	p.want("OPTIONS", 200)
}

func TestLargeAnswerOverUDP(t *testing.T) {
	l := start(t, nil)
	g := l.dial(t, "udp").dialog("big")
	g.open()
	body := strings.Repeat("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline\r\n", 200)
	g.send("UPDATE", 2, body)
	if r := g.p.want("UPDATE", 200); string(r.Body()) != body {
		t.Errorf("%d bytes came back of %d", len(r.Body()), len(body))
	}
}

func TestContactOfAWildcardListener(t *testing.T) {
	l := start(t, func(c *Config, _ *timing) { c.Listen = []string{"udp://:0", "tcp://0.0.0.0:0"} })
	for _, network := range []string{"udp", "tcp"} {
		_, port, _ := net.SplitHostPort(l.addr(network))
		c, err := net.Dial(network, net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		p := &peer{t: t, network: network, conn: c}
		g := p.dialog("w" + network)
		if r := g.open(); !strings.HasPrefix(header(r, "Contact"), "<sip:127.0.0.1:"+port) {
			t.Errorf("%s: Contact %q", network, header(r, "Contact"))
		}
		l.call(g.callID).d.Hangup("test")
		p.request("BYE", 200)
	}
}

// Nothing goes to an address that is not allowed, whatever the Contact says.
func TestByeNeverLeavesTheAllowList(t *testing.T) {
	l := start(t, nil)
	for _, c := range []string{"<sip:192.0.2.9:5060>", "<sip:sbc.invalid>", "*"} {
		g := l.dial(t, "udp").dialog("contact" + fmt.Sprint(len(c)))
		g.send("INVITE", 1, "x")
		r := g.p.want("INVITE", 200)
		g.to, _ = r.To().Params.Get("tag")
		msg := g.msg("UPDATE", 2, "x")
		i := strings.Index(msg, "Contact: ")
		j := i + strings.Index(msg[i:], "\r\n")
		g.p.send(msg[:i] + "Contact: " + c + msg[j:])
		g.p.want("UPDATE", 200)
		l.call(g.callID).d.Hangup("test")
		g.p.request("BYE", 200)
	}
}

func TestLogsHoldNoNumbers(t *testing.T) {
	l := start(t, nil)
	p := l.dial(t, "tcp")
	u := l.dial(t, "udp")
	for i, m := range []string{"", "\r\n", "X"} {
		g := p.dialog(fmt.Sprint("02088257050-", i))
		p.send(strings.Replace(g.msg("INVITE", 1, "x"), "sip:srs@", "sip:02088257050@", -1) + m)
	}
	u.send("INVITE sip:02088257050@127.0.0.1 SIP/2.0\r\nFrom: <sip:02088257050@x\r\n\r\n")
	p.want("INVITE", 200)
	p.conn.Close()
	l.stop()
	if strings.Contains(l.logs.String(), "8825") {
		t.Errorf("the log holds a number:\n%s", l.logs)
	}
}

func TestServerThatIsNeverServed(t *testing.T) {
	cfg := Config{Accept: (&app{}).Accept, Config: wire.Config{Listen: []string{"udp://127.0.0.1:0", "tcp://127.0.0.1:0"},
		Peers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Logger: slog.New(slog.DiscardHandler)}}
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen = s.Addrs()
	s.Close()
	s.Close()
	again, err := NewServer(cfg)
	if err != nil {
		t.Fatalf("the addresses are still taken: %v", err)
	}
	again.Close()
}
