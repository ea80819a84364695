package sdp

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

const head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"

func mustParse(t *testing.T, text string) *Description {
	t.Helper()
	d, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return d
}

// TestParseShapes: every text means the same as the plainest one.
func TestParseShapes(t *testing.T) {
	plain := head + "m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=label:1\r\na=sendonly\r\n"
	want := mustParse(t, plain).Media
	body := strings.TrimPrefix(plain, head)
	for name, text := range map[string]string{
		"LF":                   strings.ReplaceAll(plain, "\r\n", "\n"),
		"CR":                   strings.ReplaceAll(plain, "\r\n", "\r"),
		"no final line end":    strings.TrimSuffix(plain, "\r\n"),
		"trailing NUL":         plain + "\x00\x00",
		"trailing blank lines": plain + "\r\n  \r\n",
		"leading blank line":   "\r\n" + plain,
		"byte order mark":      "\ufeff" + plain,
		"no s=":                strings.Replace(plain, "s=-\r\n", "", 1),
		"empty s=":             strings.Replace(plain, "s=-", "s=", 1),
		"no t=":                strings.Replace(plain, "t=0 0\r\n", "", 1),
		"no v=, o=, s=, t=":    "c=IN IP4 192.0.2.1\r\n" + body,
		"c= last":              strings.Replace(plain, "c=IN IP4 192.0.2.1\r\n", "", 1) + "c=IN IP4 192.0.2.1\r\n",
		"b= before c=":         strings.Replace(plain, "c=", "b=AS:64\r\nb=TIAS:64000\r\nc=", 1),
		"a= before t=":         strings.Replace(plain, "t=0 0", "a=sendonly\r\nt=0 0", 1),
		"unknown lines":        strings.Replace(plain, "t=0 0", "y=1\r\nt=0 0\r\ngarbage\r\n=\r\nz", 1),
		"lower-case in ip4":    strings.Replace(plain, "c=IN IP4", "c=in ip4", 1),
		"address with ttl":     strings.Replace(plain, "c=IN IP4 192.0.2.1", "c=IN IP4 192.0.2.1/127", 1),
		"doubled blanks":       strings.Replace(plain, "m=audio 4000 RTP/AVP 0 101", "m=audio  4000 RTP/AVP  0 101 ", 1),
		"port with count":      strings.Replace(plain, "m=audio 4000 ", "m=audio 4000/2 ", 1),
		"kind in capitals":     strings.Replace(plain, "m=audio", "m=AUDIO", 1),
	} {
		got := mustParse(t, text).Media
		got[0].Attrs, want[0].Attrs = nil, nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
	}
}

