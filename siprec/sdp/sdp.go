// Package sdp reads the session descriptions that recording clients really
// send and writes the answers a recorder gives.
//
//	bytes ──Parse──► Description ──(the recorder picks)──► Reply ──Write──► bytes
//
// Parse promises: what a client in the field sends is read, in whatever order
// its lines stand, with or without the lines that RFC 8866 makes mandatory;
// every m-line keeps its place; every a= value is kept raw, but for those that
// hold keys, which are only in Media.Crypto, as Secrets that do not print. It
// refuses only what cannot be answered m-line by m-line, and says by its error which SIP
// answer fits. It allocates in proportion to the input, which is capped.
//
// Write promises: one m-line for each given, in order, and no byte of foreign
// text that could end a line early.
//
// Caveats: host names in c= are not looked up (Addr stays invalid); grouping and
// ICE attributes are only kept raw. a=key-mgmt (MIKEY) and k= are not read.
package sdp

import (
	"errors"
	"net/netip"
	"time"
)

// The limits of Parse. One INVITE must not be able to take a thousand ports.
const (
	MaxBytes   = 64 << 10 // of a whole description
	MaxMedia   = 32       // m-lines
	MaxFormats = 128      // format tokens of one m-line: all payload types there are
)

// What Parse refuses, by the SIP answer that fits.
var (
	// ErrTooLarge: more than MaxBytes. Answer 413.
	ErrTooLarge = errors.New("sdp: description too large")
	// ErrMalformed: not a session description, or an m-line that cannot be
	// read and so not be answered either. Answer 400.
	ErrMalformed = errors.New("sdp: malformed description")
	// ErrNoMedia: a description without any m-line. Answer 488.
	ErrNoMedia = errors.New("sdp: no media line")
	// ErrTooManyMedia: more than MaxMedia m-lines. Answer 488.
	ErrTooManyMedia = errors.New("sdp: too many media lines")
)

// Direction is the direction attribute of a media line, as the sender of the
// description states it (RFC 3264 section 5.1). No attribute means SendRecv.
type Direction string

// The four directions of RFC 3264.
const (
	SendRecv Direction = "sendrecv"
	SendOnly Direction = "sendonly"
	RecvOnly Direction = "recvonly"
	Inactive Direction = "inactive"
)

// Description is one session description, read leniently.
type Description struct {
	Origin string   // value of o=, raw
	Name   string   // value of s=, raw
	Attrs  []string // session-level a= values but those with keys, raw, in order
	Media  []Media  // every m-line, in order
}

// Media is one m-line with what follows it, session-level defaults applied.
type Media struct {
	Kind      string         // audio, video, text, message, image, application; lower case
	Port      int            // 0: the stream is rejected or closed
	Proto     string         // RTP/AVP, RTP/SAVP, ..., as sent
	Formats   []Format       // in the order of the m-line; nil unless Proto is an RTP profile
	FormatIDs []string       // the m-line's format tokens, raw (not only RTP)
	Addr      netip.Addr     // effective c= address; invalid when there is none or it is a name
	Direction Direction      // effective direction
	Label     string         // a=label (RFC 4574), trimmed; "" when there is none
	Ptime     time.Duration  // a=ptime; 0 when absent
	RTCP      netip.AddrPort // a=rtcp (RFC 3605), else Addr and Port+1; zero when Port is 0
	RTCPMux   bool           // a=rtcp-mux (RFC 5761): RTCP may come on Port
	Attrs     []string       // every a= value of this m-line but those with keys, raw, in order
	Crypto    []Crypto       // a=crypto lines that can be read, in order
	Prints    []Fingerprint  // a=fingerprint, of this m-line or else of the session
	Setup     string         // a=setup (RFC 4145): active, passive, actpass, holdconn; lower case, "" when absent
}

// OnHold says that the sender announces no media: inactive, or the old form
// of hold, an unspecified c= address.
func (m Media) OnHold() bool {
	return m.Port == 0 || m.Direction == Inactive || m.Direction == RecvOnly ||
		(m.Addr.IsValid() && m.Addr.IsUnspecified())
}

// Format is one RTP payload type of an m-line. Static payload types without
// an rtpmap line (RFC 3551) are filled in.
type Format struct {
	PT       uint8
	Encoding string // upper case: PCMU, PCMA, G722, OPUS, TELEPHONE-EVENT, CN; "" when nothing says
	Clock    int    // RTP clock rate, Hz; 0 when nothing says
	Channels int    // 1 unless stated
	Params   string // fmtp, raw
}
