package siprec

import (
	"bytes"
	"strings"
	"testing"

	"siprecd/siprec/sdp"
)

const (
	bodySDP = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=label:1\r\n"
	bodyXML = "<?xml version=\"1.0\"?>\r\n<recording xmlns=\"urn:ietf:params:xml:ns:recording:1\"/>\r\n"
)

func TestReadBodyFraming(t *testing.T) {
	sdpPart := "Content-Type: application/sdp\r\n\r\n" + bodySDP
	xmlPart := "Content-Type: application/rs-metadata+xml\r\n\r\n" + bodyXML
	std := "--b\r\n" + sdpPart + "\r\n--b\r\n" + xmlPart + "\r\n--b--\r\n"
	mixed := "multipart/mixed;boundary=b"
	for _, c := range []struct {
		name, ctype, body string
		sdp, xml          bool
	}{
		{"standard", mixed, std, true, true},
		{"blank before boundary parameter", "multipart/mixed; boundary=b", std, true, true},
		{"odd case", "Multipart/MIXED; Boundary=\"b\"", std, true, true},
		{"parameter behind the boundary", "multipart/mixed;boundary=b;charset=utf-8", std, true, true},
		{"semicolon in a quoted boundary", `multipart/mixed;x="a;boundary=z";boundary="b;c"`, strings.ReplaceAll(std, "--b", "--b;c"), true, true},
		{"metadata first", mixed, "--b\r\n" + xmlPart + "\r\n--b\r\n" + sdpPart + "\r\n--b--", true, true},
		{"no closing dashes", mixed, "--b\r\n" + sdpPart + "\r\n--b\r\n" + xmlPart + "\r\n--b", true, true},
		{"no closing boundary", mixed, "--b\r\n" + sdpPart + "\r\n--b\r\n" + xmlPart, true, true},
		{"blanks behind the boundaries", mixed, strings.ReplaceAll(strings.ReplaceAll(std, "--b\r\n", "--b \t\r\n"), "--b--", "--b-- "), true, true},
		{"preamble and epilogue", mixed, "hello\r\n\r\n" + std + "bye\r\n--b\r\nnot a part", true, true},
		{"bare LF", mixed, strings.ReplaceAll(std, "\r\n", "\n"), true, true},
		{"LF header, CRLF body", mixed, strings.ReplaceAll(std, "sdp\r\n\r\n", "sdp\n\n"), true, true},
		{"no space after the colon", mixed, strings.ReplaceAll(std, "Type: ", "Type:"), true, true},
		{"space before the colon", mixed, strings.ReplaceAll(std, "Type: ", "Type : "), true, true},
		{"folded header", mixed, strings.ReplaceAll(std, "Type: application/sdp", "Type:\r\n  application/sdp"), true, true},
		{"Content-Length that lies", mixed, strings.ReplaceAll(std, "Content-Type: application/sdp\r\n", "Content-Length: 9\r\nContent-Type: application/sdp\r\n"), true, true},
		{"doubled blank line", mixed, strings.ReplaceAll(std, "\r\n\r\n", "\r\n\r\n\r\n"), true, true},
		{"part without header", mixed, "--b\r\n\r\n" + bodySDP + "\r\n--b\r\n\r\n" + bodyXML + "--b--", true, true},
		{"part without header or blank line", mixed, "--b\r\n" + bodySDP + "--b\r\n" + bodyXML + "--b--", true, true},
		{"wrong boundary", "multipart/mixed;boundary=zzz", std, true, true},
		{"no boundary", "multipart/mixed", std, true, true},
		{"multipart/related", "multipart/related;boundary=b;type=\"application/sdp\"", std, true, true},
		{"nothing to split at", mixed, "garbage\r\n" + bodySDP + "garbage\r\n" + bodyXML, true, true},
		{"one part only", mixed, "--b\r\n" + xmlPart + "\r\n--b--", false, true},
		{"boundary that begins like another", mixed, "--b\r\nContent-Type: multipart/mixed;boundary=bb\r\n\r\n--bb\r\n" + sdpPart + "\r\n--bb--\r\n--b\r\n" + xmlPart + "\r\n--b--", true, true},
		{"optional unknown part", mixed, "--b\r\nContent-Type: application/gtd\r\nContent-Disposition: signal;handling=optional\r\n\r\nIAM,\r\n" + std, true, true},
		{"plain sdp", "application/sdp", bodySDP, true, false},
		{"sdp with parameter", "application/SDP;charset=ISO-10646", bodySDP, true, false},
		{"plain metadata", "application/rs-metadata", bodyXML, false, true},
		{"metadata with parameter", "APPLICATION/rs-metadata+xml ; charset=UTF-8", bodyXML, false, true},
		{"sdp without type", "", bodySDP, true, false},
		{"metadata without type", "", bodyXML, false, true},
		{"multipart without type", "", std, true, true},
		{"sdp under another name", "text/plain", bodySDP, true, false},
		{"no body", "application/sdp", "", false, false},
		{"blank body", "multipart/mixed;boundary=b", "\r\n", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := readBody(c.ctype, []byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if (b.SDP != nil) != c.sdp || (b.Metadata != nil) != c.xml {
				t.Fatalf("sdp %q, metadata %q", b.SDP, b.Metadata)
			}
			if c.sdp {
				if d, err := sdp.Parse(b.SDP); err != nil || len(d.Media) != 1 || d.Media[0].Label != "1" {
					t.Errorf("description %q: %v", b.SDP, err)
				}
			}
			if c.xml && !bytes.Contains(b.Metadata, []byte("<recording")) {
				t.Errorf("metadata %q", b.Metadata)
			}
		})
	}
}

