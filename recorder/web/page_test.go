package web

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"siprecd/recorder"
)

const hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202eevil\x1b[2J\r\n"

func TestPageSaysTheSentenceAndTheFacts(t *testing.T) {
	st := aStatus()
	_, body := get(t, serve(t, &fakeSource{status: st}).URL+"/status", "text/html")
	for _, want := range []string{
		st.Sentence, `<span class="word">OK`, "council tax", "0199-aaaa", "3\u202f050", "No media",
		"0.4 %", "18\u202f422", "400 GB", "listed", "peer not allowed", "journal", "<title>OK · 1 call · siprecd</title>",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	st.OK, st.Problems = false, []string{"the journal cannot be written"}
	_, body = get(t, serve(t, &fakeSource{status: st}).URL+"/status", "text/html")
	for _, want := range []string{"Problem", "the journal cannot be written", "problem.svg"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page of trouble lacks %q", want)
		}
	}
}

// What the policy forbids must not be in the page, whatever a client sent.
func TestPageHasNothingInline(t *testing.T) {
	st := aStatus()
	st.Sentence, st.Problems, st.Version = hostile, []string{hostile}, hostile
	st.Listen, st.Decisions = []string{hostile}, map[string]uint64{hostile: 1}
	st.Refusals, st.Journal.Error = map[string]uint64{hostile: 1}, hostile
	st.Checks = []recorder.Check{{Name: hostile, Error: hostile}}
	call := &st.Calls[0]
	call.ID, call.Line, call.Queue, call.Flags = hostile, hostile, hostile, []string{hostile}
	call.Legs[0].Label, call.Legs[0].Channel = hostile, hostile
	resp, body := get(t, serve(t, &fakeSource{status: st}).URL+"/status", "text/html")
	for _, bad := range []string{"<script>", "<img", "\u202e", "\x1b", "style=", "<style"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if m := regexp.MustCompile(`<[^>]*\son\w+=`).FindString(body); m != "" {
		t.Errorf("an event handler: %q", m)
	}
	csp := resp.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "style-src 'self'", "script-src 'self'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("policy %q lacks %q", csp, want)
		}
	}
	if strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"council tax":           "council tax",
		"Zoë, 020 7946 0001":    "Zoë, 020 7946 0001",
		"a\r\nb\tc":             "a  b c",
		"\x1b[31mred":           "\uFFFD[31mred",
		"\u202eabc\u2066\ufeff": "abc",
		"\x9b2J":                "\uFFFD2J",
		"\xff\xfe":              "\uFFFD",
		"\u2028x":               " x",
	} {
		if got := Plain(in); got != want {
			t.Errorf("Plain(%q) = %q, want %q", in, got, want)
		}
	}
	if n := utf8.RuneCountInString(Plain(strings.Repeat("x", 5000))); n != maxPlain+1 {
		t.Errorf("not cut: %d runes", n)
	}
}

func TestFigures(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{count(uint64(0)), "0"}, {count(999), "999"}, {count(1000), "1\u202f000"}, {count(uint64(1204331)), "1\u202f204\u202f331"},
		{size(int64(0)), "0 B"}, {size(999), "999 B"}, {size(38122), "38.1 kB"}, {size(uint64(412e9)), "412 GB"},
		{long(7), "0:07"}, {long(3725), "1:02:05"}, {long(75 * 3600), "3 d 3 h"}, {long(-1), "0:00"},
		{percent(0, 100), "0 %"}, {percent(1, 100000), "<0.1 %"}, {percent(5, 2193), "0.2 %"}, {percent(1, 0), "0 %"}, {percent(3, 4), "75 %"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add(hostile)
	f.Add("\xff\u202e\u2028\x9b")
	f.Fuzz(func(t *testing.T, s string) {
		got := Plain(s)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > maxPlain+1 {
			t.Fatalf("Plain(%q) = %q", s, got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) && r != '\uFFFD' {
				t.Fatalf("Plain(%q) holds %U", s, r)
			}
		}
		if again := Plain(got); again != got && utf8.RuneCountInString(got) <= maxPlain {
			t.Fatalf("not stable: %q, then %q", got, again)
		}
	})
}

func FuzzAccept(f *testing.F) {
	f.Add("text/html;q=0.9, */*;q=0.1")
	f.Add("a/b;;q=,;")
	f.Fuzz(func(t *testing.T, s string) {
		r := httptest.NewRequest(http.MethodGet, "/status", nil)
		r.Header["Accept"] = []string{s}
		if got, ok := chooseForm(r); !ok || !slices.Contains(offers(), got) {
			t.Fatalf("Accept %q: %q %v", s, got, ok)
		}
	})
}
