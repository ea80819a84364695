// Package uas is a SIP user agent server that keeps dialogs begun by others:
// sipgo's parser, transports and transactions below, and on top what its own
// dialog type lacks for a recorder.
//
//	socket ─► transport.Listener / filterUDP: allow-list, caps, deadlines
//	       ─► screen: 400 for what cannot be read
//	       ─► observe: ACKs, in the order of the wire
//	       ─► sipgo's transactions, a goroutine for each request
//	       ─► onRequest ─► dialog's mailbox, by CSeq ─► run ─► Call
//
// Promises. The calls for one dialog never overlap and come in CSeq order,
// whatever order sipgo's goroutines run in. A 200 to an INVITE is repeated
// until its ACK comes, on TCP too; a lost ACK ends a dialog only when it is
// the first and nothing is heard. Requests for dialogs that are not known get
// 481, copies the same answer again, merged ones 482. An INVITE whose CANCEL
// or BYE came first is refused. A panic ends one dialog. Peers that are not
// allowed make no state. No header, body or number gets into a log.
//
// A re-INVITE of ours leaves only when none is in progress; on glare theirs
// gets 491 and ours is tried again after the back-off of RFC 3261 14.1.
//
// Caveats. It never begins a dialog. Overlapping requests of a client are
// answered one after the other and not refused with 500, for a refusal in
// mid-dialog ends calls on some clients. A gap in the CSeq delays a request by a quarter second. Only 100 and final responses are
// sent, so PRACK never matches. When a TCP connection is lost, answers to
// what came on it are lost with it; the client asks again on a new one, and
// the dialog is found by its tags. sipgo knows a transaction by the branch in
// its Via, so a client that reuses branches is not understood.
package uas

import (
	"context"
	"time"
)

// Call is the application's side of one dialog. Its methods are called by one
// goroutine, one after the other.
type Call interface {
	// Change is called for every re-INVITE and UPDATE, for a BYE that has a
	// body, and for the ACK or the response that answers an offer of ours.
	// Of the latter three the reply is ignored.
	Change(ctx context.Context, r *Request) (Reply, error)
	// Offer is called when a re-INVITE that Dialog.Reinvite asked for can
	// leave, for its body.
	Offer(ctx context.Context) (Reply, error)
	// Close is called once, when the dialog is over.
	Close(end End)
	// Receiving says whether media flows; a dialog that is heard is not
	// ended for want of an ACK or a session refresh.
	Receiving() bool
}

// Accept decides on a new dialog. The 200 leaves when it returns a Call and
// no error. ctx ends when the client gives up or the server shuts down; a
// Call returned all the same is closed at once. A *Refusal becomes that
// response, any other error a 500.
type Accept func(ctx context.Context, d *Dialog, r *Request) (Call, Reply, error)

// Request is what a SIP request says, free of the SIP stack.
type Request struct {
	Method      string
	CSeq        uint32
	At          time.Time // when it was received
	URI         string
	Fields      map[string][]string // header fields by name as sent, values in order
	ContentType string
	Body        []byte
	Answer      bool // it answers an offer of ours: an ACK, or the 200 to a re-INVITE (Method INVITE)
}

// Reply is the body of a 200. The zero value has none.
type Reply struct {
	ContentType string
	Body        []byte
	Offer       bool // the body is an offer; the ACK brings its answer
}

// Refusal is an answer other than 200.
type Refusal struct {
	Code       int // 300 to 699
	Reason     string
	RetryAfter time.Duration // 0: none
	Warning    string        // value of a Warning header, "" for none
}

// Error implements error.
func (r *Refusal) Error() string { return r.Reason }

// End says how a dialog ended.
type End struct {
	At     time.Time
	Cause  string // bye, hangup, shutdown, cancelled, refused, ack timeout, session expired, session lost, answer not sent, panic
	Reason string // the Reason header of the BYE (RFC 3326), raw; or what Hangup was told
}
