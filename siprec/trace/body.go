package trace

import (
	"bytes"
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"siprecd/siprec/rsmeta"
	"siprecd/siprec/sdp"
)

// Bounds of a summary: a foreign body may be anything.
const (
	maxLines = 16 // media lines, participants
	maxParts = 8
)

// Summary says in a line each what a message's body describes: its media
// lines and its metadata.
func (m Message) Summary() []string {
	_, body := split(m.Raw)
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	var out []string
	for _, part := range parts(ReadHead(m.Raw).Type, body) {
		text := bytes.TrimLeft(part, "\r\n \t\ufeff")
		switch {
		case bytes.HasPrefix(text, []byte("v=0")):
			out = append(out, describeSDP(text)...)
		case bytes.HasPrefix(text, []byte("<")):
			out = append(out, describeMetadata(text))
		default:
			out = append(out, fmt.Sprintf("body of %d bytes", len(part)))
		}
	}
	return out
}

// parts splits a multipart body, leniently: without a boundary in the header
// the first line that looks like one counts.
func parts(contentType string, body []byte) [][]byte {
	if !strings.HasPrefix(strings.ToLower(contentType), "multipart/") {
		return [][]byte{body}
	}
	var out [][]byte
	boundary := boundaryOf(contentType)
	for i, p := range bytes.SplitN(body, []byte("--"+boundary), maxParts+2) {
		if i == 0 || bytes.HasPrefix(p, []byte("--")) || len(out) == maxParts {
			continue
		}
		p = bytes.TrimLeft(p, " \t")
		p = bytes.TrimPrefix(bytes.TrimPrefix(p, []byte("\r")), []byte("\n"))
		if _, content := split(p); content != nil {
			out = append(out, content)
		}
	}
	return out
}

func boundaryOf(contentType string) string {
	for p := range strings.SplitSeq(contentType, ";") {
		name, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "boundary") {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}

// describeSDP has a line for each media line: kind, transport, where, codecs,
// direction, label.
func describeSDP(text []byte) []string {
	d, err := sdp.Parse(text)
	if err != nil {
		return []string{"SDP that cannot be read"}
	}
	var out []string
	for i, l := range d.Media {
		if i == maxLines {
			return append(out, fmt.Sprintf("and %d more media lines", len(d.Media)-i))
		}
		out = append(out, describeLine(l))
	}
	return out
}

func describeLine(l sdp.Media) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", oneWord(l.Kind), oneWord(l.Proto))
	if l.Port == 0 {
		return b.String() + ", closed"
	}
	where := strconv.Itoa(l.Port)
	if l.Addr.IsValid() {
		where = l.Addr.String() + ":" + where
	}
	fmt.Fprintf(&b, " %s ", where)
	for i, f := range l.Formats {
		if i == maxLines {
			b.WriteString(" …")
			break
		}
		name := f.Encoding
		if name == "" {
			name = strconv.Itoa(int(f.PT))
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(oneWord(name))
	}
	fmt.Fprintf(&b, ", %v", l.Direction)
	for _, w := range []struct {
		holds bool
		words string
	}{
		{l.Addr.IsValid() && l.Addr.IsUnspecified(), " (hold: no address)"},
		{len(l.Crypto) > 0, ", SDES keys"},
		{len(l.Prints) > 0, ", DTLS fingerprint"},
		{l.Label != "", ", label " + oneWord(l.Label)},
	} {
		if w.holds {
			b.WriteString(w.words)
		}
	}
	return b.String()
}

// describeMetadata names the participants of a document and what they send.
func describeMetadata(text []byte) string {
	doc, err := rsmeta.Parse(text)
	if err != nil {
		return "metadata that cannot be read: " + oneWord(err.Error())
	}
	mode := "complete"
	if doc.Partial {
		mode = "partial"
	}
	labels := map[string]string{}
	for _, s := range doc.Streams {
		labels[s.ID] = s.Label
	}
	var b strings.Builder
	fmt.Fprintf(&b, "metadata, %s, %d bytes", mode, len(text))
	for i, p := range doc.Participants {
		if i == maxLines {
			b.WriteString("; …")
			break
		}
		b.WriteString("; " + oneWord(strings.Join(append(p.AoRs, p.Name), " ")))
		for _, id := range p.Sends {
			fmt.Fprintf(&b, " sends %s", oneWord(cmp.Or(labels[id], "an unknown stream")))
		}
		if p.Left != "" {
			b.WriteString(" has left")
		}
	}
	if n := len(doc.Extensions); n > 0 {
		fmt.Fprintf(&b, "; %d vendor fields", n)
	}
	return b.String()
}

// oneWord makes foreign text fit for one line of a terminal: no control
// characters, nothing that reorders or hides text, not too long.
func oneWord(s string) string {
	s = strings.Map(func(r rune) rune {
		if r != ' ' && !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.TrimSpace(strings.ToValidUTF8(s, "?")))
	if r := []rune(s); len(r) > 80 {
		return string(r[:79]) + "…"
	}
	return s
}
