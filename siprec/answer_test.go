package siprec

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"siprecd/siprec/rsmeta"
	"siprecd/siprec/sdp"
)

func mustAnswer(t *testing.T, offer *sdp.Description, a *Answer) *sdp.Description {
	t.Helper()
	b, err := buildAnswer(offer, a, sdpOrigin{7, 1})
	if err != nil {
		t.Fatal(err)
	}
	d, err := sdp.Parse(b)
	if err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	if len(d.Media) != len(offer.Media) {
		t.Fatalf("%d m-lines for %d", len(d.Media), len(offer.Media))
	}
	return d
}

func offerOf(t *testing.T, name string) *sdp.Description {
	t.Helper()
	d, _ := readFixture(t, name).read(t, &rsmeta.State{})
	return d
}

// everything accepts every m-line on ports of its own.
func everything(offer *sdp.Description) *Answer {
	a := &Answer{Addr: netip.MustParseAddr("198.51.100.5")}
	for i := range offer.Media {
		a.Media = append(a.Media, AnswerMedia{Port: 20000 + 2*i, Direction: sdp.RecvOnly})
	}
	return a
}

func TestAnswerKeepsOrderAndLabels(t *testing.T) {
	for _, name := range []string{"oracle-complete", "opensips-video-labels-missing", "phrsite-eight-streams",
		"sems-letter-labels", "metaswitch-terminating", "webex-metadata-first", "generic-sdp-bare"} {
		t.Run(name, func(t *testing.T) {
			offer := offerOf(t, name)
			got := mustAnswer(t, offer, everything(offer))
			for i, m := range got.Media {
				o := offer.Media[i]
				if m.Label != o.Label || m.Kind != o.Kind || m.Proto != o.Proto || m.Port != 20000+2*i {
					t.Errorf("m-line %d: %+v for %+v", i, m, o)
				}
				if m.Direction != sdp.RecvOnly {
					t.Errorf("m-line %d: %s", i, m.Direction)
				}
				for j, f := range m.Formats {
					if w := o.Formats[j]; f != w {
						t.Errorf("m-line %d: format %+v, offered %+v", i, f, w)
					}
				}
			}
		})
	}
}

func TestAnswerDirections(t *testing.T) {
	for _, c := range []struct{ offered, wanted, want sdp.Direction }{
		{sdp.SendOnly, sdp.RecvOnly, sdp.RecvOnly},
		{sdp.SendRecv, sdp.RecvOnly, sdp.RecvOnly},
		{sdp.SendOnly, sdp.Inactive, sdp.Inactive},
		{sdp.Inactive, sdp.RecvOnly, sdp.Inactive},
		{sdp.RecvOnly, sdp.RecvOnly, sdp.Inactive},
		{sdp.SendRecv, sdp.SendRecv, sdp.RecvOnly}, // we never send
		{sdp.SendRecv, "", sdp.RecvOnly},
	} {
		offer := ProposedOffer()
		offer.Media[0].Direction = c.offered
		a := everything(offer)
		a.Media[0].Direction = c.wanted
		if got := mustAnswer(t, offer, a).Media[0].Direction; got != c.want {
			t.Errorf("%s offered, %s wanted: %s, want %s", c.offered, c.wanted, got, c.want)
		}
	}
}

func TestAnswerPicksFormats(t *testing.T) {
	offer := offerOf(t, "broadworks-queue-number")
	a := everything(offer)
	a.Media[0].Formats = []uint8{0, 101}
	b, err := buildAnswer(offer, a, sdpOrigin{7, 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"o=- 7 2 IN IP4 198.51.100.5\r\n", "m=audio 20000 RTP/AVP 0 101\r\n",
		"a=rtpmap:101 telephone-event/8000\r\n", "a=fmtp:101 0-15\r\n", "a=ptime:20\r\n", "a=label:1\r\n"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in\n%s", want, b)
		}
	}
	a.Media[0].Formats = []uint8{0, 96}
	if _, err := buildAnswer(offer, a, sdpOrigin{}); err == nil || !strings.Contains(err.Error(), "96") {
		t.Errorf("a payload type that was not offered: %v", err)
	}
}

