package siprec

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/sdp"
	"siprecd/siprec/uas"
)

// taker takes every call on every line that is offered.
type taker struct{ seen Change }

func (h *taker) Open(_ context.Context, _ *Session, c Change) (*Answer, error) {
	h.seen = c
	a := &Answer{}
	for _, m := range c.Offer.Media {
		am := AnswerMedia{Port: 20000, Direction: sdp.RecvOnly}
		if len(m.Formats) > 0 {
			am.Formats = []uint8{m.Formats[0].PT}
		}
		a.Media = append(a.Media, am)
	}
	return a, nil
}

func (h *taker) Change(ctx context.Context, s *Session, c Change) (*Answer, error) {
	if c.Offer == nil {
		return nil, nil
	}
	return h.Open(ctx, s, c)
}

func (h *taker) Close(*Session, End) {}

// FuzzWholeWay takes a message from the wire the whole way: SIP, multipart,
// session description, metadata, identity, answer; then once more, as a change
// of the call that it began. What comes out is bounded and can be read.
func FuzzWholeWay(f *testing.F) {
	head := "INVITE sip:rec@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: \"A\" <sip:02079460123@a>;tag=1\r\nTo: <sip:02088257050@b>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContact: <sip:src@h>;+sip.src\r\nDiversion: <sip:02088257050@b>\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n"
	desc := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=label:1\r\na=sendonly\r\nm=audio 4002 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n"
	xml := `<?xml version="1.0"?><recording xmlns="urn:ietf:params:xml:ns:recording:1"><session session_id="s"/><participant participant_id="p"><nameID aor="sip:a@b"><name>A</name></nameID></participant><stream stream_id="t" session_id="s"><label>1</label></stream><participantstreamassoc participant_id="p"><send>t</send></participantstreamassoc></recording>`
	whole := head + "--b\r\nContent-Type: application/sdp\r\n\r\n" + desc + "\r\n--b\r\nContent-Type: application/rs-metadata+xml\r\n\r\n" + xml + "\r\n--b--\r\n"
	f.Add([]byte(whole))
	f.Add([]byte(strings.ReplaceAll(whole, "--b", "-- b")))
	f.Add([]byte(strings.Replace(whole, "multipart/mixed;boundary=b", "application/sdp", 1)))
	f.Add([]byte(strings.Replace(whole, "<session", "<!DOCTYPE r [<!ENTITY a \"b\">]><x:y>&a;", 1)))
	f.Fuzz(func(t *testing.T, in []byte) {
		msg, err := sip.ParseMessage(in)
		if err != nil {
			return
		}
		req, ok := msg.(*sip.Request)
		if !ok {
			return
		}
		r := &uas.Request{Method: "INVITE", CSeq: 1, At: time.Now(), URI: req.Recipient.String(), Fields: map[string][]string{}, Body: req.Body()}
		for _, h := range req.Headers() {
			r.Fields[h.Name()] = append(r.Fields[h.Name()], h.Value())
		}
		if h := req.ContentType(); h != nil {
			r.ContentType = h.Value()
		}
		h := &taker{}
		c := &call{handler: h, ses: &Session{}, count: func(string) {}}
		began := time.Now()
		reply, err := c.open(t.Context(), r)
		if err == nil {
			checkWay(t, h, c, reply)
			r.CSeq++
			if reply, err = c.Change(t.Context(), r); err == nil {
				checkWay(t, h, c, reply)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%d bytes took %v", len(in), took)
		}
	})
}

func checkWay(t *testing.T, h *taker, c *call, reply uas.Reply) {
	t.Helper()
	if len(reply.Body) > 0 {
		d, err := sdp.Parse(reply.Body)
		if err != nil {
			t.Fatalf("our own answer cannot be read: %v\n%s", err, reply.Body)
		}
		if h.seen.Offer != nil && len(d.Media) != len(h.seen.Offer.Media) {
			t.Errorf("%d lines answer %d", len(d.Media), len(h.seen.Offer.Media))
		}
		if bytes.Contains(reply.Body, []byte("\n\r\n")) {
			t.Error("a line of the answer is empty")
		}
	}
	if n := len(h.seen.MetadataRaw); n > maxMetadata {
		t.Errorf("%d bytes of metadata are kept", n)
	}
	_ = c.ses.Identity()
}
