package siprec

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"siprecd/siprec/rsmeta"
	"siprecd/siprec/sdp"
)

// fixture is one message of testdata/siprec, taken apart.
type fixture struct {
	method  string
	headers Headers
	ctype   string
	body    []byte
}

func fixtureDir() string { return filepath.Join("..", "testdata", "siprec") }

func readFixture(t testing.TB, name string) fixture {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(fixtureDir(), name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	head, body, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok {
		t.Fatalf("%s: no blank line", name)
	}
	lines := strings.Split(string(head), "\r\n")
	start := strings.Fields(lines[0])
	f := fixture{method: start[0], body: body, headers: Headers{RequestURI: start[1], Fields: map[string][]string{}}}
	for _, l := range lines[1:] {
		key, value, _ := strings.Cut(l, ":")
		f.headers.Fields[key] = append(f.headers.Fields[key], strings.TrimSpace(value))
	}
	if c := f.headers.Fields["Content-Type"]; c != nil {
		f.ctype = c[0]
	}
	return f
}

// read runs a fixture through the parsers; st gets its metadata.
func (f fixture) read(t testing.TB, st *rsmeta.State) (*sdp.Description, Body) {
	t.Helper()
	b, err := readBody(f.ctype, f.body)
	if err != nil {
		t.Fatalf("readBody: %v", err)
	}
	var d *sdp.Description
	if b.SDP != nil {
		if d, err = sdp.Parse(b.SDP); err != nil {
			t.Fatalf("sdp.Parse: %v", err)
		}
	}
	if b.Metadata != nil {
		doc, err := rsmeta.Parse(b.Metadata)
		if err != nil {
			t.Fatalf("rsmeta.Parse: %v", err)
		}
		st.Apply(doc)
	}
	return d, b
}

// TestFixturesAreReadable runs over every file, so that none lies there
// untested, and checks the plainest facts.
func TestFixturesAreReadable(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(fixtureDir(), "*.txt"))
	if err != nil || len(files) < 25 {
		t.Fatalf("%d fixtures, %v", len(files), err)
	}
	noSDP := "avaya-update-complete cucm-nearend-no-body cucm-farend-no-body cucm-update-farend " +
		"rfc8068-partial-hold rfc8068-partial-transfer webex-partial-third-party"
	noMetadata := "broadworks-hold-sdp-only cube-nbr-plain-sdp generic-sdp-bare " +
		"cucm-nearend-no-body cucm-farend-no-body cucm-update-farend"
	badMetadata := "generic-doctype opensips-unescaped-name"
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			f := readFixture(t, name)
			b, err := readBody(f.ctype, f.body)
			if name == "generic-required-unknown-part" {
				wantRefusal(t, err, 415)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, want := b.SDP != nil, !listed(noSDP, name); got != want {
				t.Fatalf("SDP found: %v, want %v", got, want)
			}
			if got, want := b.Metadata != nil, !listed(noMetadata, name); got != want {
				t.Fatalf("metadata found: %v, want %v", got, want)
			}
			if b.SDP != nil {
				if _, err := sdp.Parse(b.SDP); err != nil {
					t.Errorf("sdp: %v", err)
				}
			}
			if b.Metadata != nil {
				if _, err := rsmeta.Parse(b.Metadata); (err != nil) != listed(badMetadata, name) {
					t.Errorf("metadata: %v", err)
				}
			}
		})
	}
}

func listed(list, name string) bool {
	for _, n := range strings.Fields(list) {
		if n == name {
			return true
		}
	}
	return false
}

func wantRefusal(t testing.TB, err error, code int) {
	t.Helper()
	r, ok := err.(*Refusal)
	if !ok || r.Code != code {
		t.Fatalf("error %v, want a refusal with %d", err, code)
	}
}
