package interop_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// framed places an ordinary call whose body is made otherwise.
func framed(body func(sdp, meta string) (kind, body string)) func(*testing.T, *rig) {
	return framedBy(body, nil)
}

func framedBy(body func(sdp, meta string) (kind, body string), judge func(*testing.T, kept)) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		s, l := r.two()
		p := r.dial("tcp")
		i := p.newInvite("")
		i.kind, i.body = body(describe("127.0.0.1", 1, l...), twoParties())
		d := p.place(i.text(p), s...).ok().ack().play(600)
		d.bye()
		k := r.one()
		k.sounds("0", "1")
		if judge != nil {
			judge(t, k)
			return
		}
		k.on("Council tax")
		k.flagged()
	}
}

// typed is the ordinary body with another metadata type.
func typed(kind string) func(*testing.T, *rig) {
	return framed(func(sdp, meta string) (string, string) {
		return mixed, multipart(part("application/sdp", sdp), part(kind, meta))
	})
}

// unreadable is an ordinary description with metadata that cannot be read:
// recorded, flagged, and kept as it came.
func unreadable(meta string) func(*testing.T, *rig) {
	return framedBy(func(sdp, _ string) (string, string) { return mixed, both(sdp, meta) }, func(t *testing.T, k kept) {
		k.hasFlag("bad metadata")
		if len(k.d.Documents) != 1 || strings.TrimSpace(string(k.d.Documents[0].Body)) != strings.TrimSpace(meta) ||
			k.d.Documents[0].Error == "" {
			t.Errorf("the document is not kept as it came, with what is wrong: %d", len(k.d.Documents))
		}
	})
}

