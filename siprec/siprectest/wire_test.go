package siprectest_test

import (
	"bytes"
	"encoding/xml"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
)

// TestDialectsOnTheWire reads what a recorder gets with the standard library's
// readers, for every dialect and transport.
func TestDialectsOnTheWire(t *testing.T) {
	for _, tc := range []struct {
		name, network, dialect string
		require, tag           string
		kinds                  []string
		root, namespace        string
	}{
		{"rfc7865 over UDP", "udp", "", "siprec", "+sip.src",
			[]string{"application/sdp", "application/rs-metadata+xml"}, "recording", "urn:ietf:params:xml:ns:recording:1"},
		{"draft over TCP", "tcp", siprectest.Draft, "siprec", "+sip.src",
			[]string{"application/sdp", "application/rs-metadata"}, "recording", "urn:ietf:params:xml:ns:recording"},
		{"broadworks over TLS", "tls", siprectest.BroadWorks, "", "src",
			[]string{"application/rs-metadata+xml", "application/sdp"}, "recording_metadata", "urn:ietf:params:xml:ns:siprec"},
		{"none over UDP", "udp", siprectest.NoMetadata, "siprec", "+sip.src", nil, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := newUAS(t, tc.network)
			r, err := siprectest.Run(testContext(t), siprectest.Options{
				Target: u.target, TLS: u.tls, Dialect: tc.dialect, Duration: 100 * time.Millisecond,
				From: "02079460456", To: "02088257050",
				Legs: []siprectest.Leg{{Name: `Mrs "O" & <Co>`, Audio: audio.Tone(440, -20)}, {Audio: audio.Silence()}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if !r.OK() || len(r.Calls[0].Notes) != 0 {
				t.Errorf("report: %+v", r)
			}
			inv := u.seen(sip.INVITE)[0]
			if got := header(inv, "Require"); got != tc.require {
				t.Errorf("Require %q, want %q", got, tc.require)
			}
			if got := header(inv, "Contact"); !strings.HasSuffix(got, ">;"+tc.tag) {
				t.Errorf("Contact %q, want the tag %s", got, tc.tag)
			}
			if inv.Recipient.User != "02088257050" || inv.From().Address.User != "02079460456" {
				t.Errorf("Request-URI %s, From %s", inv.Recipient.String(), inv.From().Value())
			}
			checkSDP(t, bodyPart(t, inv, "application/sdp"))
			if tc.kinds == nil {
				return
			}
			ct := header(inv, "Content-Type")
			got := parts(t, string(inv.Body()), ct[strings.Index(ct, "boundary=")+9:])
			if len(got) != 2 || got[0].kind != tc.kinds[0] || got[1].kind != tc.kinds[1] {
				t.Fatalf("parts %+v, want %v", got, tc.kinds)
			}
			meta := got[slices.IndexFunc(got, func(p bodyPartT) bool { return p.disposition == "recording-session" })]
			checkMetadata(t, meta.body, tc.root, tc.namespace)
			if bye := u.seen(sip.BYE); len(bye) != 1 || bye[0].CSeq().SeqNo != inv.CSeq().SeqNo+1 || bye[0].Recipient.User != "srs" {
				t.Errorf("BYE %v, want one to the Contact with the next CSeq", bye)
			}
		})
	}
}

func header(r *sip.Request, name string) string {
	if h := r.GetHeader(name); h != nil {
		return h.Value()
	}
	return ""
}

func checkSDP(t *testing.T, sdp string) {
	t.Helper()
	if n := strings.Count(sdp, "m=audio "); n != 2 {
		t.Errorf("%d m-lines in %q", n, sdp)
	}
	for _, want := range []string{"v=0\r\no=src ", "c=IN IP4 127.0.0.1\r\n", " RTP/AVP 8 101\r\n", "a=rtpmap:8 PCMA/8000\r\n",
		"a=label:1\r\na=sendonly\r\n", "a=label:2\r\na=sendonly\r\n", "a=ptime:20\r\n"} {
		if !strings.Contains(sdp, want) {
			t.Errorf("the offer lacks %q:\n%s", want, sdp)
		}
	}
}

// node is any XML element.
type node struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Text    string     `xml:",chardata"`
	Nodes   []node     `xml:",any"`
}

func (n node) attr(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Local == name || strings.HasSuffix(a.Name.Local, "_"+name) {
			return a.Value
		}
	}
	return ""
}

