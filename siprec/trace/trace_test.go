package trace

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func start() time.Time { return time.Date(2026, 11, 23, 14, 0, 0, 123456789, time.UTC) }

// said makes a message of a dialog. The client's tag is a, ours b.
func said(callID, first, cseq, body string, out bool) Message {
	request := !strings.HasPrefix(first, "SIP/")
	from, to := "a", "b"
	if out == request {
		from, to = to, from
	}
	raw := first + "\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\r\nFrom: \"x;tag=no\" <sip:s@127.0.0.1;tag=uri>;tag=" + from +
		"\r\nTo: <sip:r@127.0.0.1>;tag=" + to + "\r\nCall-ID: " + callID + "\r\nCSeq: " + cseq + "\r\n"
	if body != "" {
		raw += "Content-Type: application/sdp\r\n"
	}
	m := Message{At: start(), Network: "udp", Out: out, Raw: []byte(raw + "\r\n" + body),
		From: netip.MustParseAddrPort("127.0.0.1:5070"), To: netip.MustParseAddrPort("127.0.0.1:5060")}
	if out {
		m.From, m.To = m.To, m.From
	}
	return m
}

func (r *Ring) note(m Message) { r.Note(m, ReadHead(m.Raw)) }

func invite(id, body string) Message {
	return said(id, "INVITE sip:r@127.0.0.1 SIP/2.0", "1 INVITE", body, false)
}

