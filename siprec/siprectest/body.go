package siprectest

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// mediaLine is what a leg's m-line says.
type mediaLine struct {
	port      uint16
	codec     string
	label     string
	direction string
}

// sdpInfo is what an offer says.
type sdpInfo struct {
	addr    netip.Addr
	id      uint64 // of the o= line
	version uint64
	ptime   int // milliseconds
	lines   []mediaLine
	extra   []string // further m-lines as they are
}

// writeSDP writes an offer: one m-line a leg (RFC 7866 7.1.1).
func writeSDP(s sdpInfo) []byte {
	var b bytes.Buffer
	family := "IP4"
	if s.addr.Is6() {
		family = "IP6"
	}
	fmt.Fprintf(&b, "v=0\r\no=src %d %d IN %s %s\r\ns=SIPREC\r\nc=IN %s %s\r\nt=0 0\r\n",
		s.id, s.version, family, s.addr, family, s.addr)
	for _, m := range s.lines {
		pt, name := 8, "PCMA"
		if m.codec == PCMU {
			pt, name = 0, "PCMU"
		}
		fmt.Fprintf(&b, "m=audio %d RTP/AVP %d %d\r\na=rtpmap:%d %s/8000\r\n", m.port, pt, eventPT, pt, name)
		fmt.Fprintf(&b, "a=rtpmap:%d telephone-event/8000\r\na=fmtp:%d 0-15\r\n", eventPT, eventPT)
		fmt.Fprintf(&b, "a=ptime:%d\r\na=label:%s\r\na=%s\r\n", s.ptime, m.label, m.direction)
	}
	for _, e := range s.extra {
		for line := range strings.Lines(e) {
			b.WriteString(strings.TrimRight(line, "\r\n") + "\r\n")
		}
	}
	return b.Bytes()
}

// writeBody joins SDP and metadata as the dialect does (RFC 7866 9.1). No
// metadata makes a plain SDP body, no SDP a plain metadata body.
func writeBody(dialect string, sdp, metadata []byte) Body {
	switch {
	case metadata == nil && sdp == nil:
		return Body{}
	case metadata == nil:
		return Body{Type: "application/sdp", Data: sdp}
	case sdp == nil:
		return Body{Type: metadataType(dialect), Data: metadata}
	}
	boundary := "src-" + token()
	var b bytes.Buffer
	if dialect == BroadWorks { // metadata first, no space after the colon, lengths inside
		part(&b, boundary, metadata, "Content-Type:"+metadataType(dialect),
			"Content-Disposition:recording-session", fmt.Sprintf("Content-Length:%d", len(metadata)))
		part(&b, boundary, sdp, "Content-Type:application/sdp", fmt.Sprintf("Content-Length:%d", len(sdp)))
	} else {
		part(&b, boundary, sdp, "Content-Type: application/sdp",
			"Content-Disposition: session;handling=required")
		part(&b, boundary, metadata, "Content-Type: "+metadataType(dialect),
			"Content-Disposition: recording-session")
	}
	b.WriteString("--" + boundary + "--\r\n")
	return Body{Type: "multipart/mixed;boundary=" + boundary, Data: b.Bytes()}
}

// metadataType is the media type that the dialect gives its metadata: RFC 9806
// renamed it.
func metadataType(dialect string) string {
	if dialect == Draft {
		return "application/rs-metadata"
	}
	return "application/rs-metadata+xml"
}

func part(b *bytes.Buffer, boundary string, data []byte, headers ...string) {
	b.WriteString("--" + boundary + "\r\n")
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(data)
	b.WriteString("\r\n")
}

// uriHost writes an address as a SIP URI's host.
func uriHost(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}
