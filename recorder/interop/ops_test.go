package interop_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"siprecd/recorder"
)

func opsRows() []row {
	return []row{
		{numbers: "130", name: "OPTIONS: 200 at once, whatever it is addressed to", run: options},
		{numbers: "130 131 R56", name: "draining: 503 and Retry-After, and live calls go on", run: draining},
		{numbers: "132", name: "standby: inactive first, active by re-INVITE", run: standby},
		{numbers: "133 R26 R57", name: "TLS 1.2 and 1.3, with and without client certificates", with: withTLS(true), run: transportSecurity},
		{numbers: "134", name: "the connection breaks, the BYE comes on another", run: otherConnection},
		{numbers: "135", name: "mixed shapes over UDP and TCP at once", run: crowd},
		{numbers: "137", name: "what is too much is refused, and live calls are not touched", with: func(s *setup) {
			s.media.PortMax = s.media.PortMin + 23
		}, run: flood},
		{numbers: "139", name: "IPv6 and ANAT offers are answered", with: func(s *setup) {
			s.sip.Listen = append(s.sip.Listen, "tcp://[::1]:0")
		}, run: dualStack},
		{numbers: "140", name: "the status shows the call as it is", run: statusOfCall},
		{numbers: "136", name: "no challenge by default, whatever credentials come", run: variant(func(i *invite) {
			i.head = append(i.head, `Authorization: Digest username="sbc", realm="x", nonce="1", uri="sip:127.0.0.1", response="00"`)
		})},
		{numbers: "R4", name: "siprec in Supported is harmless", run: variant(func(i *invite) { i.head = []string{"Supported: siprec, replaces"} })},
		{numbers: "R1", name: "strict: without both marks it is no recording session", with: func(s *setup) {
			s.rec.Peer = peerOptions(recorder.PeerOptions{Strict: true})
		}, run: strict},
	}
}

func (p *peer) options(uri string) message {
	p.t.Helper()
	id := fmt.Sprintf("opt-%d", calls.Add(1))
	p.send(request("OPTIONS "+uri, []string{
		fmt.Sprintf("Via: SIP/2.0/%s %s;branch=z9hG4bK%s;rport", strings.ToUpper(p.network), p.from, id),
		"From: <sip:ping@127.0.0.1>;tag=1", "To: <" + uri + ">", "Call-ID: " + id, "CSeq: 1 OPTIONS", "Max-Forwards: 0",
	}, ""))
	return p.final(id, "1 OPTIONS")
}

func options(t *testing.T, r *rig) {
	for _, network := range []string{"udp", "tcp"} {
		p := r.dial(network)
		for _, uri := range []string{"sip:127.0.0.1", "sip:any@nowhere.example", "sip:02088257050@[::1]:5060;transport=udp"} {
			sent := time.Now()
			m := p.options(uri)
			if m.code != 200 || m.at.Sub(sent) > 5*time.Second {
				t.Errorf("OPTIONS %s answered %s after %v", uri, m.first, m.at.Sub(sent))
			}
			for _, want := range []string{"application/sdp", "multipart/mixed", "application/rs-metadata", "application/rs-metadata+xml"} {
				if !strings.Contains(m.head.Get("Accept"), want) {
					t.Errorf("Accept %q lacks %s", m.head.Get("Accept"), want)
				}
			}
			if !strings.Contains(m.head.Get("Allow"), "UPDATE") {
				t.Errorf("Allow %q", m.head.Get("Allow"))
			}
		}
	}
}

func draining(t *testing.T, r *rig) {
	d, _ := r.basic()
	talk := time.Now()
	d.play(200)
	r.rec.Drain()
	_, l := r.two()
	p := r.dial("udp")
	e := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p))
	e.is(503)
	for _, m := range []message{e.answer, p.options("sip:127.0.0.1")} {
		if m.code != 503 || m.head.Get("Retry-After") == "" {
			t.Errorf("answered %s, Retry-After %q", m.first, m.head.Get("Retry-After"))
		}
	}
	if m := d.ask("UPDATE", "", ""); m.code != 200 {
		t.Errorf("a live call's UPDATE answered %s", m.first)
	}
	d.play(300)
	d.bye()
	r.one().heard(talk, d.over, "0", "1")
}