func bodyRows() []row {
	lf := func(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }
	rows := []row{
		{numbers: "18 20", name: "metadata first, then the description, then GTD", run: framed(func(sdp, meta string) (string, string) {
			return mixed, multipart(metaPart(meta), part("application/sdp", sdp),
				"Content-Type: application/gtd\r\nContent-Disposition: signal;handling=optional\r\n\r\nIAM,\r\nPRN,isdn\r\n")
		})},
		{numbers: "19", name: "no blank behind the colon, Content-Length inside the parts", run: framed(func(sdp, meta string) (string, string) {
			return mixed, multipart(
				fmt.Sprintf("Content-Type:application/sdp\r\nContent-Length:%d\r\n\r\n%s", len(sdp), sdp),
				fmt.Sprintf("Content-Type:application/rs-metadata+xml\r\nContent-Length:%d\r\n\r\n%s", len(meta), meta))
		})},
		{numbers: "20", name: "CUBE's third part is ignored", run: captured("cube-gtd-no-closing", "Customer portal helpline", "0", "1")},
		{numbers: "21 R45", name: "an unknown part that is required is refused, with Accept", run: requiredPart},
		{numbers: "22", name: "closing boundary without its dashes", run: framed(func(sdp, meta string) (string, string) {
			return mixed, strings.TrimSuffix(both(sdp, meta), "--\r\n") + "\r\n"
		})},
		{numbers: "22", name: "no closing boundary", run: framed(func(sdp, meta string) (string, string) {
			return mixed, strings.TrimSuffix(both(sdp, meta), "--bound--\r\n")
		})},
		{numbers: "23", name: "preamble, and blanks behind the closing boundary", run: framed(func(sdp, meta string) (string, string) {
			return mixed, "This is a message in parts.\r\n\r\n" + strings.TrimSuffix(both(sdp, meta), "\r\n") + " \r\n\r\n"
		})},
		{numbers: "24", name: "quoted boundary with a space before it", run: framed(func(sdp, meta string) (string, string) {
			return `multipart/mixed; boundary="b=o_u:n d"`, strings.ReplaceAll(both(sdp, meta), "--bound", "--b=o_u:n d")
		})},
		{numbers: "24", name: "bare boundary that ought to be quoted", run: framed(func(sdp, meta string) (string, string) {
			return `multipart/mixed ;boundary=b=o_u`, strings.ReplaceAll(both(sdp, meta), "--bound", "--b=o_u")
		})},
		{numbers: "24", name: "no boundary told", run: framed(func(sdp, meta string) (string, string) {
			return "multipart/mixed", both(sdp, meta)
		})},
		{numbers: "24", name: "a multipart in the multipart, and base64", run: framed(func(sdp, meta string) (string, string) {
			inner := strings.ReplaceAll(multipart("Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\n"+
				base64.StdEncoding.EncodeToString([]byte(sdp)), metaPart(meta)), "--bound", "--inner")
			return mixed, multipart("Content-Type: multipart/related;boundary=inner\r\n\r\n" + inner)
		})},
		{numbers: "25", name: "blank lines before a part's body and before the XML", run: framed(func(sdp, meta string) (string, string) {
			return mixed, multipart("Content-Type: application/sdp\r\n\r\n\r\n"+sdp, "Content-Type: application/rs-metadata+xml\r\n\r\n\r\n  \t"+meta)
		})},
		{numbers: "26 28", name: "bare LF in the body, as counted", run: framed(func(sdp, meta string) (string, string) {
			return mixed, lf(both(sdp, meta))
		})},
		{numbers: "27", name: "bare LF in the header section is refused, never hangs", run: bareHeader},
		{numbers: "28", name: "Content-Length too short, or too long, over UDP", run: lengthUDP},
		{numbers: "28", name: "Content-Length too short over TCP: the connection goes on", run: lengthTCP},
		{numbers: "29", name: "an INVITE in many segments, keep-alives between, two in one", run: segments},
		{numbers: "30", name: "9 kB over UDP, and an answer over 1300 bytes", run: largeUDP},
		{numbers: "32", name: "document type declaration, entity bomb", run: unreadable("<?xml version=\"1.0\"?>\r\n<!DOCTYPE r [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>\r\n<recording xmlns=\"urn:ietf:params:xml:ns:recording:1\">&b;</recording>")},
		{numbers: "32", name: "too many participants", run: unreadable(manyParticipants(700))},
		{numbers: "32", name: "too deep", run: unreadable("<recording>" + strings.Repeat("<a>", 4000) + strings.Repeat("</a>", 4000) + "</recording>")},
		{numbers: "32", name: "1 MB of text is refused, and live calls go on", run: megabyte},
		{numbers: "32", name: "too many parts", run: refused(413, func(i *invite) {
			i.body = strings.Repeat("--bound\r\nContent-Type: text/plain\r\n\r\nx\r\n", 40) + i.body
		})},
		{numbers: "32", name: "too many media lines", run: refused(488, func(i *invite) {
			i.body = strings.Replace(i.body, "m=audio", strings.Repeat("m=audio 4000 RTP/AVP 0\r\n", 40)+"m=audio", 1)
		})},
		{numbers: "33 R23", name: "raw ampersand and angle bracket", run: unreadable(strings.Replace(twoParties(), "Ann Resident", "R & D <sales", 1))},
		{numbers: "34 R31", name: "Latin-1 as declared", run: captured("generic-latin1", "Customer portal helpline", "0", "1")},
		{numbers: "34", name: "UTF-16 is decoded or flagged", run: utf16Metadata},
		{numbers: "35 R19 R20", name: "metadata alone: we offer, the ACK answers", run: metadataOnly},
	}
	for _, kind := range []string{
		"application/rs-metadata", "application/rs-metadata+xml", "APPLICATION/RS-METADATA+XML",
		"application/rs-metadata+xml;charset=UTF-8", "Application/Rs-Metadata ; charset=\"utf-8\"",
	} {
		rows = append(rows, row{numbers: "17 R30", name: "metadata as " + strings.ReplaceAll(kind, "/", "."), run: typed(kind)})
	}
	for name, change := range map[string]func(string) string{
		"with bare LF":           lf,
		"with a blank line":      func(s string) string { return s + "\r\n" },
		"without t=":             func(s string) string { return strings.Replace(s, "t=0 0\r\n", "", 1) },
		"without s=":             func(s string) string { return strings.Replace(s, "s=-\r\n", "", 1) },
		"without the last CRLF":  func(s string) string { return strings.TrimSuffix(s, "\r\n") },
		"with lines out of turn": func(s string) string { return strings.Replace(s, "t=0 0\r\n", "t=0 0\r\nb=AS:64\r\ni=x\r\n", 1) },
	} {
		rows = append(rows, row{numbers: "31", name: "a description " + name, run: framed(func(sdp, meta string) (string, string) {
			return mixed, both(change(sdp), meta)
		})})
	}
	return append(rows, row{numbers: "31", name: "a description with a charset", run: framed(func(sdp, meta string) (string, string) {
		return mixed, multipart(part("application/sdp;charset=ISO-10646", sdp), metaPart(meta))
	})})
}

