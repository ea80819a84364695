package siprec

import (
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

	"go.uber.org/goleak"

	"siprecd/siprec/sdp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a handler that takes every audio m-line and notes what came.
type recorder struct {
	mu     sync.Mutex
	ses    *Session
	seen   []Change
	ids    []Identity
	ends   []End
	refuse error
}

func (r *recorder) Open(_ context.Context, s *Session, c Change) (*Answer, error) {
	r.mu.Lock()
	r.ses = s
	r.mu.Unlock()
	return r.Change(context.TODO(), s, c)
}

func (r *recorder) Change(_ context.Context, s *Session, c Change) (*Answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen, r.ids = append(r.seen, c), append(r.ids, s.Identity())
	if r.refuse != nil {
		return nil, r.refuse
	}
	if c.Offer == nil {
		return nil, nil
	}
	a := &Answer{Addr: netip.MustParseAddr("127.0.0.1")}
	for i, m := range c.Offer.Media {
		am := AnswerMedia{Port: 20000 + 2*i, Direction: sdp.RecvOnly}
		if m.OnHold() || m.Kind != "audio" {
			am.Direction = sdp.Inactive
		}
		a.Media = append(a.Media, am)
	}
	return a, nil
}

func (r *recorder) Close(_ *Session, e End) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends = append(r.ends, e)
}

func (r *recorder) last() (Change, Identity, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.seen)
	if n == 0 {
		return Change{}, Identity{}, 0
	}
	return r.seen[n-1], r.ids[n-1], n
}

func (r *recorder) closed() []End {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]End(nil), r.ends...)
}

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