func TestParseMedia(t *testing.T) {
	for _, c := range []struct {
		name, text string
		check      func(m Media) bool
	}{
		{"label trimmed", "m=audio 1 RTP/AVP 0\na=label: 16777227 ", func(m Media) bool { return m.Label == "16777227" }},
		{"label in capitals", "m=audio 1 RTP/AVP 0\na=Label:a_leg", func(m Media) bool { return m.Label == "a_leg" }},
		{"no label", "m=audio 1 RTP/AVP 0", func(m Media) bool { return m.Label == "" }},
		{"no direction", "m=audio 1 RTP/AVP 0", func(m Media) bool { return m.Direction == SendRecv }},
		{"session direction", "a=inactive\nm=audio 1 RTP/AVP 0", func(m Media) bool { return m.Direction == Inactive }},
		{"media over session direction", "a=inactive\nm=audio 1 RTP/AVP 0\na=SendOnly ", func(m Media) bool { return m.Direction == SendOnly }},
		{"media c=", "c=IN IP4 192.0.2.1\nm=audio 1 RTP/AVP 0\nc=IN IP4 192.0.2.2", func(m Media) bool { return m.Addr == netip.MustParseAddr("192.0.2.2") }},
		{"no c=", "m=audio 1 RTP/AVP 0", func(m Media) bool { return !m.Addr.IsValid() && !m.OnHold() }},
		{"c= with a name hides the session's", "c=IN IP4 192.0.2.1\nm=audio 1 RTP/AVP 0\nc=IN IP4 sbc.example", func(m Media) bool { return !m.Addr.IsValid() }},
		{"IPv6", "m=audio 1 RTP/AVP 0\nc=IN IP6 2001:db8::1", func(m Media) bool { return m.Addr == netip.MustParseAddr("2001:db8::1") }},
		{"null address is hold", "m=audio 1 RTP/AVP 0\nc=IN IP4 0.0.0.0", func(m Media) bool { return m.OnHold() }},
		{"port 0", "m=audio 0 RTP/AVP 0", func(m Media) bool { return m.Port == 0 && !m.RTCP.IsValid() && m.RTCP.Port() == 0 }},
		{"rtcp by default", "c=IN IP4 192.0.2.1\nm=audio 35011 RTP/AVP 0", func(m Media) bool { return m.RTCP == netip.MustParseAddrPort("192.0.2.1:35012") }},
		{"rtcp port", "c=IN IP4 192.0.2.1\nm=audio 35011 RTP/AVP 0\na=rtcp:40000", func(m Media) bool { return m.RTCP == netip.MustParseAddrPort("192.0.2.1:40000") }},
		{"rtcp address", "m=audio 1 RTP/AVP 0\na=rtcp:40000 IN IP4 192.0.2.7", func(m Media) bool { return m.RTCP == netip.MustParseAddrPort("192.0.2.7:40000") }},
		{"rtcp-mux", "m=audio 1 RTP/AVP 0\na=rtcp-mux", func(m Media) bool { return m.RTCPMux }},
		{"highest port", "m=audio 65535 RTP/AVP 0", func(m Media) bool { return m.RTCP.Port() == 0 }},
		{"ptime", "m=audio 1 RTP/AVP 0\na=ptime:30", func(m Media) bool { return m.Ptime == 30*time.Millisecond }},
		{"broken ptime", "m=audio 1 RTP/AVP 0\na=ptime:2.5", func(m Media) bool { return m.Ptime == 2500*time.Microsecond }},
		{"absurd ptime", "m=audio 1 RTP/AVP 0\na=ptime:NaN", func(m Media) bool { return m.Ptime == 0 }},
		{"unknown attributes kept", "m=audio 1 RTP/AVP 0\na=3gOoBTC\na=X-nat:0", func(m Media) bool { return reflect.DeepEqual(m.Attrs, []string{"3gOoBTC", "X-nat:0"}) }},
		{"message line", "m=message 9000 TCP/MSRP *", func(m Media) bool { return m.Kind == "message" && m.Formats == nil && m.FormatIDs[0] == "*" }},
		{"image line", "m=image 9000 udptl t38", func(m Media) bool { return m.Kind == "image" && m.FormatIDs[0] == "t38" }},
		{"no formats", "m=audio 9000 RTP/AVP", func(m Media) bool { return len(m.Formats) == 0 }},
		{"SAVPF", "m=audio 9000 UDP/TLS/RTP/SAVPF 0", func(m Media) bool { return len(m.Formats) == 1 }},
	} {
		if m := mustParse(t, c.text).Media[0]; !c.check(m) {
			t.Errorf("%s: %+v", c.name, m)
		}
	}
}

