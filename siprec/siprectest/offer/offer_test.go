package offer_test

import (
	"mime"
	"mime/multipart"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"siprecd/siprec/siprectest/offer"
)

func TestReadAnswer(t *testing.T) {
	got := offer.ReadAnswer([]byte("v=0\no=- 1 1 IN IP4 10.0.0.9\nc=IN IP4 10.0.0.1\na=recvonly\n" +
		"m=audio 4000 RTP/AVP 8 101\r\na=label:1\r\nm=audio 0 RTP/AVP 8\r\na=label:2\r\na=inactive\r\n" +
		"m=audio 4004 RTP/AVP 0\nc=IN IP6 ::1"))
	want := []offer.AnswerLine{
		{Addr: netip.MustParseAddr("10.0.0.1"), Port: 4000, Formats: []string{"8", "101"}, Direction: "recvonly", Label: "1", Proto: "RTP/AVP"},
		{Addr: netip.MustParseAddr("10.0.0.1"), Formats: []string{"8"}, Direction: "inactive", Label: "2", Proto: "RTP/AVP"},
		{Addr: netip.MustParseAddr("::1"), Port: 4004, Formats: []string{"0"}, Direction: "recvonly", Proto: "RTP/AVP"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if held := offer.ReadAnswer([]byte("m=audio 4000 RTP/AVP 8\nc=IN IP4 0.0.0.0")); held[0].Receives() {
		t.Error("0.0.0.0 receives")
	}
	if !got[0].Receives() || got[1].Receives() || offer.ReadAnswer(nil) != nil {
		t.Error("which lines receive is wrong")
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte("c=IN IP4 10.0.0.1\nm=audio 4000 RTP/AVP 8\na=label:1\n"))
	f.Fuzz(func(t *testing.T, sdp []byte) {
		if n := len(offer.ReadAnswer(sdp)); n > strings.Count(string(sdp), "m=") {
			t.Errorf("%d m-lines", n)
		}
	})
}

func TestSDP(t *testing.T) {
	s := offer.SDP{Addr: netip.MustParseAddr("::1"), ID: 7, Version: 3, Ptime: 30,
		Lines: []offer.Line{{Port: 5000, Codec: offer.PCMU, Label: "x", Direction: "inactive"}}, Extra: []string{"m=text 0 RTP/AVP 98"}}
	want := "v=0\r\no=src 7 3 IN IP6 ::1\r\ns=SIPREC\r\nc=IN IP6 ::1\r\nt=0 0\r\n" +
		"m=audio 5000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n" +
		"a=ptime:30\r\na=label:x\r\na=inactive\r\nm=text 0 RTP/AVP 98\r\n"
	if got := string(s.Write()); got != want {
		t.Errorf("got %q", got)
	}
}

func TestJoin(t *testing.T) {
	sdp, meta := []byte("v=0\r\n"), []byte("<recording/>")
	for _, c := range []struct {
		name      string
		sdp, meta []byte
		want      string
	}{
		{"nothing", nil, nil, ""}, {"sdp", sdp, nil, "application/sdp"}, {"metadata", nil, meta, "application/rs-metadata+xml"},
	} {
		if got := offer.Join(offer.RFC7865, c.sdp, c.meta); got.Type != c.want {
			t.Errorf("%s: %q", c.name, got.Type)
		}
	}
	b := offer.Join(offer.BroadWorks, sdp, meta)
	_, params, err := mime.ParseMediaType(b.Type)
	if err != nil {
		t.Fatal(err)
	}
	r := multipart.NewReader(strings.NewReader(string(b.Data)), params["boundary"])
	for _, want := range []string{"12", "5"} {
		p, err := r.NextRawPart()
		if err != nil || p.Header.Get("Content-Length") != want {
			t.Errorf("%v: part of %v, want length %s", err, p, want)
		}
	}
	if !strings.Contains(string(b.Data), "\r\nContent-Type:application/sdp\r\n") {
		t.Error("BroadWorks writes no space after the colon")
	}
}

func TestUID(t *testing.T) {
	u := offer.NewUID()
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(u.String()) || u == offer.NewUID() {
		t.Errorf("UID %s", u)
	}
	if offer.Random32() == 0 || len(offer.Token()) != 16 {
		t.Error("random numbers and tokens")
	}
}