func serve(t *testing.T, h Handler) *Server {
	t.Helper()
	s, err := NewServer(Config{Listen: []string{"udp://127.0.0.1:0"}, Handler: h, UserAgent: "siprecd/test",
		Peers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

// src is a recording client on a UDP socket.
type src struct {
	t      *testing.T
	conn   net.Conn
	callID string
	tag    string
	n      int
	from   string
}

func client(t *testing.T, s *Server, callID string) *src {
	t.Helper()
	c, err := net.Dial("udp", strings.TrimPrefix(s.Addrs()[0], "udp://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &src{t: t, conn: c, callID: callID, from: "<sip:src@127.0.0.1>"}
}

func (c *src) send(method string, cseq int, contentType, body string, extra ...string) {
	c.t.Helper()
	c.n++
	to := "<sip:srs@127.0.0.1>"
	if c.tag != "" {
		to += ";tag=" + c.tag
	}
	msg := fmt.Sprintf("%s sip:srs@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%d\r\nMax-Forwards: 70\r\n"+
		"From: %s;tag=c1\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: <sip:%s>;+sip.src\r\n",
		method, c.conn.LocalAddr(), c.callID, c.n, c.from, to, c.callID, cseq, method, c.conn.LocalAddr())
	for _, e := range extra {
		msg += e + "\r\n"
	}
	if contentType != "" {
		msg += "Content-Type: " + contentType + "\r\n"
	}
	msg += fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	if _, err := io.WriteString(c.conn, msg); err != nil {
		c.t.Fatal(err)
	}
}

// want returns the header section and body of the final response.
func (c *src) want(code, cseq int) (head, body string) {
	c.t.Helper()
	b := make([]byte, 65536)
	c.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		n, err := c.conn.Read(b)
		if err != nil {
			c.t.Fatalf("no %d for %d: %v", code, cseq, err)
		}
		head, body, _ = strings.Cut(string(b[:n]), "\r\n\r\n")
		if strings.HasPrefix(head, "SIP/2.0 1") || !strings.Contains(head, fmt.Sprintf("\r\nCSeq: %d ", cseq)) {
			continue
		}
		if !strings.HasPrefix(head, fmt.Sprintf("SIP/2.0 %d ", code)) {
			c.t.Fatalf("want %d, got\n%s", code, head)
		}
		for line := range strings.SplitSeq(head, "\r\n") {
			if _, tag, ok := strings.Cut(line, ";tag="); ok && strings.HasPrefix(line, "To:") && c.tag == "" && code == 200 {
				c.tag = tag
			}
		}
		return head, body
	}
}

const (
	offer = "v=0\r\no=src 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" +
		"m=audio 30000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\na=label:22\r\n" +
		"m=audio 30002 RTP/AVP 0\r\na=sendonly\r\na=label:11\r\n"
	metadata = `<?xml version="1.0"?><recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode>` +
		`<session session_id="cs1"/><participant participant_id="p1"><nameID aor="sip:02079460123@example.com"/></participant>` +
		`<participant participant_id="p2"><nameID aor="sip:02088257050@example.com"/></participant>` +
		`<stream stream_id="s1" session_id="cs1"><label>22</label></stream>` +
		`<participantstreamassoc participant_id="p1"><send>s1</send></participantstreamassoc></recording>`
	partial = `<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>partial</datamode>` +
		`<participant participant_id="p2"><nameID aor="sip:02088257171@example.com"/></participant></recording>`
	mixed = "multipart/mixed;boundary=b1"
)

func both(sdp, meta string) string {
	return "--b1\r\nContent-Type: application/sdp\r\n\r\n" + sdp + "\r\n--b1\r\nContent-Type: application/rs-metadata+xml\r\n" +
		"Content-Disposition: recording-session\r\n\r\n" + meta + "\r\n--b1--\r\n"
}

func (c *src) open(contentType, body string) (head, answer string) {
	c.t.Helper()
	c.send("INVITE", 1, contentType, body)
	head, answer = c.want(200, 1)
	c.send("ACK", 1, "", "")
	return head, answer
}

func TestSessionFromInviteToBye(t *testing.T) {
	h := &recorder{}
	c := client(t, serve(t, h), "whole")
	head, answer := c.open(mixed, both(offer, metadata))
	for _, want := range []string{";+sip.srs", "Content-Type: application/sdp\r\n", "Server: siprecd/test"} {
		if !strings.Contains(head+"\r\n", want) {
			t.Errorf("no %q in\n%s", want, head)
		}
	}
	d, err := sdp.Parse([]byte(answer))
	if err != nil || len(d.Media) != 2 {
		t.Fatalf("answer %q: %v", answer, err)
	}
	for i, m := range d.Media {
		if m.Port != 20000+2*i || m.Direction != sdp.RecvOnly || m.Label != []string{"22", "11"}[i] {
			t.Errorf("m-line %d is %+v", i, m)
		}
	}
	ch, id, _ := h.last()
	if ch.Method != "INVITE" || ch.Metadata == nil || ch.MetadataErr != nil || string(ch.MetadataRaw) != metadata || ch.Proposed {
		t.Errorf("change %+v", ch)
	}
	if len(id.Parties) != 2 || h.ses.CallID() != "whole" || h.ses.Transport() != "udp" || h.ses.Peer().Addr().String() != "127.0.0.1" {
		t.Errorf("identity %+v", id)
	}
	eventually(t, "established", func() bool { return !h.ses.Established().IsZero() })

	// Metadata alone, as an UPDATE: no SDP comes back, and it is merged.
	c.send("UPDATE", 2, "application/rs-metadata+xml", partial)
	if _, body := c.want(200, 2); body != "" {
		t.Errorf("UPDATE without offer was answered %q", body)
	}
	if ch, id, _ := h.last(); ch.Offer != nil || ch.Metadata == nil || len(id.Parties) != 2 || !strings.Contains(fmt.Sprint(id.Parties), "02088257171") {
		t.Errorf("change %+v, parties %+v", ch, id.Parties)
	}
	// SDP alone, on hold, then the same again: the version moves once.
	held := strings.ReplaceAll(offer, "sendonly", "inactive")
	c.send("INVITE", 3, "application/sdp", held)
	_, first := c.want(200, 3)
	c.send("ACK", 3, "", "")
	c.send("INVITE", 4, "application/sdp", held)
	_, second := c.want(200, 4)
	c.send("ACK", 4, "", "")
	if first != second || first == answer || !strings.Contains(first, "a=inactive") {
		t.Errorf("answers\n%s\n%s\n%s", answer, first, second)
	}
	c.send("UPDATE", 5, "application/sdp", offer)
	if _, body := c.want(200, 5); !strings.Contains(body, "a=recvonly") {
		t.Errorf("resume was answered\n%s", body)
	}
	c.send("BYE", 6, "application/rs-metadata", metadata, `Reason: Q.850;cause=16`)
	c.want(200, 6)
	eventually(t, "closed", func() bool { return len(h.closed()) == 1 })
	if e := h.closed()[0]; e.Cause != "bye" || e.Reason != "Q.850;cause=16" || e.At.IsZero() {
		t.Errorf("end %+v", e)
	}
	if ch, _, n := h.last(); ch.Method != "BYE" || ch.Metadata == nil || n != 6 {
		t.Errorf("%d changes, the last %+v", n, ch)
	}
}

func TestHeaderOnlyUpdate(t *testing.T) {
	h := &recorder{}
	c := client(t, serve(t, h), "cucm")
	c.from = `<sip:5005@127.0.0.1;x-nearend;x-refci=1;x-farendaddr=5006>`
	c.open("application/sdp", offer)
	_, before, _ := h.last()
	c.send("UPDATE", 2, "", "")
	c.want(200, 2)
	if _, _, n := h.last(); n != 1 {
		t.Errorf("a sign of life was passed on: %d", n)
	}
	c.from = `<sip:5005@127.0.0.1;x-nearend;x-refci=1;x-farendaddr=5099>`
	c.send("UPDATE", 3, "", "")
	c.want(200, 3)
	ch, after, n := h.last()
	if n != 2 || ch.Offer != nil || fmt.Sprint(before) == fmt.Sprint(after) {
		t.Errorf("%d changes; identity before\n%+v\nafter\n%+v", n, before, after)
	}
}

func TestOfferlessInvites(t *testing.T) {
	h := &recorder{}
	c := client(t, serve(t, h), "bib")
	c.send("INVITE", 1, "", "")
	_, body := c.want(200, 1)
	if !strings.Contains(body, "m=audio 20000 RTP/AVP 0 8 101") || !strings.Contains(body, "a=recvonly") {
		t.Errorf("our offer is\n%s", body)
	}
	if ch, _, _ := h.last(); !ch.Proposed || ch.Offer == nil {
		t.Errorf("change %+v", ch)
	}
	answer := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 30000 RTP/AVP 8\r\na=sendonly\r\n"
	c.send("ACK", 1, "application/sdp", answer)
	eventually(t, "answer taken", func() bool { ch, _, _ := h.last(); return ch.Method == "ACK" })
	if ch, _, _ := h.last(); ch.Proposed || ch.Offer == nil || ch.Offer.Media[0].Formats[0].PT != 8 {
		t.Errorf("change %+v", ch)
	}
	c.send("INVITE", 2, "", "")
	if _, body := c.want(200, 2); !strings.Contains(body, "m=audio 20000 RTP/AVP 8\r\n") {
		t.Errorf("our second offer is\n%s", body)
	}
	c.send("ACK", 2, "application/sdp", answer)
	eventually(t, "answer taken", func() bool { ch, _, n := h.last(); return ch.Method == "ACK" && n == 4 })
}

func TestBodiesThatLie(t *testing.T) {
	h := &recorder{}
	s := serve(t, h)
	for i, c := range []struct {
		kind, body string
		code       int
	}{
		{mixed, both(offer, "<recording><broken"), 200},
		{mixed, both(offer, ""), 200},
		{"application/sdp", offer, 200},
		{"application/sdp", "this is no description", 400},
		{"application/pidf+xml", "<x/>", 415},
		{mixed, "neither this nor that", 400},
	} {
		cl := client(t, s, fmt.Sprint("lie", i))
		cl.send("INVITE", 1, c.kind, c.body)
		head, _ := cl.want(c.code, 1)
		cl.send("ACK", 1, "", "")
		if c.code == 415 && !strings.Contains(head, "\r\nAccept: ") {
			t.Errorf("415 is\n%s", head)
		}
		ch, _, _ := h.last()
		if i == 0 && (ch.MetadataErr == nil || ch.Metadata != nil || string(ch.MetadataRaw) != "<recording><broken") {
			t.Errorf("bad metadata came as %+v", ch)
		}
	}
	if n := s.Counters()["metadata-unreadable"]; n == 0 {
		t.Error("not counted")
	}
}

func TestHandlerRefuses(t *testing.T) {
	h := &recorder{refuse: &Refusal{Code: 488, Reason: "No Common Codec", Warning: `305 siprecd "PCMU PCMA"`}}
	s := serve(t, h)
	c := client(t, s, "no")
	c.send("INVITE", 1, "application/sdp", offer)
	if head, _ := c.want(488, 1); !strings.Contains(head, "Warning: 305 ") {
		t.Errorf("488 is\n%s", head)
	}
	h.mu.Lock()
	h.refuse = errors.New("disk")
	h.mu.Unlock()
	d := client(t, s, "err")
	d.send("INVITE", 1, "application/sdp", offer)
	d.want(500, 1)
	if len(h.closed()) != 0 {
		t.Error("Close was called for a session that was never open")
	}
}

// An answer that cannot be written is a bug of the handler's; it was told of
// the session, so it is told of its end.
func TestAnswerThatDoesNotFit(t *testing.T) {
	h := &misfit{}
	c := client(t, serve(t, h), "misfit")
	c.send("INVITE", 1, "application/sdp", offer)
	c.want(500, 1)
	eventually(t, "closed", func() bool { return len(h.closed()) == 1 })
	if e := h.closed()[0]; e.Cause != "refused" {
		t.Errorf("end %+v", e)
	}
}

type misfit struct{ recorder }

func (m *misfit) Open(context.Context, *Session, Change) (*Answer, error) { return &Answer{}, nil }

// Clients are known by their address and body: whatever tags, options and
// addresses they put around it, they are recorded.
func TestEveryShapeOfInviteIsTaken(t *testing.T) {
	h := &recorder{}
	s := serve(t, h)
	for i, c := range []struct{ uri, contact, extra string }{
		{"sip:srs@127.0.0.1", "<sip:sbc@127.0.0.1:%s>;+sip.src", "Require: siprec"},
		{"sip:srs@127.0.0.1", "<sip:sbc@127.0.0.1:%s>;src", "Supported:\r\nRecv-Info:\r\nProxy-Require: privacy"},
		{"sip:srs@127.0.0.1", "<sip:sbc@127.0.0.1:%s>;src", "Require: siprec"},
		{"sip:127.0.0.1;lr", "<sip:sbc@127.0.0.1:%s>;+sip.src", "X-A: b"},
		{"sip:srs;transport=udp", "<sip:sbc@127.0.0.1:%s;transport=udp;+sip.src>", "k: replaces, 100rel"},
		{"sip:*72%23rec@127.0.0.1", "<sip:sbc@127.0.0.1:%s>;+sip-src", "Require: siprec\r\nRequire: timer"},
		{"sips:rec@127.0.0.1", "sip:sbc@127.0.0.1:%s", "Call-Info: <urn:x>"},
		{"sip:rec@[::1]:5060", `"H323 \"User\" 1" <sip:sbc@127.0.0.1:%s>;+sip.src="TRUE"`, "Cseq-X: 1"},
		{"tel:+442079460123", "<sip:sbc@127.0.0.1:%s>;isFocus", "Session-Expires: 1800\r\nMin-SE: 1800"},
	} {
		cl := client(t, s, fmt.Sprint("shape", i))
		_, port, _ := net.SplitHostPort(cl.conn.LocalAddr().String())
		body := both(offer, metadata)
		fmt.Fprintf(cl.conn, "INVITE %s SIP/2.0\r\nv: SIP/2.0/UDP 127.0.0.1:%s;branch=z9hG4bKs%d\r\nf: Caller <sip:a@b>;tag=c1\r\n"+
			"t: <sip:srs@127.0.0.1>\r\ni: shape%d\r\nCSeq: 50 INVITE\r\nm: %s\r\n%s\r\nc: %s\r\nMIME-Version: 1.0\r\n\r\n%s",
			c.uri, port, i, i, fmt.Sprintf(c.contact, port), c.extra, mixed, body)
		head, answer := cl.want(200, 50)
		cl.send("ACK", 50, "", "")
		if strings.Count(answer, "a=recvonly") != 2 {
			t.Errorf("%d: answer\n%s", i, answer)
		}
		if sips := strings.Contains(head, "Contact: <sips:"); sips != strings.HasPrefix(c.uri, "sips:") {
			t.Errorf("%d:\n%s", i, head)
		}
		cl.send("BYE", 51, "", "")
		cl.want(200, 51)
	}
	eventually(t, "all closed", func() bool { return len(h.closed()) == 9 })
}
