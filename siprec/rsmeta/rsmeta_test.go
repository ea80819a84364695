package rsmeta

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// metadataOf cuts the XML out of a fixture message.
func metadataOf(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "siprec", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, []byte("<?xml"))
	end := bytes.LastIndexByte(b, '>') + 1
	if i < 0 {
		t.Fatalf("%s: no metadata", name)
	}
	return b[i:end]
}

func mustParse(t testing.TB, b []byte) *Document {
	t.Helper()
	d, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func one(format string, args ...any) []byte {
	return fmt.Appendf(nil, `<recording xmlns="urn:ietf:params:xml:ns:recording:1">`+format+`</recording>`, args...)
}

// TestDialects reads the same facts from every dialect: who sends and
// receives what, under which label.
func TestDialects(t *testing.T) {
	for _, c := range []struct{ fixture, want string }{
		{"rfc7865-complete", "sip:02079460103@pstn.example>1<2 sip:02088257733@contact.example>2<1"},
		{"oracle-complete", "sip:agent17@contact.example>553654188< sip:02079460101@att.example>553654187<"},
		{"audiocodes-legacy-lf", "02079460102@192.0.2.33>1<2 02088256000@192.0.2.34>2<1"},
		{"sonus-caller-label-2", "sip:02079460107@198.51.100.77>2<1 sip:02088258161@192.0.2.8>1<2"},
		{"metaswitch-terminating", "02079460109>1<1 02088257171>1<1"},
		{"broadworks-queue-number", "sip:02079460110@pstn.example;user=phone>1< sip:4001@bw.example>1<"},
		{"opensips-video-labels-missing", "sip:02079460113@pstn.example;user=phone>3<2 sip:02088255682@contact.example>2<3"},
		{"jambonz-raw-uuids", "sip:02079460114@jb.example>1<2 sip:02088257000@jb.example>2<1"},
		{"netsapiens-1-0", "sip:1001w@ns.example>1<2 sip:02079460115@ns.example>2<1"},
		{"sems-letter-labels", "Extension-8825@sems.example>a_leg<b_leg 02079460117@sems.example>b_leg<a_leg"},
		{"cube-initial-inactive", "sip:02079460103@pstn.example>< sip:02088257733@contact.example><"},
		{"avaya-initial-dummy", "sip:02079460108@contact.example>10< sip:ASBCE@asbce.com><"},
	} {
		d := mustParse(t, metadataOf(t, c.fixture))
		s := State{streams: d.Streams}
		var got []string
		for _, p := range d.Participants {
			got = append(got, p.AoRs[0]+">"+strings.Join(s.labels(p.Sends), ",")+"<"+strings.Join(s.labels(p.Receives), ","))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.fixture, s, c.want)
		}
		if d.Partial {
			t.Errorf("%s: partial", c.fixture)
		}
	}
}

