package interop_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// variant places an ordinary call whose INVITE change has altered, and judges
// that both parties are recorded, each in the right channel.
func variant(change func(*invite)) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		s, l := r.two()
		p := r.dial("tcp")
		i := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties()))
		change(i)
		d := p.place(i.text(p), s...).ok().ack().play(600)
		d.bye()
		k := r.one()
		k.on("Council tax")
		k.flagged()
		k.sounds("0", "1")
	}
}

// refused places an INVITE that change has altered and wants that code.
func refused(code int, change func(*invite)) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		_, l := r.two()
		p := r.dial("tcp")
		i := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties()))
		change(i)
		d := p.place(i.text(p))
		d.is(code)
		r.none()
	}
}

// captured plays a file and judges the recording.
func captured(file, line, left, right string, flags ...string) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		d := r.fixture(file, 8).ok().ack().play(600)
		d.bye()
		k := r.one()
		k.on(line)
		k.flagged(flags...)
		k.sounds(left, right)
	}
}

func recogniseRows() []row {
	return []row{
		{numbers: "1 36 67 R2 R6 R8 R9 R11", name: "the example of the RFC is recorded and answered as it shows", run: theExample},
		{numbers: "2", name: "no Require and ;src", run: variant(func(i *invite) {
			i.head, i.contact = nil, strings.Replace(i.contact, ";+sip.src", ";src", 1)
		})},
		{numbers: "3", name: "Require and ;src", run: variant(func(i *invite) {
			i.contact = strings.Replace(i.contact, ";+sip.src", ";src", 1)
		})},
		{numbers: "4", name: "the tag without Require", run: variant(func(i *invite) { i.head = nil })},
		{numbers: "5", name: "the tag inside the URI", run: variant(func(i *invite) {
			i.contact = strings.Replace(i.contact, ">;+sip.src", ";+sip.src>", 1)
		})},
		{numbers: "6", name: "the tag misspelt", run: variant(func(i *invite) {
			i.contact = strings.Replace(i.contact, "+sip.src", "+sip-src", 1)
		})},
		{numbers: "7", name: "neither tag nor Require, over TLS with a client certificate", with: withTLS(true), run: bareOverTLS},
		{numbers: "8", name: "the tag with a value, in capitals", run: variant(func(i *invite) {
			i.contact = strings.Replace(i.contact, "+sip.src", `+SIP.SRC="TRUE"`, 1)
		})},
		{numbers: "9", name: "CUBE's NBR: parties by media-index", run: cubeNBR},
		{numbers: "10 R19", name: "CUCM's pair of dialogs without a body: one call, both voices", run: cucmPair},
		{numbers: "11", name: "an ordinary INVITE is recorded as unknown, with media one way", run: ordinaryInvite},
		{numbers: "12", name: "a source that is not allowed gets nothing and opens nothing", with: func(s *setup) {
			s.sip.Peers = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
		}, run: strangers},
		{numbers: "13 R45", name: "two Require lines, and timer, are understood", run: variant(func(i *invite) {
			i.head = []string{"Require: siprec", "Require: timer", "Supported: timer"}
		})},
		{numbers: "13 R45", name: "an unknown Require is refused and named", run: unknownRequire},
		{numbers: "14", name: "Proxy-Require and empty list headers mean nothing", run: variant(func(i *invite) {
			i.head = []string{"Proxy-Require: privacy", "Supported: ", "Recv-Info: ", "Privacy: id"}
		})},
		{numbers: "14 R45", name: "compact header names, over UDP", run: compactNames},
		{numbers: "15", name: "Request-URI without user", run: variant(func(i *invite) { i.uri = "sip:127.0.0.1" })},
		{numbers: "15", name: "Request-URI with lr", run: variant(func(i *invite) { i.uri = "sip:127.0.0.1:5060;lr;transport=tcp" })},
		{numbers: "15", name: "Request-URI with an escape", run: variant(func(i *invite) { i.uri = "sip:*72%23rec@127.0.0.1" })},
		{numbers: "15", name: "Request-URI sips", run: variant(func(i *invite) { i.uri = "sips:rec@127.0.0.1" })},
		{numbers: "15", name: "Request-URI with an IPv6 host", run: variant(func(i *invite) { i.uri = "sip:rec@[::1]:5060" })},
		{numbers: "16", name: "any user is accepted, and the listed line may stand in the Request-URI", run: lineInRequestURI},
	}
}

