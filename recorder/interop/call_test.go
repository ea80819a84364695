package interop_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// line is one m-line of an offer.
type line struct {
	kind  string // "audio" when empty
	port  int
	proto string // "RTP/AVP" when empty
	fmts  string // "0 8 101" when empty
	addr  string // of a c= line; "" for none
	dir   string // "sendonly" when empty, "-" for no attribute
	label string // "-" for none
	attrs []string
}

func (l line) String() string {
	or := func(s, d string) string {
		if s == "" {
			return d
		}
		return s
	}
	var b strings.Builder
	fmts := or(l.fmts, "0 8 101")
	fmt.Fprintf(&b, "m=%s %d %s %s\r\n", or(l.kind, "audio"), l.port, or(l.proto, "RTP/AVP"), fmts)
	if l.addr != "" {
		fmt.Fprintf(&b, "c=IN IP4 %s\r\n", l.addr)
	}
	if l.fmts == "" {
		b.WriteString("a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n")
	}
	for _, a := range l.attrs {
		b.WriteString(a + "\r\n")
	}
	if d := or(l.dir, "sendonly"); d != "-" {
		b.WriteString("a=" + d + "\r\n")
	}
	if l.label != "-" && l.label != "" {
		b.WriteString("a=label:" + l.label + "\r\n")
	}
	return b.String()
}

// describe writes a session description; addr is its c= line, "" for none.
func describe(addr string, version int, lines ...line) string {
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=src 4711 %d IN IP4 127.0.0.1\r\ns=-\r\n", version)
	if addr != "" {
		fmt.Fprintf(&b, "c=IN IP4 %s\r\n", addr)
	}
	b.WriteString("t=0 0\r\n")
	for _, l := range lines {
		b.WriteString(l.String())
	}
	return b.String()
}

// The parties of an ordinary call: a resident calls council tax.
const (
	residentAoR = "sip:02079460123@pstn.example"
	councilAoR  = "sip:02088257050@contact.example"
)

// party is one participant of a metadata document.
type party struct {
	id, name, aor string
	send, recv    string // stream ids, by blanks
}

func caller() party {
	return party{id: "cDE=", name: "Ann Resident", aor: residentAoR, send: "c3Rt1", recv: "c3Rt2"}
}
func called() party {
	return party{id: "cDI=", name: "Council Tax", aor: councilAoR, send: "c3Rt2", recv: "c3Rt1"}
}

// rfc7865 writes a metadata document whose streams c3RtN have the label N.
func rfc7865(mode string, streams int, extra string, parties ...party) string {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<recording xmlns=\"urn:ietf:params:xml:ns:recording:1\">\r\n")
	if mode != "" {
		fmt.Fprintf(&b, "<datamode>%s</datamode>\r\n", mode)
	}
	if mode != "partial" {
		b.WriteString("<group group_id=\"Z3Jw\"/>\r\n<session session_id=\"c2Vz\"><group-ref>Z3Jw</group-ref><sipSessionID>a1b2c3d4e5f6;remote=f6e5d4c3b2a1</sipSessionID></session>\r\n")
	}
	for _, p := range parties {
		if p.aor != "" {
			fmt.Fprintf(&b, "<participant participant_id=\"%s\"><nameID aor=\"%s\"><name>%s</name></nameID></participant>\r\n", p.id, p.aor, p.name)
		}
	}
	for n := range streams {
		fmt.Fprintf(&b, "<stream stream_id=\"c3Rt%d\" session_id=\"c2Vz\"><label>%d</label></stream>\r\n", n+1, n+1)
	}
	b.WriteString("<sessionrecordingassoc session_id=\"c2Vz\"><associate-time>2026-11-02T10:00:00Z</associate-time></sessionrecordingassoc>\r\n")
	for _, p := range parties {
		fmt.Fprintf(&b, "<participantstreamassoc participant_id=\"%s\">", p.id)
		for s := range strings.FieldsSeq(p.send) {
			fmt.Fprintf(&b, "<send>%s</send>", s)
		}
		for s := range strings.FieldsSeq(p.recv) {
			fmt.Fprintf(&b, "<recv>%s</recv>", s)
		}
		b.WriteString("</participantstreamassoc>\r\n")
	}
	return b.String() + extra + "</recording>\r\n"
}

func twoParties() string { return rfc7865("complete", 2, "", caller(), called()) }

// multipart joins parts; each is a header block, a blank line and a body.
func multipart(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("--bound\r\n" + p + "\r\n")
	}
	return b.String() + "--bound--\r\n"
}

func part(kind, body string) string { return "Content-Type: " + kind + "\r\n\r\n" + body }

func metaPart(body string) string {
	return "Content-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n" + body
}

