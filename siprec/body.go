package siprec

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
)

// The limits of a request's body.
const (
	maxBody      = 1 << 20  // bytes
	maxMetadata  = 64 << 10 // bytes of it that are kept
	maxParts     = 8        // of a multipart, nested ones included
	maxPartDepth = 3        // multiparts within multiparts
	maxPartHead  = 8 << 10  // bytes of one part's header
)

// Body is what one request brought.
type Body struct {
	SDP      []byte // nil: none
	Metadata []byte // nil: none
}

// readBody picks the session description and the metadata out of a body,
// plain or multipart. The standard library's multipart reader gives up on
// what recording clients send (no closing boundary, part headers that are
// none, line ends of two kinds), so the splitter is our own: a line that is
// the delimiter ends a part, whatever else the body does. A body that cannot
// be split is searched for a description, since the call's audio hangs on it.
//
// The error is a *Refusal: 413 past the limits, 415 for a body or a required
// part of an unknown type, 400 for a body with nothing readable in it.
func readBody(contentType string, body []byte) (Body, error) {
	if len(body) > maxBody {
		return Body{}, &Refusal{Code: 413, Reason: "Request Entity Too Large"}
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return Body{}, nil
	}
	r := bodyReader{}
	p := bodyPart{kind: contentType, data: body}
	if err := r.take(p, 0); err != nil {
		return Body{}, err
	}
	switch {
	case r.found != (found{}):
		return r.body, nil
	case r.parts == 0 && !strings.HasPrefix(sniff(p), "multipart/"):
		return Body{}, refuseType()
	}
	b := salvageBody(body)
	if b.SDP == nil && b.Metadata == nil && r.parts == 0 {
		return Body{}, &Refusal{Code: 400, Reason: "Unreadable Multipart Body"}
	}
	return b, nil
}

func refuseType() *Refusal {
	return &Refusal{Code: 415, Reason: "Unsupported Media Type"}
}

// bodyPart is one body part, or a whole body.
type bodyPart struct {
	kind        string // Content-Type
	disposition string
	encoding    string // Content-Transfer-Encoding
	data        []byte
}

type found struct{ sdp, metadata bool }

// bodyReader collects the first description and the first metadata.
type bodyReader struct {
	body  Body
	found found
	parts int // of all multiparts
}

func (r *bodyReader) take(p bodyPart, depth int) error {
	switch kind := sniff(p); {
	case kind == "application/sdp":
		if !r.found.sdp {
			r.body.SDP, r.found.sdp = p.decoded(), true
		}
	case kind == "application/rs-metadata", kind == "application/rs-metadata+xml":
		if !r.found.metadata {
			r.body.Metadata, r.found.metadata = p.decoded(), true
		}
	case strings.HasPrefix(kind, "multipart/") && depth < maxPartDepth:
		return r.multipart(p, depth)
	case strings.EqualFold(parameter(p.disposition, "handling"), "required"):
		return refuseType()
	}
	return nil
}