func theExample(t *testing.T, r *rig) {
	d, _ := r.basic()
	if c := d.answer.head.Get("Contact"); !strings.Contains(c, ";+sip.srs") {
		t.Errorf("Contact %q says no +sip.srs", c)
	}
	if ct := d.answer.head.Get("Content-Type"); ct != "application/sdp" {
		t.Errorf("answered with %s", ct)
	}
	got := d.lines()
	if len(got) != 2 {
		t.Fatalf("%d m-lines, want 2", len(got))
	}
	for i, l := range got {
		if l.dir != "recvonly" || l.port == 0 || l.port%2 != 0 || l.label != string(rune('1'+i)) {
			t.Errorf("m-line %d: %+v", i, l)
		}
	}
	if got[0].port == got[1].port {
		t.Error("both lines have one port")
	}
	d.play(800)
	d.bye()
	k := r.one()
	k.on("Council tax")
	k.flagged()
	k.sounds("0", "1")
	k.spans(d)
	if k.d.Caller != residentAoR || k.d.Called != councilAoR || k.d.Direction != "inbound" {
		t.Errorf("caller %q, called %q, %q", k.d.Caller, k.d.Called, k.d.Direction)
	}
	if !strings.HasPrefix(k.d.CallKey, "a1b2c3d4e5f6") {
		t.Errorf("call key %q, want the session's", k.d.CallKey)
	}
	want := []string{"Ann Resident|" + residentAoR + "|left", "Council Tax|" + councilAoR + "|right"}
	if got := k.parties(); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("parties %q, want %q", got, want)
	}
}

func bareOverTLS(t *testing.T, r *rig) {
	s, l := r.two()
	p := r.dialFrom("tls", "127.0.0.1:0", clientTLS(t, true))
	i := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties()))
	i.head, i.contact = nil, strings.TrimSuffix(i.contact, ";+sip.src")
	d := p.place(i.text(p), s...).ok().ack().play(600)
	d.bye()
	k := r.one()
	k.on("Council tax")
	k.sounds("0", "1")
}

func cubeNBR(t *testing.T, r *rig) {
	d := r.fixture("cube-nbr-plain-sdp", 2).ok().ack().play(600)
	d.bye()
	k := r.one()
	k.on("Facilities management")
	k.sounds("0", "1")
	if !strings.Contains(k.d.Caller, "02079460104") || !strings.Contains(k.d.Called, "02088259000") {
		t.Errorf("caller %q, called %q", k.d.Caller, k.d.Called)
	}
}

// cucmPair opens the two dialogs of one call; the recorder offers, and the
// client's description comes with the ACK.
func cucmPair(t *testing.T, r *rig) {
	s, _ := r.two()
	var dialogs []*dialog
	for i, file := range []string{"cucm-nearend-no-body", "cucm-farend-no-body"} {
		p := r.dial("tcp")
		d := p.place(fixture(t, file), s[i]).ok()
		offer := d.lines()
		if len(offer) != 1 || offer[0].dir != "recvonly" || offer[0].port == 0 ||
			!strings.Contains(offer[0].text, "PCMU/8000") || !strings.Contains(offer[0].text, "telephone-event") {
			t.Fatalf("offered %s", d.answer.body)
		}
		dialogs = append(dialogs, d.ack(describe("127.0.0.1", 1, line{port: s[i].port, label: "-", fmts: "0 101"})))
	}
	play(600e6, s...)
	for _, d := range dialogs {
		d.bye()
	}
	ks := r.finished(2)
	if ks[0].d.CallKey == "" || ks[0].d.CallKey != ks[1].d.CallKey {
		t.Errorf("call keys %q and %q do not tie the dialogs together", ks[0].d.CallKey, ks[1].d.CallKey)
	}
	for _, k := range ks {
		k.on("Planning")
	}
	near, far := ks[0], ks[1]
	near.sounds("", "0") // our side
	far.sounds("1", "")
}