const mixed = "multipart/mixed;boundary=bound"

// both is the body of an offer with metadata.
func both(sdp, meta string) string { return multipart(part("application/sdp", sdp), metaPart(meta)) }

// invite is an INVITE in the making.
type invite struct {
	uri, from, to, contact string
	callID                 string
	cseq                   int
	head                   []string // further header lines
	kind, body             string
}

var calls atomic.Int64

// newInvite is an INVITE as RFC 7866 wants it.
func (p *peer) newInvite(body string) *invite {
	n := calls.Add(1)
	uri := "sip:recorder@127.0.0.1"
	contact := fmt.Sprintf("<sip:src@%s", p.from)
	if p.network != "udp" {
		contact += ";transport=" + p.network
	}
	return &invite{
		uri: uri, from: fmt.Sprintf("<sip:src@127.0.0.1>;tag=f%d", n), to: "<" + uri + ">",
		contact: contact + ">;+sip.src", callID: fmt.Sprintf("call-%d@127.0.0.1", n), cseq: 1,
		head: []string{"Require: siprec"}, kind: mixed, body: body,
	}
}

// text is the INVITE on the wire.
func (i *invite) text(p *peer) string {
	lines := []string{
		fmt.Sprintf("Via: SIP/2.0/%s %s;branch=z9hG4bK%d;rport", strings.ToUpper(p.network), p.from, calls.Add(1)),
		"Max-Forwards: 70", "From: " + i.from, "To: " + i.to, "Call-ID: " + i.callID,
		fmt.Sprintf("CSeq: %d INVITE", i.cseq), "Contact: " + i.contact,
	}
	lines = append(lines, i.head...)
	if i.body != "" {
		lines = append(lines, "Content-Type: "+i.kind)
	}
	return request("INVITE "+i.uri, lines, i.body)
}

// dialog is a recording session as its client sees it.
type dialog struct {
	p       *peer
	text    string // of the INVITE
	callID  string
	from    string
	to      string // with the recorder's tag
	cseq    int
	target  string // the recorder's Contact
	answer  message
	sources []*source // by m-line
	version int
	asked   time.Time // the INVITE left
	begun   time.Time // its 200 came
	over    time.Time // BYE left
	gone    time.Time // its 200 came
}

// place sends an INVITE and waits for its final response.
func (p *peer) place(text string, sources ...*source) *dialog {
	p.t.Helper()
	asked := time.Now()
	p.send(text)
	d := p.answered(text, sources...)
	d.asked = asked
	return d
}

// answered waits for the final response of an INVITE that has been sent.
func (p *peer) answered(text string, sources ...*source) *dialog {
	p.t.Helper()
	d := &dialog{p: p, text: text, sources: sources, version: 1}
	d.callID = or(field(text, "Call-ID"), field(text, "i"))
	d.from = or(field(text, "From"), field(text, "f"))
	cseq := field(text, "CSeq")
	n, _, _ := strings.Cut(cseq, " ")
	d.cseq, _ = strconv.Atoi(n)
	d.answer = p.final(d.callID, cseq)
	d.begun = d.answer.at
	d.to = d.answer.head.Get("To")
	d.target = strings.Trim(regexp.MustCompile(`<[^>]*>`).FindString(d.answer.head.Get("Contact")), "<>")
	d.aim()
	return d
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// answerLine is an m-line of an answer.
type answerLine struct {
	kind, proto, dir, label string
	port                    int
	fmts                    []string
	text                    string
}

// lines reads the m-lines of a description.
func lines(sdp string) []answerLine {
	var out []answerLine
	for _, m := range strings.Split("\r\n"+sdp, "\r\nm=")[1:] {
		f := strings.Fields(strings.SplitN(m, "\r\n", 2)[0])
		l := answerLine{kind: f[0], proto: f[2], fmts: f[3:], text: m}
		l.port, _ = strconv.Atoi(f[1])
		for _, d := range []string{"sendrecv", "sendonly", "recvonly", "inactive"} {
			if strings.Contains(m, "a="+d) {
				l.dir = d
			}
		}
		if s := regexp.MustCompile(`a=label:(\S+)`).FindStringSubmatch(m); s != nil {
			l.label = s[1]
		}
		out = append(out, l)
	}
	return out
}

// lines are the m-lines of the latest answer.
func (d *dialog) lines() []answerLine { return lines(d.answer.body) }

// aim points the sources at what the latest answer takes.
func (d *dialog) aim() {
	for i, l := range d.lines() {
		if i >= len(d.sources) || d.sources[i] == nil {
			continue
		}
		to := netip.AddrPort{}
		if l.port != 0 && l.dir == "recvonly" {
			to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(l.port))
		}
		d.sources[i].to = to
	}
}