func TestAnswerRejectsALine(t *testing.T) {
	offer := offerOf(t, "opensips-video-labels-missing")
	a := everything(offer)
	a.Media[1] = AnswerMedia{}
	offer.Media[3].Port = 0 // closed by the client: must stay closed (RFC 3264 6)
	got := mustAnswer(t, offer, a)
	if got.Media[1].Port != 0 || got.Media[3].Port != 0 || got.Media[0].Port == 0 {
		t.Errorf("%+v", got.Media)
	}
	if !slices.Equal(got.Media[1].FormatIDs, offer.Media[1].FormatIDs) {
		t.Errorf("formats of the rejected line: %v", got.Media[1].FormatIDs)
	}
}

func TestAnswerWithoutKeys(t *testing.T) {
	offer := offerOf(t, "ff-quoted-boundary-savp")
	_, err := buildAnswer(offer, everything(offer), sdpOrigin{})
	wantRefusal(t, err, 488)
	offer.Media[0].Proto = "RTP/AVP"
	if got := mustAnswer(t, offer, everything(offer)); got.Media[0].Port == 0 || got.Media[1].Port != 0 {
		t.Errorf("%+v", got.Media)
	}
}

func TestAnswerMistakes(t *testing.T) {
	offer := ProposedOffer()
	for name, a := range map[string]*Answer{
		"nil":        nil,
		"no media":   {Addr: netip.MustParseAddr("198.51.100.5")},
		"no address": {Media: []AnswerMedia{{Port: 4000}}},
		"bad port":   {Addr: netip.MustParseAddr("198.51.100.5"), Media: []AnswerMedia{{Port: 65536}}},
	} {
		if _, err := buildAnswer(offer, a, sdpOrigin{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestProposedOffer(t *testing.T) {
	offer := ProposedOffer()
	if offer.Media[0].OnHold() {
		t.Error("the proposal looks like a hold to the handler")
	}
	a := everything(offer)
	a.Addr = netip.MustParseAddr("2001:db8::9")
	b, err := buildOffer(offer, a, sdpOrigin{3, 1})
	if err != nil {
		t.Fatal(err)
	}
	want := "v=0\r\no=- 3 1 IN IP6 2001:db8::9\r\ns=-\r\nc=IN IP6 2001:db8::9\r\nt=0 0\r\n" +
		"m=audio 20000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n" +
		"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=recvonly\r\n"
	if string(b) != want {
		t.Errorf("got\n%s", b)
	}
}

func TestOfferOfHeldStreams(t *testing.T) {
	held := offerOf(t, "audiocodes-hold")
	b, err := buildOffer(held, everything(held), sdpOrigin{3, 2})
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "a=recvonly\r\n"); n != 2 {
		t.Errorf("%d lines recvonly in\n%s", n, b)
	}
}

func TestAnswerWithKeys(t *testing.T) {
	offer := offerOf(t, "ff-quoted-boundary-savp")
	a := everything(offer)
	own := &sdp.Crypto{Tag: 2, Suite: "AES_CM_128_HMAC_SHA1_80", Keys: []sdp.MasterKey{{KeySalt: make([]byte, 30)}}}
	a.Media[1].Crypto = own
	b, err := buildAnswer(offer, a, sdpOrigin{7, 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"m=audio 0 RTP/SAVP 8 100\r\n", "m=audio 20002 RTP/SAVP 8 100\r\n",
		"a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in\n%s", want, b)
		}
	}
	if n := strings.Count(string(b), "a=crypto"); n != 1 {
		t.Errorf("%d crypto lines", n)
	}
	a.Media[1].Fingerprint = &sdp.Fingerprint{Hash: "sha-256", Sum: []byte{1}}
	if _, err := buildAnswer(offer, a, sdpOrigin{7, 1}); err == nil {
		t.Error("two ways of keying in one answer")
	}
	a.Media[1].Crypto, a.Media[1].Setup = nil, "active"
	if b, err = buildAnswer(offer, a, sdpOrigin{7, 1}); err != nil || !strings.Contains(string(b), "a=fingerprint:sha-256 01\r\na=setup:active\r\n") {
		t.Errorf("%v in\n%s", err, b)
	}
}