func ordinaryInvite(t *testing.T, r *rig) {
	s, l := r.some(1)
	l[0].dir, l[0].label = "sendrecv", ""
	p := r.dial("tcp")
	i := p.newInvite(describe("127.0.0.1", 1, l...))
	i.head, i.kind, i.contact = nil, "application/sdp", strings.TrimSuffix(i.contact, ";+sip.src")
	d := p.place(i.text(p), s...).ok().ack()
	if got := d.lines(); got[0].dir != "recvonly" {
		t.Errorf("answered %+v", got)
	}
	d.play(600)
	d.bye()
	k := r.one()
	k.hasFlag("no metadata")
	k.hasFlag("line unidentified")
	k.sounds("0", "")
	noAudioBack(t, s...)
}

// noAudioBack checks that nothing but RTCP and keep-alives came back.
func noAudioBack(t *testing.T, sources ...*source) {
	t.Helper()
	for i, s := range sources {
		audio := 0
		for _, b := range s.received() {
			if len(b) > 12 && b[0]>>6 == 2 && (b[1]&0x7f < 64 || b[1]&0x7f > 95) {
				audio++
			}
		}
		if audio > 0 {
			t.Errorf("source %d got %d RTP packets from the recorder", i, audio)
		}
	}
}

func strangers(t *testing.T, r *rig) {
	p := r.dial("udp")
	_, l := r.two()
	p.send(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p))
	await(t, "the stranger to be counted", func() bool { return r.counted("peer-not-allowed") })
	if n := p.count(func(message) bool { return true }); n != 0 {
		t.Errorf("%d answers to a stranger", n)
	}
	r.none()
	// One who is allowed is served at the same time.
	q := r.dialFrom("udp", "127.0.0.2:0", nil)
	s, l := r.two()
	d := q.place(q.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(q), s...).ok().ack().play(300)
	d.bye()
	r.one().sounds("0", "1")
}

func unknownRequire(t *testing.T, r *rig) {
	_, l := r.two()
	p := r.dial("tcp")
	i := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties()))
	i.head = []string{"Require: siprec", "Require: foo"}
	d := p.place(i.text(p))
	d.is(420)
	if got := d.answer.head.Get("Unsupported"); got != "foo" {
		t.Errorf("Unsupported: %q", got)
	}
	r.none()
}

func lineInRequestURI(t *testing.T, r *rig) {
	s, l := r.two()
	p := r.dial("tcp")
	i := p.newInvite(both(describe("127.0.0.1", 1, l...), rfc7865("complete", 2, "",
		caller(), party{id: "cDI=", name: "Desk", aor: "sip:agent7@contact.example", send: "c3Rt2"})))
	i.uri = "sip:02088256999@127.0.0.1"
	d := p.place(i.text(p), s...).ok().ack().play(600)
	d.bye()
	k := r.one()
	k.on("Parks")
	k.sounds("0", "1")
	if !strings.Contains(k.raw, "Request-URI") && !strings.Contains(k.raw, `"To"`) {
		t.Errorf("the manifest does not say where the line was found: %s", k.raw)
	}
}

func compactNames(t *testing.T, r *rig) {
	s, l := r.two()
	p := r.dial("udp")
	i := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties()))
	i.head = append(i.head, "Supported: timer", "Session-Expires: 1800")
	head, body, _ := strings.Cut(i.text(p), "\r\n\r\n")
	head = strings.NewReplacer("\r\nVia: ", "\r\nv: ", "\r\nFrom: ", "\r\nf: ", "\r\nTo: ", "\r\nt: ", "\r\nCall-ID: ", "\r\ni: ",
		"\r\nContact: ", "\r\nm: ", "\r\nContent-Type: ", "\r\nc: ", "\r\nContent-Length: ", "\r\nl: ",
		"\r\nSupported: ", "\r\nk: ", "\r\nSession-Expires: ", "\r\nx: ").Replace(head)
	d := p.place(head+"\r\n\r\n"+body, s...).ok().ack()
	if got := d.answer.head.Get("Session-Expires"); got != "1800;refresher=uac" {
		t.Errorf("Session-Expires %q", got)
	}
	talk := time.Now()
	d.play(400)
	d.bye()
	k := r.one()
	k.on("Council tax")
	k.heard(talk, d.over, "0", "1")
}