func TestParseFormats(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"m=audio 1 RTP/AVP 0 3 4 8 9 10 11 13 15 18 19",
			"0 PCMU/8000/1, 3 GSM/8000/1, 4 G723/8000/1, 8 PCMA/8000/1, 9 G722/8000/1, 10 L16/44100/2, 11 L16/44100/1, 13 CN/8000/1, 15 G728/8000/1, 18 G729/8000/1, 19 CN/8000/1"},
		{"m=audio 1 RTP/AVP 18\na=fmtp:18 annexb=no", "18 G729/8000/1 annexb=no"},
		{"m=audio 1 RTP/AVP 8 0 101\na=rtpmap:101 telephone-event/8000\na=rtpmap:0 pcmu/8000\na=rtpmap:8 PCMA/8000/1\na=fmtp:101 0-16",
			"8 PCMA/8000/1, 0 PCMU/8000/1, 101 TELEPHONE-EVENT/8000/1 0-16"},
		{"m=audio 1 RTP/AVP 111\na=rtpmap:111 opus/48000/2\na=fmtp:111 useinbandfec=1;stereo=0", "111 OPUS/48000/2 useinbandfec=1;stereo=0"},
		{"m=audio 1 RTP/AVP 96 200 x 96", "96 /0/1"},
		{"m=audio 1 RTP/AVP 0\na=rtpmap:0 PCMU", "0 PCMU/8000/1"},
		{"m=audio 1 RTP/AVP 0\na=rtpmap: 0  PCMU/8000", "0 PCMU/8000/1"},
		{"m=audio 1 RTP/AVP 0\na=rtpmap:0 L16/16000/99", "0 L16/16000/1"},
		{"m=audio 1 RTP/AVP 97\na=rtpmap:97 X/-5", "97 X/0/1"},
		{"m=audio 1 RTP/AVP 0\na=rtpmap:\na=rtpmap:0\na=fmtp:\na=fmtp:0", "0 PCMU/8000/1"},
		{"m=audio 1 RTP/AVP 0\na=rtpmap:300 X/1\na=rtpmap:-1 X/1", "0 PCMU/8000/1"},
	} {
		var got []string
		for _, f := range mustParse(t, c.text).Media[0].Formats {
			got = append(got, strings.TrimSpace(fmt.Sprintf("%d %s/%d/%d %s", f.PT, f.Encoding, f.Clock, f.Channels, f.Params)))
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.text, s, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"empty":          {"", ErrMalformed},
		"other text":     {"hello\r\nworld", ErrMalformed},
		"markup":         {"<recording/>", ErrMalformed},
		"no m-line":      {head, ErrNoMedia},
		"short m-line":   {head + "m=audio 1", ErrMalformed},
		"port no number": {head + "m=audio x RTP/AVP 0", ErrMalformed},
		"port too high":  {head + "m=audio 65536 RTP/AVP 0", ErrMalformed},
		"port negative":  {head + "m=audio -1 RTP/AVP 0", ErrMalformed},
		"formats":        {head + "m=audio 1 RTP/AVP" + strings.Repeat(" 0", MaxFormats+1), ErrMalformed},
		"m-lines":        {head + strings.Repeat("m=audio 1 RTP/AVP 0\r\n", MaxMedia+1), ErrTooManyMedia},
		"size":           {head + strings.Repeat("a=x\r\n", MaxBytes/5), ErrTooLarge},
	} {
		if d, err := Parse([]byte(c.text)); !errors.Is(err, c.want) || d != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if d := mustParse(t, head+strings.Repeat("m=audio 1 RTP/AVP 0\r\n", MaxMedia)); len(d.Media) != MaxMedia {
		t.Errorf("%d m-lines of %d", len(d.Media), MaxMedia)
	}
}

// grammar is what we write, by RFC 8866 section 9: each line ends with CRLF, the
// session's lines stand in their order, and after each m= come attributes only.
var grammar = regexp.MustCompile(`\Av=0\r\n` +
	`o=- [0-9]+ [0-9]+ IN IP[46] [0-9a-fA-F.:]+\r\n` +
	`s=-\r\n` +
	`c=IN IP[46] [0-9a-fA-F.:]+\r\n` +
	`t=0 0\r\n` +
	`(m=[^ \x00-\x1f]+ [0-9]{1,5} [^ \x00-\x1f]+( [^ \x00-\x1f]+)+\r\n(a=[a-z-]+(:[^\x00-\x1f]+)?\r\n)*)+\z`)

// TestWriteIsStrict: what we write keeps to the grammar.
func TestWriteIsStrict(t *testing.T) {
	opus := Format{PT: 111, Encoding: "OPUS", Clock: 48000, Channels: 2, Params: "useinbandfec=1"}
	r := Reply{Addr: netip.MustParseAddr("2001:db8::5"), SessionID: 1 << 63, Version: 3, Media: []ReplyMedia{
		{Kind: "audio", Proto: "RTP/AVP", Port: 4000, Formats: []Format{opus, {PT: 96}}, Direction: RecvOnly, Label: "a_leg", Ptime: 20 * time.Millisecond},
		{Kind: "audio", Proto: "RTP/AVP", FormatIDs: []string{"0", "8"}, Label: "2"},
		{Kind: "message", Proto: "TCP/MSRP", Port: 4004, FormatIDs: []string{"*"}, Direction: Inactive},
		{Kind: "video", Proto: "RTP/AVP"},
	}}
	b := Write(r)
	if !grammar.Match(b) {
		t.Errorf("not by the grammar:\n%s", b)
	}
	want := "v=0\r\no=- 9223372036854775808 3 IN IP6 2001:db8::5\r\ns=-\r\nc=IN IP6 2001:db8::5\r\nt=0 0\r\n" +
		"m=audio 4000 RTP/AVP 111 96\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\na=ptime:20\r\na=recvonly\r\na=label:a_leg\r\n" +
		"m=audio 0 RTP/AVP 0 8\r\na=label:2\r\n" +
		"m=message 4004 TCP/MSRP *\r\na=inactive\r\n" +
		"m=video 0 RTP/AVP 0\r\n"
	if string(b) != want {
		t.Errorf("got\n%s\nwant\n%s", b, want)
	}
}

func TestWriteCannotBeBrokenInto(t *testing.T) {
	evil := "x\r\na=evil\n\x00"
	b := Write(Reply{Addr: netip.MustParseAddr("192.0.2.1"), Media: []ReplyMedia{{
		Kind: evil, Proto: evil, Port: 1, Label: evil, FormatIDs: []string{evil},
		Formats: []Format{{PT: 0, Encoding: evil, Clock: 8000, Params: evil}, {PT: 8, Encoding: "PCMA", Clock: 8000, Params: strings.Repeat("x", maxParams+1)}},
	}}})
	if n := strings.Count(string(b), "\n"); n != 10 || strings.Contains(string(b), "\na=evil") || strings.Contains(string(b), "\x00") || len(b) > 400 {
		t.Errorf("%d lines:\n%q", n, b)
	}
}

// FuzzParse: whatever is read can be answered, and the answer reads back with
// every m-line in its place.
func FuzzParse(f *testing.F) {
	f.Add([]byte(head + "m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=label:1\r\na=sendonly\r\n"))
	f.Add([]byte("m=audio 35011 RTP/AVP 18\nc=IN IP6 2001:db8::1\na=fmtp:18 annexb=no\na=rtcp:1 IN IP4 192.0.2.1\nm=message 1 TCP/MSRP *\x00"))
	f.Add([]byte("c=IN IP4\na=rtpmap:\u0085 \u2000\nm=a 0 b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			return
		}
		r := Reply{Addr: netip.MustParseAddr("192.0.2.1")}
		for _, m := range d.Media {
			if len(m.Formats) > MaxFormats || m.Port < 0 || m.Port > 65535 || m.Direction == "" {
				t.Fatalf("%+v", m)
			}
			_ = m.OnHold()
			r.Media = append(r.Media, ReplyMedia{Kind: m.Kind, Proto: m.Proto, Port: m.Port, Formats: m.Formats,
				FormatIDs: m.FormatIDs, Direction: RecvOnly, Label: m.Label, Ptime: m.Ptime})
		}
		again, err := Parse(Write(r))
		if err != nil {
			t.Fatalf("our own: %v\n%q", err, Write(r))
		}
		if len(again.Media) != len(d.Media) {
			t.Fatalf("%d m-lines, read %d", len(again.Media), len(d.Media))
		}
		for i, m := range again.Media {
			if m.Port != d.Media[i].Port || len(m.Formats) != len(d.Media[i].Formats) && len(d.Media[i].Formats) > 0 {
				t.Fatalf("m-line %d: %+v, read %+v", i, m, d.Media[i])
			}
		}
	})
}