func standby(t *testing.T, r *rig) {
	d, l := inactiveCall(r)
	d.ack()
	for _, a := range d.lines() {
		if a.dir != "inactive" || a.port == 0 {
			t.Errorf("answered %s", a.text)
		}
	}
	pause(400 * time.Millisecond)
	ending := time.Now()
	l[0].dir, l[1].dir = "sendonly", "sendonly"
	d.reoffer(l...)
	active := time.Now()
	d.play(400)
	d.bye()
	k := r.one()
	k.heard(active, d.over, "0", "1")
	k.hasGap("hold", d.begun, ending)
}

func transportSecurity(t *testing.T, r *rig) {
	try := func(change func(*tls.Config)) error {
		c := clientTLS(t, true)
		change(c)
		conn, err := connect("tls", r.target("tls"), "127.0.0.1:0", c)
		if err != nil {
			return err
		}
		defer conn.Close()
		// In TLS 1.3 the refusal of a certificate comes after the handshake; a
		// good connection answers the ping at once.
		if _, err := conn.Write([]byte("\r\n\r\n")); err != nil {
			return err
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err = conn.Read(make([]byte, 10)); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("neither answered nor refused: %v", err)
		}
		return err
	}
	for name, c := range map[string]struct {
		change func(*tls.Config)
		ok     bool
	}{
		"1.2":               {func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		"1.3":               {func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }, true},
		"1.1":               {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, false},
		"no certificate":    {func(c *tls.Config) { c.Certificates = nil }, false},
		"expired":           {func(c *tls.Config) { c.Certificates[0] = house().issue("old", time.Now().Add(-time.Hour)) }, false},
		"unknown authority": {func(c *tls.Config) { c.Certificates[0] = newAuthority().issue("sbc", time.Now().Add(time.Hour)) }, false},
	} {
		if err := try(c.change); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !strings.Contains(r.log.String(), "TLS") && !r.counted("tls-handshake") {
		t.Errorf("nothing tells of the refusals: %v", r.sip.Counters())
	}
	p := r.dialFrom("tls", "127.0.0.1:0", clientTLS(t, true))
	s, l := r.two()
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p), s...).ok().ack().play(300)
	d.bye()
	k := r.one()
	if k.d.Client == nil || k.d.Client.Subject != "sbc.example" {
		t.Errorf("the client's identity is not kept: %+v", k.d.Client)
	}
}

func otherConnection(t *testing.T, r *rig) {
	d, _ := r.basic()
	talk := time.Now()
	d.play(300)
	_ = d.p.conn.Close()
	d.play(300)
	d.p = r.dial("tcp")
	d.bye()
	k := r.one()
	k.heard(talk, d.over, "0", "1")
	k.spans(d)
}

// crowd places twenty captured shapes at once, half of them over UDP.
func crowd(t *testing.T, r *rig) {
	files := []string{"audiocodes-rfc7865", "oracle-complete", "opensips-labels-1-0", "sonus-caller-label-2", "jambonz-raw-uuids",
		"sems-letter-labels", "webex-metadata-first", "netsapiens-1-0", "cube-gtd-no-closing", "rfc7865-complete"}
	var ds []*dialog
	var all []*source
	for i, file := range files {
		s, _ := r.two()
		p := r.dial([]string{"udp", "tcp"}[i%2])
		text := strings.Replace(fixture(t, file), ";branch=", ";rport;branch=", 1)
		if i%2 == 0 {
			text = strings.Replace(text, "SIP/2.0/TCP", "SIP/2.0/UDP", 1)
		}
		d := p.place(text, s...).ok().ack()
		for n, a := range d.lines() {
			if a.fmts[0] == "8" {
				s[n].codec(8, aLaw)
			} else if a.fmts[0] != "0" {
				s[n].codec(map[bool]byte{true: 0, false: 8}[strings.Contains(" "+strings.Join(a.fmts, " ")+" ", " 0 ")], s[n].encode)
			}
		}
		ds, all = append(ds, d), append(all, s...)
	}
	talk := time.Now()
	play(600*time.Millisecond, all...)
	end := time.Now()
	var wg sync.WaitGroup
	for _, d := range ds {
		wg.Go(func() { d.p.send(d.inDialog("BYE", d.cseq+1, "", "")) })
	}
	wg.Wait()
	for _, k := range r.finished(len(files)) {
		l, rt := k.tones(0, k.at(talk)+0.1, k.at(end)-0.05, share), k.tones(1, k.at(talk)+0.1, k.at(end)-0.05, share)
		if l+rt != "01" && l+rt != "10" {
			t.Errorf("%s: heard %q and %q", k.row.Line, l, rt)
		}
		if k.row.Line == "" || len(k.d.Parties) != 2 {
			t.Errorf("line %q, parties %q", k.row.Line, k.parties())
		}
	}
}

