package trace

import (
	"bytes"
	"strings"
)

// scrubbed is what stands in the place of each byte of a secret, so that
// lengths stay true.
const scrubbed = 'x'

// Scrub returns a copy of a message in which secrets are overwritten: SDES
// keys (RFC 4568), MIKEY and k= keys, ICE passwords, and digest credentials. A
// part that is encoded, so that a key could hide in it, goes whole.
func Scrub(raw []byte) []byte {
	out := bytes.Clone(raw)
	s := scrubber{}
	for len(out[s.at:]) > 0 {
		n := lineEnd(out[s.at:])
		s.line(bytes.TrimRight(out[s.at:s.at+n], "\r\n"))
		s.at += n
	}
	return out
}

// lineEnd is the length of the first line with its end. A lone CR or LF ends
// one too: what some parser could take for a line is looked at as one.
func lineEnd(b []byte) int {
	n := bytes.IndexAny(b, "\r\n") + 1
	switch {
	case n == 0:
		return len(b)
	case b[n-1] == '\r' && n < len(b) && b[n] == '\n':
		return n + 1
	}
	return n
}

// scrubber goes through a message line by line.
type scrubber struct {
	at      int
	secret  bool // the header field that may go on in this line is one
	encoded bool // this part's body is
	body    bool // behind the blank line of this part
}

func (s *scrubber) line(text []byte) {
	switch {
	case len(text) == 0:
		s.body, s.secret = true, false
		return
	case bytes.HasPrefix(text, []byte("--")):
		s.body, s.encoded = false, false
	case s.body && s.encoded:
		blot(text)
	case s.secret && (text[0] == ' ' || text[0] == '\t'):
		blot(text)
	case !s.body:
		s.field(text)
	}
	keys(text)
}

// field looks at a header field of the message or of a part.
func (s *scrubber) field(text []byte) {
	s.secret = false
	name, value, ok := bytes.Cut(text, []byte(":"))
	if !ok {
		return
	}
	switch strings.ToLower(string(bytes.TrimSpace(name))) {
	case "authorization", "proxy-authorization":
		s.secret = true
		_, credentials, _ := bytes.Cut(bytes.TrimSpace(value), []byte(" "))
		blot(credentials)
	case "content-transfer-encoding":
		switch strings.ToLower(string(bytes.TrimSpace(value))) {
		case "binary", "8bit", "7bit":
		default:
			s.encoded = true
		}
	case "content-encoding", "e":
		s.encoded = s.encoded || !strings.EqualFold(string(bytes.TrimSpace(value)), "identity")
	}
}

// keys overwrites what a line of a session description holds of secrets.
func keys(line []byte) {
	low := bytes.ToLower(line)
	if len(low) != len(line) { // some letter of another alphabet shrank
		low = asciiLower(line)
	}
	for at := 0; ; {
		i := bytes.Index(low[at:], []byte("inline:"))
		if i < 0 {
			break
		}
		at += i + len("inline:")
		for at < len(line) && line[at] == ' ' {
			at++
		}
		n := bytes.IndexAny(line[at:], "|; \t")
		if n < 0 {
			n = len(line) - at
		}
		blot(line[at : at+n])
	}
	trimmed := bytes.TrimLeft(low, " \t")
	lead := len(low) - len(trimmed)
	for _, p := range []string{"k=", "a=key-mgmt:", "a=ice-pwd:"} {
		if bytes.HasPrefix(trimmed, []byte(p)) {
			blot(line[lead+len(p):])
		}
	}
	if bytes.HasPrefix(trimmed, []byte("a=crypto:")) && !bytes.Contains(trimmed, []byte("inline:")) {
		if f := bytes.SplitN(line, []byte(" "), 3); len(f) == 3 {
			blot(f[2])
		}
	}
}

func asciiLower(b []byte) []byte {
	out := bytes.Clone(b)
	for i, c := range out {
		if 'A' <= c && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return out
}

func blot(b []byte) {
	for i, c := range b {
		if c != ' ' && c != '\r' && c != '\n' {
			b[i] = scrubbed
		}
	}
}