func TestReadBodyEncodings(t *testing.T) {
	for _, c := range []struct{ encoding, body, want string }{
		{"base64", "dj0w\r\nDQptPWF1ZGlv", "v=0\r\nm=audio"},
		{"BASE64", "dj0wDQo=", "v=0\r\n"},
		{"quoted-printable", "v=3D0=\r\n1", "v=01"},
		{"8bit", "v=0 ", "v=0 "},
		{"base64", "!", "!"}, // left for the reader of the part to refuse
	} {
		body := "--b\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: " + c.encoding + "\r\n\r\n" + c.body + "\r\n--b--\r\n"
		b, err := readBody("multipart/mixed;boundary=b", []byte(body))
		if err != nil || string(b.SDP) != c.want {
			t.Errorf("%s %q: %q, %v", c.encoding, c.body, b.SDP, err)
		}
	}
}

func TestReadBodyRefuses(t *testing.T) {
	part := "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n"
	for _, c := range []struct {
		name, ctype, body string
		code              int
	}{
		{"too long", "application/sdp", strings.Repeat("x", maxBody+1), 413},
		{"too many parts", "multipart/mixed;boundary=b", strings.Repeat(part, maxParts+1) + "--b--", 413},
		{"too many nested parts", "multipart/mixed;boundary=o", "--o\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n" + strings.Repeat(part, maxParts) + "--b--\r\n--o--", 413},
		{"unknown type", "application/isup", "\x01\x02", 415},
		{"required unknown part", "multipart/mixed;boundary=b", "--b\r\nContent-Type: application/x\r\nContent-Disposition: signal; handling=\"REQUIRED\"\r\n\r\nx\r\n--b--", 415},
		{"nothing readable", "multipart/mixed;boundary=b", "nothing here", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readBody(c.ctype, []byte(c.body))
			wantRefusal(t, err, c.code)
		})
	}
}

func TestReadBodyTakesTheFirstOfEachKind(t *testing.T) {
	second := strings.Replace(bodySDP, "label:1", "label:9", 1)
	b, err := readBody("multipart/mixed;boundary=b", []byte("--b\r\n\r\n"+bodySDP+"\r\n--b\r\n\r\n"+second+"\r\n--b--"))
	if err != nil || !bytes.Contains(b.SDP, []byte("label:1")) {
		t.Errorf("%q, %v", b.SDP, err)
	}
}

func FuzzReadBody(f *testing.F) {
	for _, name := range []string{"oracle-complete", "cube-gtd-no-closing", "generic-base64-nested", "ff-quoted-boundary-savp", "broadworks-queue-number"} {
		x := readFixture(f, name)
		f.Add(x.ctype, x.body)
	}
	f.Add("multipart/mixed", []byte("--\r\n--\r\n--"))
	f.Fuzz(func(t *testing.T, ctype string, body []byte) {
		b, err := readBody(ctype, body)
		if err != nil {
			if r, ok := err.(*Refusal); !ok || (r.Code != 400 && r.Code != 413 && r.Code != 415) {
				t.Fatalf("error %#v", err)
			}
			if b.SDP != nil || b.Metadata != nil {
				t.Fatal("a body beside an error")
			}
		}
		if len(b.SDP) > len(body) || len(b.Metadata) > len(body) {
			t.Fatalf("%d and %d bytes out of %d", len(b.SDP), len(b.Metadata), len(body))
		}
	})
}