// ok checks the latest answer's code.
func (d *dialog) ok() *dialog {
	d.p.t.Helper()
	d.is(200)
	return d
}

func (d *dialog) is(code int) {
	d.p.t.Helper()
	if d.answer.code != code {
		d.p.t.Fatalf("answered %s, want %d", d.answer.first, code)
	}
}

// inDialog writes a request of the dialog.
func (d *dialog) inDialog(method string, cseq int, kind, body string, head ...string) string {
	p := d.p
	all := []string{
		fmt.Sprintf("Via: SIP/2.0/%s %s;branch=z9hG4bK%d;rport", strings.ToUpper(p.network), p.from, calls.Add(1)),
		"Max-Forwards: 70", "From: " + d.from, "To: " + d.to, "Call-ID: " + d.callID,
		fmt.Sprintf("CSeq: %d %s", cseq, method),
	}
	for _, h := range head {
		if name, _, _ := strings.Cut(h, ":"); name == "From" || name == "To" {
			all = slices.DeleteFunc(all, func(l string) bool { return strings.HasPrefix(l, name+":") })
		}
	}
	if method == "INVITE" || method == "UPDATE" {
		contact := fmt.Sprintf("Contact: <sip:src@%s;transport=%s>;+sip.src", p.from, p.network)
		all = append(all, contact)
	}
	all = append(all, head...)
	if body != "" {
		all = append(all, "Content-Type: "+kind)
	}
	return request(method+" "+or(d.target, "sip:recorder@127.0.0.1"), all, body)
}

// ack acknowledges the INVITE with the latest CSeq, with an answer if given.
func (d *dialog) ack(answer ...string) *dialog {
	d.p.t.Helper()
	d.p.send(d.inDialog("ACK", d.cseq, "application/sdp", strings.Join(answer, "")))
	return d
}

// ask sends a request of the dialog and waits for its final response.
func (d *dialog) ask(method, kind, body string, head ...string) message {
	d.p.t.Helper()
	d.cseq++
	d.p.send(d.inDialog(method, d.cseq, kind, body, head...))
	return d.p.final(d.callID, fmt.Sprintf("%d %s", d.cseq, method))
}

// offer sends a re-INVITE, acknowledges it, and lets the sources follow.
func (d *dialog) offer(kind, body string, head ...string) *dialog {
	d.p.t.Helper()
	m := d.ask("INVITE", kind, body, head...)
	d.ack()
	if m.code == 200 {
		d.answer = m
		d.aim()
	} else {
		d.p.t.Errorf("the re-INVITE was answered %s", m.first)
	}
	return d
}

// reoffer is offer with a description alone.
func (d *dialog) reoffer(lines ...line) *dialog {
	d.p.t.Helper()
	d.version++
	return d.offer("application/sdp", describe("127.0.0.1", d.version, lines...))
}

// play sends the tones.
func (d *dialog) play(ms int) *dialog {
	play(time.Duration(ms)*time.Millisecond, d.sources...)
	return d
}

// bye ends the call.
func (d *dialog) bye(head ...string) {
	d.p.t.Helper()
	d.over = time.Now()
	m := d.ask("BYE", "", "", head...)
	d.gone = time.Now()
	if m.code != 200 {
		d.p.t.Errorf("BYE answered %s", m.first)
	}
}

// two are the sources and m-lines of an ordinary offer.
func (r *rig) two() ([]*source, []line) {
	r.t.Helper()
	return r.some(2)
}

func (r *rig) some(n int) ([]*source, []line) {
	r.t.Helper()
	var s []*source
	var l []line
	for i := range n {
		s = append(s, newSource(r.t, i))
		l = append(l, line{port: s[i].port, label: strconv.Itoa(i + 1)})
	}
	return s, l
}

// basic places an ordinary call over TCP and acknowledges it.
func (r *rig) basic() (*dialog, []line) {
	r.t.Helper()
	s, l := r.two()
	p := r.dial("tcp")
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p), s...).ok().ack()
	return d, l
}

// fixture plays a file of testdata/siprec as it is, with n sources.
func (r *rig) fixture(name string, n int) *dialog {
	r.t.Helper()
	s, _ := r.some(n)
	p := r.dial("tcp")
	d := p.place(fixture(r.t, name), s...)
	for i, l := range d.lines() {
		if i < n && !slices.Contains(l.fmts, "0") {
			s[i].codec(8, aLaw)
		}
	}
	return d
}

// bodyOf is the body of a file of testdata/siprec with its type.
func bodyOf(text string) (kind, body string) {
	_, body, _ = strings.Cut(text, "\r\n\r\n")
	return field(text, "Content-Type"), body
}
