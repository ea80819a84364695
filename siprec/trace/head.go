package trace

import (
	"strconv"
	"strings"
)

// Head is what a trace reads of a message's header section. It is read
// leniently: what cannot be read is empty.
type Head struct {
	Method  string // of the request, or of the one that a response answers
	Status  int    // 0: a request
	Reason  string // phrase of a response
	Warning string // text of a response's Warning, without code and agent
	CallID  string
	FromTag string
	ToTag   string
	CSeq    uint32
	Type    string // Content-Type
}

// maxHeadLines bounds what is read of a header section.
const maxHeadLines = 256

// ReadHead reads the header section of a message.
func ReadHead(raw []byte) Head {
	head, _ := split(raw)
	lines := strings.SplitN(string(head), "\n", maxHeadLines)
	var h Head
	first := strings.Fields(lines[0])
	switch {
	case len(first) >= 2 && strings.HasPrefix(first[0], "SIP/"):
		h.Status, _ = strconv.Atoi(first[1]) // what is no number is no response
		h.Reason = strings.Join(first[2:], " ")
	case len(first) > 0:
		h.Method = first[0]
	}
	for i, line := range lines[1:] {
		if i < maxHeadLines-2 { // the last one may be the unread rest
			h.field(line)
		}
	}
	return h
}

func (h *Head) field(line string) {
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "call-id", "i":
		h.CallID = value
	case "from", "f":
		h.FromTag = tag(value)
	case "to", "t":
		h.ToTag = tag(value)
	case "cseq":
		number, method, _ := strings.Cut(value, " ")
		n, _ := strconv.ParseUint(number, 10, 32) // 0 when unreadable
		h.CSeq = uint32(n)
		if h.Status > 0 {
			h.Method = strings.TrimSpace(method)
		}
	case "content-type", "c":
		h.Type = value
	case "warning":
		if _, text, ok := strings.Cut(value, `"`); ok {
			h.Warning, _, _ = strings.Cut(text, `"`)
		}
	}
}

// tag finds the tag parameter of a From or To.
func tag(value string) string {
	if at := strings.LastIndexByte(value, '>'); at >= 0 {
		value = value[at:]
	}
	for p := range strings.SplitSeq(value, ";") {
		name, v, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "tag") {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// split cuts a message behind its header section.
func split(raw []byte) (head, body []byte) {
	for i := 0; i+1 < len(raw); i++ {
		switch {
		case raw[i] != '\n':
		case raw[i+1] == '\n':
			return raw[:i+1], raw[i+2:]
		case raw[i+1] == '\r' && i+2 < len(raw) && raw[i+2] == '\n':
			return raw[:i+1], raw[i+3:]
		}
	}
	return raw, nil
}