func TestParseShapes(t *testing.T) {
	for _, c := range []struct {
		name, xml string
		check     func(d *Document) bool
	}{
		{"datamode", "<datamode> Partial </datamode>", func(d *Document) bool { return d.Partial }},
		{"dataMode", "<dataMode>partial</dataMode>", func(d *Document) bool { return d.Partial }},
		{"no datamode", "", func(d *Document) bool { return !d.Partial }},
		{"several addresses", `<participant participant_id="p"><nameID aor="sip:a@h"/><nameID aor="tel:1"><name>N</name></nameID></participant>`,
			func(d *Document) bool {
				p := d.Participants[0]
				return reflect.DeepEqual(p.AoRs, []string{"sip:a@h", "tel:1"}) && p.Name == "N"
			}},
		{"aor and name as children", `<participant id="p"><aor>a@h</aor><name>N</name><start-time>x</start-time></participant>`,
			func(d *Document) bool {
				return d.Participants[0].AoRs[0] == "a@h" && d.Participants[0].Name == "N" && d.Participants[0].Joined == "x"
			}},
		{"undeclared prefix", `<ac:x>1</ac:x>`, func(d *Document) bool { return d.Extensions[0] == Extension{"recording", "", "x", "1"} }},
		{"HTML entity", `<x>a&nbsp;b</x>`, func(d *Document) bool { return d.Extensions[0].Value == "a\u00a0b" }},
		{"bare ampersand", `<x>R & D</x>`, func(d *Document) bool { return d.Extensions[0].Value == "R & D" }},
		{"unknown entity", `<x>&zz;</x>`, func(d *Document) bool { return d.Extensions[0].Value == "&zz;" }},
		{"split text", `<x>a<!-- c -->b</x>`, func(d *Document) bool { return d.Extensions[0].Value == "ab" }},
		{"nested extension", `<session session_id="s"><extensiondata><v:a xmlns:v="u" k="1"><b>2</b><b/></v:a></extensiondata></session>`,
			func(d *Document) bool {
				return reflect.DeepEqual(d.Extensions, []Extension{{"session", "s", "a/@k", "1"}, {"session", "s", "a/b", "2"}, {"session", "s", "a/b", ""}})
			}},
		{"parent of an extension", `<session id="s"/><extensiondata parent="s"><a>1</a></extensiondata><extensiondata parent="zz"><a>2</a></extensiondata>`,
			func(d *Document) bool {
				return reflect.DeepEqual(d.Extensions, []Extension{{"session", "s", "a", "1"}, {"recording", "", "a", "2"}})
			}},
		{"association alone", `<participantstreamassoc participant_id="p"/>`,
			func(d *Document) bool { return d.Participants[0].ID == "p" && d.Participants[0].StreamsStated }},
		{"participant alone", `<participant participant_id="p"/>`, func(d *Document) bool { return !d.Participants[0].StreamsStated }},
		{"ended association", `<participantstreamassoc participant_id="p"><send>a</send><disassociate-time>x</disassociate-time></participantstreamassoc><participantstreamassoc participant_id="p"><send>b</send></participantstreamassoc>`,
			func(d *Document) bool { return reflect.DeepEqual(d.Participants[0].Sends, []string{"b"}) }},
		{"session", `<session session_id="s"><sipSessionID>a</sipSessionID><sipSessionID>b</sipSessionID><group-ref>g</group-ref><start-time>t</start-time></session>`,
			func(d *Document) bool {
				return reflect.DeepEqual(d.Sessions, []Session{{"s", "g", []string{"a", "b"}, "t", ""}})
			}},
		{"label as attribute beside a name", `<stream stream_id="x" media_label="1"><label>Caller_Stream</label></stream>`,
			func(d *Document) bool { return d.Streams[0] == Stream{"x", "", "1"} }},
	} {
		if d := mustParse(t, one("%s", c.xml)); !c.check(d) {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

func TestParseEncodings(t *testing.T) {
	text := `<recording><participant id="p"><name>Zoë</name></participant></recording>`
	units := func(s string, big bool) []byte {
		var out []byte
		for _, u := range utf16.Encode([]rune(s)) {
			if big {
				out = append(out, byte(u>>8), byte(u))
			} else {
				out = append(out, byte(u), byte(u>>8))
			}
		}
		return out
	}
	for name, b := range map[string][]byte{
		"UTF-8":                    []byte(text),
		"UTF-8 mark":               []byte("\ufeff" + text),
		"leading blanks":           []byte("\r\n \t" + text),
		"declaration":              []byte(`<?xml version="1.0" encoding="UTF-8"?>` + text),
		"declaration that lies":    []byte(`<?xml version="1.1" encoding="ISO-8859-1"?>` + text),
		"comment before it":        []byte(`<!-- x --><?xml version="1.0" encoding="ISO-8859-1"?>` + text),
		"ISO-8859-1":               bytes.ReplaceAll([]byte(`<?xml version="1.0" encoding="ISO-8859-1"?>`+text), []byte("ë"), []byte{0xeb}),
		"ISO-8859-1, not declared": bytes.ReplaceAll([]byte(text), []byte("ë"), []byte{0xeb}),
		"UTF-16 LE mark":           units("\ufeff"+`<?xml version="1.0" encoding="UTF-16"?>`+text, false),
		"UTF-16 BE mark":           units("\ufeff"+text, true),
		"UTF-16 BE":                units(text, true),
		"UTF-16 LE":                units(text, false),
		"trailing NUL":             []byte(text + "\x00"),
		"stray boundary behind":    []byte(text + "\r\n--foobar"),
	} {
		d, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(d.Participants) != 1 || d.Participants[0].Name != "Zoë" || !bytes.Equal(d.Raw, b) {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	nest := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	var attrs strings.Builder
	for i := range MaxAttrs + 1 {
		fmt.Fprintf(&attrs, " a%d='1'", i)
	}
	for name, c := range map[string]struct {
		xml  string
		want error
	}{
		"empty":          {"", ErrMalformed},
		"blank":          {" \r\n", ErrMalformed},
		"text":           {"hello", ErrMalformed},
		"cut short":      {"<recording><participant>", ErrMalformed},
		"raw less-than":  {`<recording><nameID aor="a<b"/></recording>`, ErrMalformed},
		"control bytes":  {"<recording>\x01</recording>", ErrMalformed},
		"other root":     {"<requestsnapshot/>", ErrNotMetadata},
		"doctype":        {`<!DOCTYPE r [<!ENTITY a "x">]><recording>&a;</recording>`, ErrDoctype},
		"late doctype":   {`<recording><!DOCTYPE r></recording>`, ErrDoctype},
		"size":           {"<recording>" + strings.Repeat(" ", MaxBytes) + "</recording>", ErrTooLarge},
		"depth":          {"<recording>" + nest(MaxDepth) + "</recording>", ErrTooLarge},
		"elements":       {"<recording>" + strings.Repeat("<a/>", MaxElements) + "</recording>", ErrTooLarge},
		"attributes":     {"<recording" + attrs.String() + "/>", ErrTooLarge},
		"long attribute": {"<recording a='" + strings.Repeat("x", MaxAttr+1) + "'/>", ErrTooLarge},
		"long name":      {"<recording><" + strings.Repeat("x", maxName+1) + "/></recording>", ErrTooLarge},
		"long path":      {"<recording>" + strings.Repeat("<"+strings.Repeat("x", maxName)+">", 6) + strings.Repeat("</"+strings.Repeat("x", maxName)+">", 6) + "</recording>", ErrTooLarge},
		"many leaves":    {"<recording>" + strings.Repeat("<a b='' c=''/>", MaxElements-1) + "</recording>", ErrTooLarge},
	} {
		if d, err := Parse([]byte(c.xml)); !errors.Is(err, c.want) || d != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for _, xml := range []string{"<recording>" + nest(MaxDepth-1) + "</recording>",
		"<recording>" + strings.Repeat("<a/>", MaxElements-1) + "</recording>"} {
		if _, err := Parse([]byte(xml)); err != nil {
			t.Errorf("at the limit: %v", err)
		}
	}
}

// TestParseIsCheap holds the figures of the package comment: hostile
// documents of full size cost a few megabytes at most.
func TestParseIsCheap(t *testing.T) {
	fill := func(unit string) []byte {
		return []byte("<recording>" + strings.Repeat(unit, (MaxBytes-30)/len(unit)) + "</recording>")
	}
	for name, b := range map[string][]byte{
		"comments": fill("x<!---->"), "attributes": fill("<a a='' b='' c='' d='' e='' f='' g='' h='' i='' j='' k='' l='' m='' n='' o='' p=''/>"),
		"participants": fill("<participant id='0000000000001'/>"), "text": fill("xxxxxxxx"), "entities": fill("&amp;"),
	} {
		var before, after runtime.MemStats
		took := time.Hour
		for range 3 { // the least: another process may have had the machine
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, _ = Parse(b)
			took = min(took, time.Since(start))
			runtime.ReadMemStats(&after)
		}
		bytes := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %v, %d kB", name, took, bytes>>10)
		if bytes > 8<<20 || took > time.Second { // the race detector and busy machines included
			t.Errorf("%s: %v, %d bytes", name, took, bytes)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"rfc7865-complete", "oracle-complete", "sonus-caller-label-2", "broadworks-queue-number",
		"netsapiens-1-1-internal", "rfc8068-partial-transfer", "opensips-unescaped-name", "generic-doctype"} {
		f.Add(metadataOf(f, name))
	}
	f.Add([]byte("\xff\xfe<\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			if d != nil {
				t.Fatal("a document beside an error")
			}
			return
		}
		if len(d.Extensions) > MaxElements || !bytes.Equal(d.Raw, b) {
			t.Fatalf("%d extensions, raw %q", len(d.Extensions), d.Raw)
		}
		var s State
		s.Apply(d)
		before := s.Participants()
		d.Partial = true
		s.Apply(d)
		d.Partial = false
		s.Apply(d)
		for _, m := range s.Participants() {
			if !m.Present && len(m.Labels) > 0 {
				t.Fatalf("left and still sending: %+v", m)
			}
		}
		if after := s.Participants(); len(after) < len(before) {
			t.Fatalf("%d participants became %d", len(before), len(after))
		}
	})
}