func manyParticipants(n int) string {
	var b strings.Builder
	b.WriteString("<recording>")
	for i := range n {
		fmt.Fprintf(&b, `<participant participant_id="%d"><nameID><n/></nameID></participant>`, i)
	}
	return b.String() + "</recording>"
}

func requiredPart(t *testing.T, r *rig) {
	d := r.fixture("generic-required-unknown-part", 0)
	d.is(415)
	if got := d.answer.head.Get("Accept"); !strings.Contains(got, "application/sdp") || !strings.Contains(got, "application/rs-metadata+xml") {
		t.Errorf("Accept: %q", got)
	}
	r.none()
}

func bareHeader(t *testing.T, r *rig) {
	for _, network := range []string{"udp", "tcp"} {
		_, l := r.two()
		p := r.dial(network)
		i := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties()))
		text := i.text(p)
		head, body, _ := strings.Cut(text, "\r\n\r\n")
		p.send(strings.ReplaceAll(head, "\r\n", "\n") + "\n\n" + body)
		if network == "udp" {
			m := p.await("a response", func(m message) bool { return m.code >= 200 })
			if m.code != 400 && m.code != 200 {
				t.Errorf("answered %s", m.first)
			}
			continue
		}
		// A stream may be given up, but not stay open in silence.
		p.send("\r\n\r\n")
		await(t, "a 400, or the end of the connection", func() bool {
			if _, ok := p.find(func(m message) bool { return m.code >= 200 }); ok {
				return true
			}
			_, err := p.conn.Write([]byte("\r\n"))
			return err != nil
		})
	}
	alive(t, r)
}

// alive checks that the recorder still serves a call.
func alive(t *testing.T, r *rig) {
	t.Helper()
	d, _ := r.basic()
	d.play(100)
	d.bye()
}

func lengthUDP(t *testing.T, r *rig) {
	p := r.dial("udp")
	_, l := r.two()
	for change, codes := range map[int][]int{-60: {200, 400}, 500: {400}} {
		i := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties()))
		n := len(i.body)
		text := strings.Replace(i.text(p), fmt.Sprintf("Content-Length: %d", n), fmt.Sprintf("Content-Length: %d", n+change), 1)
		p.send(text)
		m := p.await("a response", func(m message) bool { return m.code >= 200 && m.head.Get("Call-Id") == i.callID })
		if m.code != codes[0] && m.code != codes[len(codes)-1] {
			t.Errorf("length off by %d: answered %s", change, m.first)
		}
	}
	alive(t, r)
}

func lengthTCP(t *testing.T, r *rig) {
	s, l := r.two()
	p := r.dial("tcp")
	i := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties()))
	n := len(i.body)
	text := strings.Replace(i.text(p), fmt.Sprintf("Content-Length: %d", n), fmt.Sprintf("Content-Length: %d", n-11), 1)
	d := p.place(text, s...).ok().ack().play(400)
	d.bye()
	r.one().sounds("0", "1")
}