// flood places more calls than there are ports for.
func flood(t *testing.T, r *rig) {
	live, _ := r.basic()
	talk := time.Now()
	live.play(300)
	before := time.Now()
	p := r.dial("tcp")
	var up []*dialog
	refusals := 0
	for range 12 {
		_, l := r.two()
		d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p))
		switch {
		case d.answer.code == 200:
			up = append(up, d.ack())
		case d.answer.code == 503 && d.answer.head.Get("Retry-After") != "":
			refusals++
		default:
			t.Errorf("answered %s", d.answer.first)
		}
	}
	if refusals == 0 || len(up) == 0 {
		t.Errorf("%d refused, %d taken", refusals, len(up))
	}
	after := time.Now()
	live.play(300)
	live.bye()
	for _, d := range up {
		d.bye()
	}
	for _, k := range r.finished(1 + len(up)) {
		if k.d.CallID == live.callID {
			k.heard(talk, before, "0", "1")
			k.heard(after, live.over, "0", "1")
		}
	}
	alive(t, r)
}

func dualStack(t *testing.T, r *rig) {
	// An ANAT offer: either of two lines for each party; IPv6 first.
	s, l := r.two()
	six := func(x line, label string) line {
		x.addr, x.label = "", label
		x.attrs = append(x.attrs, "c=IN IP6 2001:db8::1")
		return x
	}
	p := r.dial("tcp")
	i := p.newInvite(both(strings.Replace(describe("127.0.0.1", 1, six(l[0], "1"), l[1]), "t=0 0\r\n", "t=0 0\r\na=group:ANAT 1 2\r\n", 1), twoParties()))
	i.head = []string{"Require: siprec", "Supported: sdp-anat"}
	d := p.place(i.text(p), s...).ok().ack()
	talk := time.Now()
	d.play(400)
	d.bye()
	r.one().heard(talk, d.over, "0", "1")
	// SIP over IPv6.
	var target string
	for _, a := range r.addrs {
		if strings.Contains(a, "[::1]") {
			target = strings.TrimPrefix(a, "tcp://")
		}
	}
	conn, err := net.Dial("tcp6", target)
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	q := r.attach("tcp", conn)
	s, l = r.two()
	e := q.place(q.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(q), s...).ok().ack().play(200)
	e.bye()
	r.finished(2)
}

func statusOfCall(t *testing.T, r *rig) {
	d, l := r.basic()
	l[1].dir = "inactive"
	d.reoffer(l...)
	d.play(300)
	await(t, "the status", func() bool {
		st := r.rec.Status()
		return len(st.Calls) == 1 && len(st.Calls[0].Legs) == 2 && st.Calls[0].Legs[0].Packets > 5
	})
	st := r.rec.Status()
	c := st.Calls[0]
	if !st.OK || c.Line != "Council tax" || c.Legs[0].Hold || !c.Legs[1].Hold || c.Legs[0].Channel != "left" {
		t.Errorf("status %+v", st)
	}
	text := fetch(t, r, "/status", "application/json")
	for _, bad := range []string{"02079460123", "Ann Resident", d.callID} {
		if strings.Contains(text, bad) {
			t.Errorf("the status shows %s", bad)
		}
	}
	for _, want := range []string{`"packets"`, `"hold"`, `"line"`, "Council tax"} {
		if !strings.Contains(text, want) {
			t.Errorf("the status lacks %s", want)
		}
	}
	d.bye()
	r.one()
}

func strict(t *testing.T, r *rig) {
	for _, c := range []struct {
		head []string
		tag  string
		ok   bool
	}{
		{[]string{"Require: siprec"}, ";+sip.src", true},
		{nil, ";+sip.src", false},
		{[]string{"Require: siprec"}, ";src", false},
	} {
		_, l := r.two()
		p := r.dial("tcp")
		i := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties()))
		i.head, i.contact = c.head, strings.Replace(i.contact, ";+sip.src", c.tag, 1)
		d := p.place(i.text(p))
		if (d.answer.code == 200) != c.ok || !c.ok && (d.answer.code < 400 || d.answer.code > 499) {
			t.Errorf("%q %s answered %s", c.head, c.tag, d.answer.first)
		}
		if d.answer.code == 200 {
			d.ack().bye()
		}
	}
}