func (r *bodyReader) multipart(p bodyPart, depth int) error {
	for _, raw := range splitParts(p.decoded(), parameter(p.kind, "boundary")) {
		if r.parts++; r.parts > maxParts {
			return &Refusal{Code: 413, Reason: "Too Many Body Parts"}
		}
		if err := r.take(readPart(raw), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// splitParts cuts a multipart at its delimiter lines. Blanks behind the delimiter,
// a missing closing delimiter, a preamble and an epilogue are all the same to
// it. When the boundary is not told or does not occur, the first line that
// begins with "--" is taken for the delimiter.
func splitParts(body []byte, boundary string) [][]byte {
	delim := []byte("--" + boundary)
	if boundary == "" || !bytes.Contains(body, delim) {
		delim = guessDelimiter(body)
	}
	if len(delim) <= 2 {
		return nil
	}
	var parts [][]byte
	at, start := 0, -1 // of the line and of the part being read
	for line := range bytes.Lines(body) {
		is, closing := delimiter(line, delim)
		if is && start >= 0 {
			parts = append(parts, trimBreak(body[start:at]))
		}
		at += len(line)
		switch {
		case closing:
			return parts
		case is:
			start = at
		}
	}
	if start >= 0 && len(bytes.TrimSpace(body[start:])) > 0 {
		parts = append(parts, body[start:])
	}
	return parts
}

// delimiter says whether a line is the delimiter, and whether it is the one
// that closes the multipart.
func delimiter(line, delim []byte) (is, closing bool) {
	rest, ok := bytes.CutPrefix(bytes.TrimRight(line, " \t\r\n\x00"), delim)
	closing = ok && string(rest) == "--"
	return ok && (closing || len(rest) == 0), closing
}

// trimBreak drops the line end that belongs to the delimiter behind it.
func trimBreak(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
}

func guessDelimiter(body []byte) []byte {
	for line := range bytes.Lines(body) {
		if line = bytes.TrimRight(line, " \t\r\n\x00"); bytes.HasPrefix(line, []byte("--")) {
			return line
		}
	}
	return nil
}

// readPart reads a part's header up to the blank line, or to the first line
// that is no header: some parts have none at all.
func readPart(raw []byte) bodyPart {
	p, at, name := bodyPart{}, 0, ""
	for l := range bytes.Lines(raw[:min(len(raw), maxPartHead)]) {
		line := strings.TrimRight(string(l), " \t\r\n")
		if line == "" {
			at += len(l)
			break
		}
		key, value, isHeader := strings.Cut(line, ":")
		if folded := line[0] == ' ' || line[0] == '\t'; folded && name != "" {
			p.set(name, " "+strings.TrimSpace(line))
		} else if key = strings.TrimSpace(key); isHeader && isToken(key) {
			name = key
			p.set(name, strings.TrimSpace(value))
		} else {
			break
		}
		at += len(l)
	}
	p.data = raw[at:]
	return p
}

func (p *bodyPart) set(name, value string) {
	switch strings.ToLower(name) {
	case "content-type", "c":
		p.kind += value
	case "content-disposition":
		p.disposition += value
	case "content-transfer-encoding":
		p.encoding += value
	}
}

// decoded undoes the transfer encoding. What does not decode is returned as
// it is: its reader will say what is wrong with it.
func (p bodyPart) decoded() []byte {
	switch strings.ToLower(strings.TrimSpace(p.encoding)) {
	case "base64":
		compact := bytes.Join(bytes.Fields(p.data), nil)
		text := strings.TrimRight(string(compact), "=")
		if b, err := base64.RawStdEncoding.DecodeString(text); err == nil {
			return b
		}
	case "quoted-printable":
		if b, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(p.data))); err == nil {
			return b
		}
	}
	return p.data
}

// sniff returns the media type. Where none is given, or one that means
// nothing to us, a description is known by its first line and metadata by
// its root.
func sniff(p bodyPart) string {
	kind := mediaType(p.kind)
	data := bytes.TrimSpace(p.data)
	switch {
	case kind == "application/sdp", strings.HasPrefix(kind, "application/rs-metadata"),
		strings.HasPrefix(kind, "multipart/"):
	case bytes.HasPrefix(data, []byte("v=0")):
		return "application/sdp"
	case kind == "" && bytes.HasPrefix(data, []byte("<")) && bytes.Contains(data, []byte("recording")):
		return "application/rs-metadata+xml"
	case kind == "" && bytes.HasPrefix(data, []byte("--")):
		return "multipart/mixed"
	}
	return kind
}

// salvageBody looks for a description, and for metadata, in a body that has no
// parts that can be told apart.
func salvageBody(body []byte) Body {
	var out Body
	if i := bytes.Index(body, []byte("v=0")); i >= 0 {
		end := i
		for line := range bytes.Lines(body[i:]) {
			if t := bytes.TrimSpace(line); len(t) > 0 && (len(t) < 2 || t[1] != '=') {
				break
			}
			end += len(line)
		}
		out.SDP = body[i:end]
	}
	for _, mark := range []string{"<?xml", "<recording"} {
		if i := bytes.Index(body, []byte(mark)); i >= 0 && out.Metadata == nil {
			out.Metadata = body[i:]
		}
	}
	return out
}

// mediaType returns "type/subtype" of a Content-Type value, in lower case.
func mediaType(v string) string {
	t, _, _ := strings.Cut(v, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// parameter returns a parameter of a header value, unquoted; "" when absent.
// Unlike mime.ParseMediaType it takes values that should have been quoted.
func parameter(v, name string) string {
	_, rest, _ := cutUnquoted(v, ';')
	for rest != "" {
		var p string
		p, rest, _ = cutUnquoted(rest, ';')
		n, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(n), name) {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}

// cutUnquoted is strings.Cut for a separator outside quotes and <>.
func cutUnquoted(s string, sep byte) (before, after string, ok bool) {
	quoted, angled := false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == sep && !angled:
			return s[:i], s[i+1:], true
		case c == '<':
			angled = true
		case c == '>':
			angled = false
		}
	}
	return s, "", false
}

// isToken says that s can be a header's name (RFC 3261 25.1, in short).
func isToken(s string) bool {
	return s != "" && !strings.ContainsAny(s, " \t=<>\"/")
}