func segments(t *testing.T, r *rig) {
	p := r.dial("tcp")
	s, l := r.two()
	a := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p)
	p.send("\r\n\r\n")
	for len(a) > 0 {
		n := min(97, len(a))
		p.send(a[:n])
		a = a[n:]
		pause(time.Millisecond)
	}
	first := p.await("the first answer", func(m message) bool { return m.code >= 200 })
	if first.code != 200 {
		t.Fatalf("answered %s", first.first)
	}
	p.send("\r\n\r\n\r\n")
	b := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p)
	c := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p)
	p.send(b + c)
	for _, text := range []string{b, c} {
		d := p.answered(text, s...).ok().ack().play(200)
		d.bye()
	}
	r.finished(2)
}

func largeUDP(t *testing.T, r *rig) {
	s, l := r.some(2)
	for i := range 12 {
		l = append(l, line{kind: "video", port: 40000 + 2*i, fmts: "96 97 98 99", label: strings.Repeat("v", 40) + fmt.Sprint(i),
			attrs: []string{"a=rtpmap:96 H264/90000", "a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==",
				"a=rtpmap:97 VP8/90000", "a=rtpmap:98 H263-1998/90000", "a=rtpmap:99 H265/90000", "a=rtcp-fb:* nack pli", "a=candidate:1 1 UDP 2130706431 192.0.2.7 40000 typ host"}})
	}
	p := r.dial("udp")
	text := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p)
	if len(text) < 5000 || len(text) > 9500 {
		t.Fatalf("the INVITE has %d bytes", len(text))
	}
	d := p.place(text, s...).ok()
	if len(d.answer.body) < 1300 {
		t.Errorf("the answer has only %d bytes", len(d.answer.body))
	}
	d.ack().play(500)
	d.bye()
	r.one().sounds("0", "1")
}

func megabyte(t *testing.T, r *rig) {
	live, _ := r.basic()
	done := make(chan struct{})
	go func() {
		defer close(done)
		live.play(900)
	}()
	_, l := r.two()
	p := r.dial("tcp")
	i := p.newInvite(both(describe("127.0.0.1", 1, l...), "<recording>"+strings.Repeat("x", 1<<20)+"</recording>"))
	_, err := p.conn.Write([]byte(i.text(p)))
	if err == nil && !awaitFor(2*time.Second, func() bool {
		m, ok := p.find(func(m message) bool { return m.code >= 200 })
		if ok && m.code != 413 && m.code != 513 && m.code != 400 {
			t.Errorf("answered %s", m.first)
		}
		_, err := p.conn.Write([]byte("\r\n"))
		return ok || err != nil
	}) {
		t.Error("neither an answer nor the end of the connection")
	}
	<-done
	live.bye()
	k := r.one()
	k.sounds("0", "1")
	k.spans(live)
}

func utf16Metadata(t *testing.T, r *rig) {
	var b bytes.Buffer
	b.WriteString("\xfe\xff")
	for _, u := range utf16.Encode([]rune(strings.Replace(twoParties(), "UTF-8", "UTF-16", 1))) {
		b.Write([]byte{byte(u >> 8), byte(u)})
	}
	s, l := r.two()
	p := r.dial("tcp")
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), b.String())).text(p), s...).ok().ack().play(500)
	d.bye()
	k := r.one()
	k.sounds("0", "1")
	if k.row.Line != "Council tax" {
		k.hasFlag("bad metadata")
	}
}

func metadataOnly(t *testing.T, r *rig) {
	s, l := r.some(1)
	p := r.dial("tcp")
	d := p.place(p.newInvite(multipart(metaPart(twoParties()))).text(p), s...).ok()
	if got := d.lines(); len(got) != 1 || got[0].dir != "recvonly" {
		t.Fatalf("offered %s", d.answer.body)
	}
	l[0].fmts = "0 101"
	d.ack(describe("127.0.0.1", 1, l...)).play(500)
	d.bye()
	k := r.one()
	k.on("Council tax")
	k.sounds("0", "")
}
