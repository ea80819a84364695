// Package offer writes what a recording client sends in the bodies of its
// requests, the session description (RFC 7866 7.1), the metadata (RFC 7865)
// and the multipart that holds both, in the dialects that clients speak, and
// reads as much of the answer as sending media needs. It takes nothing from
// the recorder's own readers and writers, so it can be held against them.
//
//	SDP.Write ────────┐
//	                  ├──► Join ──► Body
//	Metadata.Write ───┘
package offer

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// Dialects of the recording metadata, and of the body around it.
const (
	RFC7865    = "rfc7865"    // RFC 7865
	Draft      = "draft"      // the namespace and elements of the drafts before it
	BroadWorks = "broadworks" // recording_metadata, and that part first
	NoMetadata = "none"       // application/sdp alone
)

// Codecs of RFC 3551.
const (
	PCMA = "pcma" // G.711 A-law, payload type 8
	PCMU = "pcmu" // G.711 mu-law, payload type 0
)

// EventPT is the payload type that offers give to telephone-event.
const EventPT = 101

// Body is the body of a SIP request. The zero Body is none.
type Body struct {
	Type string // Content-Type
	Data []byte
}

// Line is what a leg's m-line says.
type Line struct {
	Port      uint16
	Codec     string // PCMA or PCMU
	Label     string
	Direction string
	Proto     string   // RTP/AVP when empty
	Attrs     []string // further a= values, keys for one
}

// SDP is what an offer says.
type SDP struct {
	Addr    netip.Addr // where media comes from
	ID      uint64     // of the o= line
	Version uint64
	Ptime   int // milliseconds
	Lines   []Line
	Extra   []string // further m-lines with their a= lines, as they are
}

// Write writes the offer: one m-line a leg (RFC 7866 7.1.1).
func (s SDP) Write() []byte {
	var b bytes.Buffer
	family := "IP4"
	if s.Addr.Is6() {
		family = "IP6"
	}
	fmt.Fprintf(&b, "v=0\r\no=src %d %d IN %s %s\r\ns=SIPREC\r\nc=IN %s %s\r\nt=0 0\r\n",
		s.ID, s.Version, family, s.Addr, family, s.Addr)
	for _, m := range s.Lines {
		pt, name := 8, "PCMA"
		if m.Codec == PCMU {
			pt, name = 0, "PCMU"
		}
		proto := m.Proto
		if proto == "" {
			proto = "RTP/AVP"
		}
		fmt.Fprintf(&b, "m=audio %d %s %d %d\r\na=rtpmap:%d %s/8000\r\n", m.Port, proto, pt, EventPT, pt, name)
		fmt.Fprintf(&b, "a=rtpmap:%d telephone-event/8000\r\na=fmtp:%d 0-15\r\n", EventPT, EventPT)
		fmt.Fprintf(&b, "a=ptime:%d\r\na=label:%s\r\na=%s\r\n", s.Ptime, m.Label, m.Direction)
		for _, a := range m.Attrs {
			fmt.Fprintf(&b, "a=%s\r\n", a)
		}
	}
	for _, e := range s.Extra {
		for line := range strings.Lines(e) {
			b.WriteString(strings.TrimRight(line, "\r\n") + "\r\n")
		}
	}
	return b.Bytes()
}

// Join puts together SDP and metadata as the dialect does (RFC 7866 9.1). No
// metadata makes a plain SDP body, no SDP a plain metadata body.
func Join(dialect string, sdp, metadata []byte) Body {
	switch {
	case metadata == nil && sdp == nil:
		return Body{}
	case metadata == nil:
		return Body{Type: "application/sdp", Data: sdp}
	case sdp == nil:
		return Body{Type: metadataType(dialect), Data: metadata}
	}
	boundary := "src-" + Token()
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

// URIHost writes an address as a SIP URI's host.
func URIHost(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}
