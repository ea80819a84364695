// Package siprec is the SIP side of a session recording server: it admits
// recording clients, keeps their dialogs, and tells a Handler what each
// recording session is to record.
//
//	siprec       sessions: bodies, identity, answers; Config, Server, Session, Handler
//	├ sdp        session descriptions          (RFC 8866, RFC 3264)
//	├ rsmeta     recording metadata            (RFC 7865 and its drafts)
//	└ uas        dialogs in the order of CSeq  (RFC 3261, 3311, 4028)
//	  └ wire       sockets, screening, sipgo's two lower layers
//	    └ transport  guarded stream connections
//
// Promises. A client is admitted by its address and judged by its body, never
// by feature tags, for half of them send none. Bad metadata with a good
// description is a call with a note. Answers are plain application/sdp with
// every m-line in its place, and say +sip.srs. The handler's calls for one
// session come one after the other, in the order the client meant, and every
// session that was opened is closed once, whatever happens. 200 leaves for a
// BYE before the handler hears of it, for an INVITE after.
//
// Keys of SRTP are the Handler's: a stream whose profile wants them and whose
// answer has none is rejected. They are never logged and never kept raw.
//
// Caveats. Replaces is understood as an option but replaces nothing. A session whose
// timer runs out is kept while it is heard (a deviation from RFC 4028).
package siprec

import (
	"context"
	"net/netip"
	"time"

	"siprecd/siprec/rsmeta"
	"siprecd/siprec/sdp"
	"siprecd/siprec/uas"
)

// Handler decides on recording sessions. The calls for one session never
// overlap and arrive in CSeq order; calls for different sessions run in
// parallel. A returned *Refusal becomes that response; any other error a 500.
type Handler interface {
	// Open is called once per new dialog. The 200 OK leaves when it returns,
	// so what must be durable before the call is accepted is durable then.
	// ctx ends when the client cancels.
	Open(ctx context.Context, s *Session, c Change) (*Answer, error)
	// Change is called for every later request that brings an offer,
	// metadata or both, or whose header changes s.Identity, and when a
	// re-INVITE that s.Reinvite asked for can leave. The answer is ignored
	// when c.Offer is nil, when c.Answered, and when c.Method is BYE.
	Change(ctx context.Context, s *Session, c Change) (*Answer, error)
	// Close is called once per session for which Open returned an answer.
	Close(s *Session, end End)
}

// Change is what one request of the dialog brought.
type Change struct {
	Method      string
	CSeq        uint32
	At          time.Time        // when it was received (monotonic reading kept)
	Offer       *sdp.Description // nil: no SDP in this request
	Proposed    bool             // Offer is not the client's: what it described last, or a proposal of ours, is to be offered anew; its answer follows in a Change with Answered
	Answered    bool             // Offer is the client's answer to what was proposed; ours is ignored
	NewCall     bool             // the metadata says that the recorded call has ended and that another began in the same session (RFC 8068)
	Metadata    *rsmeta.Document // nil: none in this request, or unreadable
	MetadataRaw []byte           // as received, also when unreadable
	MetadataErr error            // why MetadataRaw could not be read
}

// Answer says, m-line by m-line, what the recorder takes.
type Answer struct {
	Addr  netip.Addr // where media is to be sent
	Media []AnswerMedia
}

// AnswerMedia answers the m-line of the same index.
type AnswerMedia struct {
	Port      int           // 0 rejects the stream
	Formats   []uint8       // accepted payload types, in our order; empty: those offered
	Direction sdp.Direction // RecvOnly or Inactive

	// How the stream is keyed: at most one of Crypto and Fingerprint.
	Crypto      *sdp.Crypto      // SDES: tag and suite of the line that was taken, a key of our own (RFC 4568 section 5.1.2)
	Fingerprint *sdp.Fingerprint // DTLS-SRTP: of our certificate
	Setup       string           // our role beside Fingerprint: active or passive
}

// Refusal is an answer other than 200. As an error of the Handler or of
// Config.Ready it becomes that response.
type Refusal = uas.Refusal

// End says how a session ended.
type End = uas.End

// Candidate is one place where a request or its metadata names a party.
type Candidate struct {
	Value  string // as written: sip:, tel:, digits, digits@host
	Source string // where it stood, e.g. "To", "Diversion", "apkt:request-uri"
}

// Party is one participant of the recorded call, with the streams it sends.
type Party struct {
	ID, Name string
	AoRs     []string
	Labels   []string // SDP labels of the streams that it sends
	Line     int      // the media line that it is heard on, counted from 1, where the client tells by place and not by label; 0: it does not
	Role     Role     // what the client calls it
	Silent   bool     // the client has said that it sends no stream (RFC 7865 section 6.8.1): it is on hold
	Gone     bool     // it has left the call
}

// Role is a party's part in the call as far as the client names it.
type Role string

// CUCM records either party in a dialog of its own.
const (
	Near Role = "near" // the recorded user
	Far  Role = "far"  // whom the recorded user speaks with
)

// Identity is who takes part in the recorded call, by the table of what each
// make of recording client writes where.
type Identity struct {
	Caller    Candidate   // the party that placed the call; zero when unknown
	Called    Candidate   // the number that was called; zero when unknown
	Agent     Candidate   // the recorded user, where the client names one
	Lines     []Candidate // every place that may name the listed line, best first
	CallKey   Candidate   // correlates recordings of one call
	Keys      []Candidate // everything that does, best first
	Parties   []Party     // from the merged metadata
	Direction string      // "inbound", "outbound" or "" when nothing says
}
