// Package rsmeta reads the metadata of a recording session in the dialects
// that recording clients send (RFC 7865, its drafts, BroadWorks).
//
//	bytes ──utf8──tree──► elements ──Parse──► Document ──State.Apply──► merged view
//
// No two makes of client write the same elements, so names are matched by
// their local part and without case, ids are opaque strings, and what is not
// known is kept as a flattened vendor Extension. The three dialects differ in
// where a participant's streams stand: in a participantstreamassoc element
// (RFC 7865), inside the participant (drafts), or inside it as <send><id>
// (BroadWorks). Document has them in one form.
//
// Promises: a document of up to MaxBytes costs a few milliseconds and a few
// megabytes at most; entities are never expanded from the document; text and
// times are kept as sent.
//
// Caveats: values are foreign text and may hold control characters, markup or
// bidi overrides; whoever shows them cleans them. Times are not parsed: clients
// send them without zone, or as 1970.
package rsmeta

import "errors"

// The limits of Parse.
const (
	MaxBytes    = 64 << 10 // of a whole document
	MaxDepth    = 32       // nested elements
	MaxElements = 2000
	MaxAttrs    = 64      // on one element
	MaxAttr     = 1 << 10 // bytes of one attribute value
	maxName     = 128     // bytes of one name
	maxPath     = 512     // bytes of one Extension path
)

// Why Parse refuses a document. The audio of the call does not depend on it.
var (
	// ErrTooLarge: one of the limits above is passed.
	ErrTooLarge = errors.New("rsmeta: document too large")
	// ErrMalformed: no well-formed XML, even by lenient rules.
	ErrMalformed = errors.New("rsmeta: malformed document")
	// ErrDoctype: a document type declaration, which no client needs.
	ErrDoctype = errors.New("rsmeta: document type declaration refused")
	// ErrNotMetadata: XML, but no recording metadata.
	ErrNotMetadata = errors.New("rsmeta: not recording metadata")
)

// Document is one metadata document as received.
type Document struct {
	Partial      bool // datamode partial; absent means complete (RFC 7865 5.1.2)
	Groups       []Group
	Sessions     []Session
	Participants []Participant // in document order
	Streams      []Stream
	Extensions   []Extension // vendor elements, flattened, in document order
	Raw          []byte      // the document as received
}

// Clash says that one id names two different things, say a session and a
// stream: an error of the client's (RFC 7865 section 6.10). What refers to it is
// resolved by kind all the same.
func (d *Document) Clash() bool {
	kinds := map[string]string{}
	clash := false
	see := func(id, kind string) {
		clash = clash || id != "" && kinds[id] != "" && kinds[id] != kind
		kinds[id] = kind
	}
	for _, g := range d.Groups {
		see(g.ID, "group")
	}
	for _, s := range d.Sessions {
		see(s.ID, "session")
	}
	for _, p := range d.Participants {
		see(p.ID, "participant")
	}
	for _, s := range d.Streams {
		see(s.ID, "stream")
	}
	return clash
}

// Group is a communication session group.
type Group struct{ ID string }

// Session is a communication session (CS).
type Session struct {
	ID, GroupID  string
	SIPSessionID []string // RFC 7989 values or a CS Call-ID
	Start, Stop  string   // raw; clients send times without zone, or 1970
}

// Participant is a party of the communication session.
type Participant struct {
	ID       string
	AoRs     []string // addresses as sent: with or without scheme
	Name     string
	Sends    []string // stream ids
	Receives []string // stream ids
	Joined   string   // associate-time, raw
	Left     string   // disassociate-time, raw; "" while present
	Sessions []string

	// StreamsStated says that this document tells which streams the
	// participant sends and receives, so that empty lists mean none
	// (RFC 7865 6.8.1) and not "unchanged".
	StreamsStated bool
}

// Stream ties a stream id to the SDP label that carries it.
type Stream struct{ ID, SessionID, Label string }

// Extension is one leaf of a vendor extension: where it hung, what it said.
type Extension struct {
	Owner string // "recording", "group", "session", "participant", "stream"
	ID    string // id of the owner, "" for recording
	Path  string // local names from the extension's root, joined by "/"; attributes as "@name"; <extensiondata> itself is left out
	Value string // trimmed
}