func (n node) all(name string) (out []node) {
	for _, c := range n.Nodes {
		if c.XMLName.Local == name {
			out = append(out, c)
		}
		out = append(out, c.all(name)...)
	}
	return out
}

// checkMetadata follows a label to the party that sends its stream.
func checkMetadata(t *testing.T, doc, root, namespace string) {
	t.Helper()
	var n node
	if err := xml.Unmarshal([]byte(doc), &n); err != nil {
		t.Fatalf("metadata: %v\n%s", err, doc)
	}
	if n.XMLName.Local != root || n.XMLName.Space != namespace {
		t.Errorf("root %v", n.XMLName)
	}
	var stream string
	for _, s := range n.all("stream") {
		if strings.TrimSpace(s.all("label")[0].Text) == "2" {
			stream = s.attr("id")
		}
	}
	var party string
	for _, holder := range append(n.all("participant"), n.all("participantstreamassoc")...) {
		for _, send := range holder.all("send") {
			if strings.TrimSpace(send.Text) == stream || len(send.Nodes) == 1 && send.Nodes[0].Text == stream {
				party = holder.attr("id")
			}
		}
	}
	for _, p := range n.all("participant") {
		if p.attr("id") != party {
			if !strings.Contains(doc, "Mrs &#34;O&#34; &amp; &lt;Co&gt;") {
				t.Errorf("the name is not there, escaped: %s", doc)
			}
			continue
		}
		aor := ""
		if id := p.all("nameID"); len(id) > 0 {
			aor = id[0].attr("aor")
		} else if a := p.all("aor"); len(a) > 0 {
			aor = a[0].Text
		}
		if aor != "sip:02088257050@example.org" {
			t.Errorf("label 2 belongs to %q", aor)
		}
		return
	}
	t.Errorf("label 2 leads to stream %q and party %q, and to nobody:\n%s", stream, party, doc)
}

// TestRTPIsExact holds every field and byte of every packet against the audio.
func TestRTPIsExact(t *testing.T) {
	for _, tc := range []struct {
		codec   string
		pt      uint8
		ptime   time.Duration
		samples int
		shared  bool
	}{
		{siprectest.PCMA, 8, 20 * time.Millisecond, 160, false},
		{siprectest.PCMU, 0, 30 * time.Millisecond, 240, false},
		{siprectest.PCMA, 8, 10 * time.Millisecond, 80, true},
	} {
		t.Run(tc.codec+tc.ptime.String(), func(t *testing.T) {
			u := newUAS(t, "udp")
			left, right := audio.Tone(440, -20), audio.Beeps(1000, -10, 50*time.Millisecond, 170*time.Millisecond)
			r, err := siprectest.Run(testContext(t), siprectest.Options{
				Target: u.target, Codec: tc.codec, Ptime: tc.ptime, Duration: 600 * time.Millisecond, SharePorts: tc.shared,
				Legs: []siprectest.Leg{{Audio: left, SSRC: 0x11223344}, {Audio: right}},
			})
			if err != nil || !r.OK() {
				t.Fatalf("%v %v", err, r)
			}
			want := int(600 * time.Millisecond / tc.ptime)
			for i, a := range []siprectest.Audio{left, right} {
				leg := r.Calls[0].Legs[i]
				if leg.Sent != want {
					t.Errorf("leg %d: %d packets reported, want %d", i, leg.Sent, want)
				}
				got := u.packets(i, want)
				if len(got) != want {
					t.Errorf("leg %d: %d packets, want %d", i, len(got), want)
				}
				pcm := a.Limit(600 * time.Millisecond).PCM
				for k, p := range got {
					if p.PayloadType != tc.pt || p.SSRC != leg.SSRC || p.Marker != (k == 0) ||
						p.SequenceNumber != leg.FirstSequence+uint16(k) ||
						p.Timestamp != leg.FirstTimestamp+uint32(k*tc.samples) {
						t.Fatalf("leg %d packet %d: %+v, want from %+v", i, k, p.Header, leg)
					}
					if !bytes.Equal(p.Payload, encode(tc.codec, pcm[k*tc.samples:(k+1)*tc.samples])) {
						t.Fatalf("leg %d packet %d: the payload is not the audio", i, k)
					}
				}
			}
			if got := u.packets(0, 1)[0].SSRC; got != 0x11223344 {
				t.Errorf("SSRC %#x, want the one that was set", got)
			}
		})
	}
}

