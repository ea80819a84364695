package sdp

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// maxParams caps an fmtp value that is written back, in bytes: longer than
// any real one, short enough that a small offer cannot make a huge answer.
const maxParams = 512

// Reply is a description to be written: an answer, or an offer of ours.
type Reply struct {
	Addr      netip.Addr // where media is to be sent; IPv4 or IPv6
	SessionID uint64     // of o=, constant in a dialog
	Version   uint64     // of o=, one more with every changed description
	Media     []ReplyMedia
}

// ReplyMedia is one m-line of a Reply.
type ReplyMedia struct {
	Kind, Proto string
	Port        int           // 0 rejects the stream: only the m-line and the label are written
	Formats     []Format      // RTP formats, in our order
	FormatIDs   []string      // the m-line's tokens when Formats is empty
	Direction   Direction     // "" writes none
	Label       string        // "" writes none
	Ptime       time.Duration // 0 writes none
	Crypto      *Crypto       // the key of what we would send, with one master key; nil writes none
	Fingerprint *Fingerprint  // of our certificate, when there is no Crypto; nil writes none
	Setup       string        // a=setup beside a fingerprint: active or passive
}

// Write formats a description with CRLF line ends (RFC 8866).
func Write(r Reply) []byte {
	var b strings.Builder
	fam, addr := "IP4", r.Addr.Unmap().WithZone("")
	if addr.Is6() {
		fam = "IP6"
	}
	fmt.Fprintf(&b, "v=0\r\no=- %d %d IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\n",
		r.SessionID, r.Version, fam, addr, fam, addr)
	for _, m := range r.Media {
		writeMedia(&b, m)
	}
	return []byte(b.String())
}

func writeMedia(b *strings.Builder, m ReplyMedia) {
	fmt.Fprintf(b, "m=%s %d %s", token(m.Kind), m.Port, token(m.Proto))
	for _, f := range m.Formats {
		fmt.Fprintf(b, " %d", f.PT)
	}
	if len(m.Formats) == 0 {
		ids := m.FormatIDs
		if len(ids) == 0 {
			ids = []string{"0"} // the grammar wants one; it means nothing on a rejected line
		}
		for _, id := range ids {
			b.WriteString(" " + token(id))
		}
	}
	b.WriteString("\r\n")
	if m.Port != 0 {
		writeFormats(b, m.Formats)
		if m.Ptime > 0 {
			fmt.Fprintf(b, "a=ptime:%g\r\n", float64(m.Ptime)/float64(time.Millisecond))
		}
		if m.Direction != "" {
			fmt.Fprintf(b, "a=%s\r\n", m.Direction)
		}
		writeKeys(b, m)
	}
	if l := strings.TrimSpace(oneLine(m.Label)); l != "" {
		fmt.Fprintf(b, "a=label:%s\r\n", l)
	}
}

func writeFormats(b *strings.Builder, formats []Format) {
	for _, f := range formats {
		if f.Encoding == "" || f.Clock == 0 {
			continue // nothing certain to say about it; the offer said no more
		}
		fmt.Fprintf(b, "a=rtpmap:%d %s/%d", f.PT, token(spelling(f.Encoding)), f.Clock)
		if f.Channels > 1 {
			fmt.Fprintf(b, "/%d", f.Channels)
		}
		b.WriteString("\r\n")
	}
	for _, f := range formats {
		if p := strings.TrimSpace(oneLine(f.Params)); p != "" && len(p) <= maxParams {
			fmt.Fprintf(b, "a=fmtp:%d %s\r\n", f.PT, p)
		}
	}
}

// spelling gives an encoding name the case in which it is registered: names
// compare without case, but not every client knows.
func spelling(enc string) string {
	switch enc {
	case "OPUS", "TELEPHONE-EVENT":
		return strings.ToLower(enc)
	case "ILBC":
		return "iLBC"
	}
	return enc
}

// oneLine drops control characters, so that no value can end its line.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, s)
}

// token is oneLine without blanks; "-" stands for nothing.
func token(s string) string {
	s = strings.ReplaceAll(oneLine(s), " ", "")
	if s == "" {
		return "-"
	}
	return s
}