func TestDialogsGoThroughTheirStates(t *testing.T) {
	r := NewRing(Limits{})
	for _, c := range []struct {
		m    Message
		want State
	}{
		{invite("c1", ""), Opening},
		{said("c1", "SIP/2.0 100 Trying", "1 INVITE", "", true), Opening},
		{said("c1", "SIP/2.0 200 OK", "1 INVITE", "", true), Live},
		{said("c1", "ACK sip:r@127.0.0.1 SIP/2.0", "1 ACK", "", false), Live},
		{said("c1", "SIP/2.0 488 Not Acceptable Here", "2 INVITE", "", true), Live}, // a re-INVITE
		{said("c1", "BYE sip:s@127.0.0.1 SIP/2.0", "1 BYE", "", true), Ended},
		{said("c1", "SIP/2.0 405 Method Not Allowed", "1 BYE", "", false), Ended},
	} {
		r.note(c.m)
		if d, ok := r.Dialog("c1", "a"); !ok || d.State != c.want {
			t.Errorf("after %.30q: %q, want %q", c.m.Raw, d.State, c.want)
		}
	}
	if d := r.ByCallID("c1"); len(d) != 1 || len(d[0].Messages) != 7 {
		t.Errorf("%d dialogs of the Call-ID", len(d))
	}
	r.note(invite("c2", ""))
	r.note(said("c2", "SIP/2.0 403 Line Not Recorded", "1 INVITE", "", true))
	if d := r.RefusedDialogs(); len(d) != 1 || d[0].CallID != "c2" {
		t.Errorf("refused: %v", d)
	}
	if d, _ := r.Last(); d.CallID != "c1" {
		t.Errorf("last: %q", d.CallID)
	}
	for _, m := range []Message{
		said("c3", "OPTIONS sip:r@127.0.0.1 SIP/2.0", "1 OPTIONS", "", false),
		said("c3", "BYE sip:r@127.0.0.1 SIP/2.0", "1 BYE", "", false),
		said("c3", "INVITE sip:s@127.0.0.1 SIP/2.0", "1 INVITE", "", true),
		{Raw: []byte("\r\n\r\n")}, {Raw: nil}, {Raw: []byte("INVITE")},
	} {
		r.note(m)
	}
	if d := r.ByCallID("c3"); d != nil {
		t.Error("what begins no dialog is remembered")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	size := len(invite("00000", "").Raw) + perMessage
	r := NewRing(Limits{Calls: 10 * size, Refused: 3 * size * 2, Dialog: 6 * size})
	// One dialog: its opening and its end stay.
	for i := range 50 {
		m := invite("00000", "")
		m.At = start().Add(time.Duration(i) * time.Second)
		r.note(m)
	}
	d, _ := r.Dialog("00000", "a")
	if n := len(d.Messages); n != 6 || d.LeftOut != 44 ||
		d.Messages[3].At != start().Add(3*time.Second) || d.Messages[5].At != start().Add(49*time.Second) {
		t.Errorf("%d messages, %d left out", n, d.LeftOut)
	}
	// Ended dialogs go before live ones, refused ones push out nobody.
	r.note(invite("ended", ""))
	r.note(said("ended", "BYE sip:r@127.0.0.1 SIP/2.0", "2 BYE", "", false))
	for i := range 40 {
		id := fmt.Sprintf("r%04d", i)
		r.note(invite(id, ""))
		r.note(said(id, "SIP/2.0 503 x", "1 INVITE", "", true))
	}
	if n := len(r.RefusedDialogs()); n < 2 || n > 4 {
		t.Errorf("%d refused dialogs", n)
	}
	if r.ByCallID("ended") == nil {
		t.Error("refused dialogs pushed out another")
	}
	for i := range 3 {
		r.note(invite(fmt.Sprintf("n%04d", i), ""))
	}
	if r.ByCallID("ended") != nil || r.ByCallID("00000") == nil {
		t.Error("a live dialog went before an ended one")
	}
	for i := range 100 {
		r.note(invite(fmt.Sprintf("m%04d", i), ""))
	}
	total := 0
	for _, d := range r.dialogs {
		total += d.size
	}
	if total != r.calls+r.refusedBytes || r.calls > 10*size || r.live.Len()+r.ended.Len()+r.refused.Len() != len(r.dialogs) {
		t.Errorf("%d bytes in %d dialogs, accounted %d and %d", total, len(r.dialogs), r.calls, r.refusedBytes)
	}
}

const secret = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"

func TestSecretsAreOverwritten(t *testing.T) {
	for name, text := range map[string]string{
		"SDES":                     "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:%s|2^20|1:4\r\n",
		"two keys":                 "a=crypto:1 X inline:%s;inline:%s UNENCRYPTED_SRTP\r\n",
		"case and space":           "A=CRYPTO:1 X INLINE:  %s\r\n",
		"no inline":                "a=crypto:1 X %s\r\n",
		"bare LF":                  "v=0\na=crypto:1 X inline:%s\n",
		"bare CR":                  "v=0\ra=crypto:1 X inline:%s\r",
		"k=":                       "k=base64:%s\r\n",
		"MIKEY":                    "a=key-mgmt:mikey %s\r\n",
		"ICE":                      "a=ice-pwd:%s\r\n",
		"digest":                   "Authorization: Digest username=\"x\", response=\"%s\"\r\n",
		"folded":                   "proxy-authorization : Digest username=\"x\",\r\n response=\"%s\"\r\n\tnonce=\"%s\"\r\n",
		"encoded part":             "--b\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n%s\r\n--b--",
		"encoded body":             "Content-Encoding: deflate\r\n\r\n%s\r\n\r\n%s",
		"in XML":                   "<x>a=crypto:1 X inline:%s</x>",
		"letters that shrink":      "\u212a\u0130 inline:%s\r\n",
		"cut off":                  "a=crypto:1 X inline:%s",
		"second message in a line": "junk inline:%s\r\n",
	} {
		raw := []byte(strings.ReplaceAll(text, "%s", secret))
		got := Scrub(raw)
		if bytes.Contains(got, []byte(secret[:12])) || len(got) != len(raw) {
			t.Errorf("%s: %q", name, got)
		}
		if !bytes.Contains(raw, []byte(secret)) {
			t.Errorf("%s: the caller's bytes were changed", name)
		}
	}
	harmless := "INVITE sip:02088257050@127.0.0.1 SIP/2.0\r\nFrom: <sip:a@b>\r\n\r\nv=0\r\na=fingerprint:sha-256 AB:CD\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"
	if got := string(Scrub([]byte(harmless + secret + "|2^20|1:4\r\n"))); !strings.HasPrefix(got, harmless) || !strings.HasSuffix(got, "xx|2^20|1:4\r\n") {
		t.Errorf("more than the secret went: %q", got)
	}
}

func FuzzScrub(f *testing.F) {
	f.Add([]byte("INVITE x SIP/2.0\r\nCall-ID: 1\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\n\r\nv=0\r\nm=audio 1 RTP/AVP 0\r\na=crypto:1 X inline:abc|1\r\n--b--"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := Scrub(raw)
		if len(got) != len(raw) {
			t.Fatal("the length changed")
		}
		for line := range strings.SplitSeq(strings.ReplaceAll(string(got), "\r", "\n"), "\n") {
			if _, key, ok := strings.Cut(line, "a=crypto:1 X inline:"); ok {
				key, _, _ = strings.Cut(key, "|")
				key, _, _ = strings.Cut(key, ";")
				if key, _, _ = strings.Cut(strings.TrimLeft(key, " "), " "); strings.Trim(key, "x\t") != "" && !strings.Contains(key, "\t") {
					t.Fatalf("%q is left", key)
				}
			}
		}
		m := Message{Raw: got}
		_ = m.Summary()
		var w bytes.Buffer
		d := Dialog{Messages: []Message{m}}
		if d.WriteLadder(&w, nil) != nil || d.WriteRaw(&w) != nil || WritePcap(&w, d.Messages) != nil {
			t.Fatal("not written")
		}
	})
}

const sdpBody = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" +
	"m=audio 4000 RTP/SAVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\na=label:1\r\n" +
	"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + secret + "|2^20|1:4\r\n" +
	"m=video 0 RTP/AVP 96\r\n"

func TestLadderTellsWhatBodiesDescribe(t *testing.T) {
	r := NewRing(Limits{})
	m := said("c1", "INVITE sip:r@127.0.0.1 SIP/2.0", "1 INVITE", "", false)
	m.Raw = append(bytes.TrimSuffix(m.Raw, []byte("\r\n")), "Subject: \x1b[31m\r\nContent-Type: multipart/mixed;boundary=\"b\"\r\n\r\n--b\r\nContent-Type: application/sdp\r\n\r\n"+sdpBody+
		"\r\n--b\r\nContent-Type: application/rs-metadata+xml\r\n\r\n<?xml version='1.0'?><recording xmlns='urn:ietf:params:xml:ns:recording:1'>"+
		"<participant participant_id='p1'><nameID aor='sip:02079460123@x'><name>A\u202eB</name></nameID></participant>"+
		"<stream stream_id='s1'><label>1</label></stream>"+
		"<participantstreamassoc participant_id='p1'><send>s1</send></participantstreamassoc></recording>\r\n--b--"...)
	r.note(m)
	r.note(said("c1", "SIP/2.0 200 OK", "1 INVITE", sdpBody, true))
	d, _ := r.Dialog("c1", "a")
	var b strings.Builder
	if err := d.WriteLadder(&b, []Event{{At: start().Add(time.Second), Kind: "media", Text: "first packet"}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"── INVITE ─", "◄── 200 OK ─", "14:00:00.123", "14:00:01.123 · media: first packet",
		"audio RTP/SAVP 127.0.0.1:4000 PCMA TELEPHONE-EVENT, sendonly, SDES keys, label 1", "video RTP/AVP, closed",
		"metadata, complete", "sip:02079460123@x", "sends 1",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	if err := d.WriteRaw(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), secret[:12]) || strings.ContainsAny(b.String(), "\x1b\u202e") {
		t.Error("a key or an escape sequence is shown")
	}
}

// TestPcapIsReadByTcpdump lets tcpdump check lengths and sums and print the
// requests.
func TestPcapIsReadByTcpdump(t *testing.T) {
	v6 := said("c1", "SIP/2.0 200 OK", "1 INVITE", "", true)
	v6.From, v6.To = netip.MustParseAddrPort("[2001:db8::5]:5060"), netip.MustParseAddrPort("[2001:db8::9]:5070")
	odd := invite("c1", "")
	odd.Raw = append(odd.Raw, 'x')
	huge := invite("c1", strings.Repeat("a", 70000))
	path := filepath.Join(t.TempDir(), "call.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := WritePcap(f, []Message{invite("c1", sdpBody), odd, v6, huge}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tcpdump", "-nn", "-tttt", "-vv", "-r", path).CombinedOutput()
	if err != nil {
		t.Fatalf("tcpdump: %v\n%s", err, out)
	}
	for _, want := range []string{
		"14:00:00.123456", "127.0.0.1.5070 > 127.0.0.1.5060: [udp sum ok] SIP", "INVITE sip:r@127.0.0.1 SIP/2.0",
		"2001:db8::5.5060 > 2001:db8::9.5070: [udp sum ok] SIP", "SIP/2.0 200 OK",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if n := strings.Count(string(out), "[udp sum ok]"); n != 4 || strings.Contains(string(out), "bad udp cksum") {
		t.Errorf("%d good sums in\n%s", n, out)
	}
}

// TestWhatIsOverIsForgotten lets an hour pass after one call has ended and
// while another is live.
func TestWhatIsOverIsForgotten(t *testing.T) {
	r := NewRing(Limits{})
	for _, id := range []string{"over", "live"} {
		r.note(invite(id, ""))
		r.note(said(id, "SIP/2.0 200 OK", "1 INVITE", "", true))
	}
	r.note(said("over", "BYE sip:s@127.0.0.1 SIP/2.0", "2 BYE", "", false))
	keepAlive := said("x", "OPTIONS sip:r@127.0.0.1 SIP/2.0", "1 OPTIONS", "", false)
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{time.Minute, 1}, {2 * time.Hour, 0}} {
		keepAlive.At = start().Add(c.after)
		r.note(keepAlive)
		if n := len(r.ByCallID("over")); n != c.want {
			t.Errorf("%v later: %d dialogs, want %d", c.after, n, c.want)
		}
		if len(r.ByCallID("live")) != 1 {
			t.Errorf("%v later the live one is forgotten", c.after)
		}
	}
}