func encode(codec string, pcm []int16) []byte {
	out := make([]byte, len(pcm))
	for i, v := range pcm {
		if codec == siprectest.PCMU {
			out[i] = audio.EncodeMuLaw(v)
		} else {
			out[i] = audio.EncodeALaw(v)
		}
	}
	return out
}

// TestPacing checks that packets come at the pace of their timestamps.
func TestPacing(t *testing.T) {
	const period = 20 * time.Millisecond
	inTime(t, func() time.Duration {
		u := newUAS(t, "udp")
		r, err := siprectest.Run(testContext(t), siprectest.Options{
			Target: u.target, Duration: 2 * time.Second,
			Legs: []siprectest.Leg{{Audio: audio.Silence()}, {Audio: audio.Silence(), Start: 500 * time.Millisecond}},
		})
		if err != nil || !r.OK() {
			t.Fatalf("%v %v", err, r)
		}
		first := u.packets(0, 100)
		late := u.packets(1, 75)
		if len(first) != 100 || len(late) != 75 {
			t.Fatalf("%d and %d packets, want 100 and 75", len(first), len(late))
		}
		if talk := r.Calls[0].TalkSeconds; talk < 1.95 || talk > 5 {
			t.Errorf("talk %.3f s, want 2", talk)
		}
		began := r.Calls[0].MediaAt
		return max(lateness(t, first, began, period), lateness(t, late, began.Add(500*time.Millisecond), period))
	})
}

// inTime places a call up to three times until it is as punctual as it should
// be: a busy machine may hold up its sender, or its reader.
func inTime(t *testing.T, call func() time.Duration) {
	t.Helper()
	least := time.Hour
	for try := 0; try < 3 && least > 20*time.Millisecond; try++ {
		least = min(least, call())
	}
	if least > 20*time.Millisecond {
		t.Errorf("the calls came late, by %v at least", least)
	}
}

// lateness is how late the most punctual packet of the last quarter is, if the
// first one is due at an instant and one every period. None may be early.
func lateness(t *testing.T, got []arrival, first time.Time, period time.Duration) time.Duration {
	t.Helper()
	least := time.Hour
	for k, p := range got {
		late := p.at.Sub(first) - time.Duration(k)*period
		if late < 0 {
			t.Errorf("packet %d came %v too early", k, -late)
		}
		if k >= len(got)*3/4 {
			least = min(least, late)
		}
	}
	return least
}

// TestDefaultsSpeak places a call with nothing but a target.
func TestDefaultsSpeak(t *testing.T) {
	t.Parallel()
	u := newUAS(t, "udp")
	r, err := siprectest.Run(testContext(t), siprectest.Options{Target: u.target})
	if err != nil || !r.OK() {
		t.Fatalf("%v %v", err, r)
	}
	if r.Totals.MediaSeconds < 5 || r.Totals.MediaSeconds > 8 {
		t.Errorf("%.2f s of speech, want about 6", r.Totals.MediaSeconds)
	}
	for i := range 2 {
		want := int(r.Totals.MediaSeconds / 0.02)
		got := u.packets(i, want)
		loud := 0
		for _, p := range got {
			if slices.ContainsFunc(p.Payload, func(b byte) bool { return b&0x7f^0x55 > 0x40 }) {
				loud++
			}
		}
		if loud < want/5 || loud > want*3/4 {
			t.Errorf("leg %d talks in %d of %d packets", i, loud, want)
		}
	}
	for _, want := range []string{"1 of 1 calls completed, 200: 1", "leg 1: to 127.0.0.1:", "packets sent"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, r)
		}
	}
}
