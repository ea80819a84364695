// Package sessiontimer reads and writes the session timers of RFC 4028 for a
// server that does not begin sessions: who refreshes, how often, and when
// something must happen.
//
//	INVITE, UPDATE ─Read─► Refresh ─Mark─► our 2xx
//	                          ├─Keep─► a refresh of ours
//	                          └─Deadline: our refresh at half time, or giving up on theirs
//
// Caveat: what to do at the deadline is its user's. A recorder that still
// hears media keeps the session.
package sessiontimer

import (
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/wire"
)

// MinSE is the shortest session interval that RFC 4028 allows, in seconds.
const MinSE = 90

// Refresh is a negotiated session timer (RFC 4028).
type Refresh struct {
	Interval time.Duration // 0: no session timer
	ByUs     bool          // we are the one that refreshes
	Required bool          // the 2xx says Require: timer
}

// Read reads what the client asks for and chooses by RFC 4028 table 2:
// an offered refresher cannot be overridden; when none is named and the client
// supports the timer, it is the client. A client that knows nothing of timers
// is told that we refresh. ok is false for an interval that is too small, to
// be answered with 422 and MinSE.
func Read(req *sip.Request) (r Refresh, ok bool) {
	value := wire.Text(req, "Session-Expires", "x")
	num, params, _ := strings.Cut(value, ";")
	secs, err := strconv.ParseUint(strings.TrimSpace(num), 10, 31)
	if value == "" || err != nil {
		return Refresh{}, true
	}
	timer := wire.HasToken(wire.Tokens(req, "Supported", "k"), "timer") ||
		wire.HasToken(wire.Tokens(req, "Require"), "timer")
	if secs < MinSE {
		if timer {
			return Refresh{}, false
		}
		secs = MinSE
	}
	r = Refresh{Interval: time.Duration(secs) * time.Second, ByUs: !timer, Required: timer}
	for p := range strings.SplitSeq(strings.ToLower(params), ";") {
		switch strings.ReplaceAll(p, " ", "") {
		case "refresher=uas":
			r.ByUs, r.Required = true, false
		case "refresher=uac":
			r.ByUs, r.Required = false, true
		}
	}
	return r, true
}

// Mark writes the timer into a 2xx.
func (r Refresh) Mark(res *sip.Response) {
	if r.Interval == 0 {
		return
	}
	who := ";refresher=uac"
	if r.ByUs {
		who = ";refresher=uas"
	}
	res.AppendHeader(sip.NewHeader("Session-Expires", strconv.Itoa(int(r.Interval/time.Second))+who))
	if r.Required {
		res.AppendHeader(sip.NewHeader("Require", "timer"))
	}
}

// Keep writes the timer into a refresh of ours, in whose transaction we are
// the UAC; one without it would end it (RFC 4028 section 7.2).
func (r Refresh) Keep(req *sip.Request) {
	if r.Interval == 0 {
		return
	}
	who := ";refresher=uas"
	if r.ByUs {
		who = ";refresher=uac"
	}
	if req.GetHeader("Supported") == nil {
		req.AppendHeader(sip.NewHeader("Supported", "timer"))
	}
	req.AppendHeader(sip.NewHeader("Session-Expires", strconv.Itoa(int(r.Interval/time.Second))+who))
}

// Deadline is when something must happen: our own refresh at half time, or
// giving up on the client's (RFC 4028 section 10), counted from now.
func (r Refresh) Deadline(now time.Time) time.Time {
	switch {
	case r.Interval == 0:
		return time.Time{}
	case r.ByUs:
		return now.Add(r.Interval / 2)
	}
	return now.Add(r.Interval - min(32*time.Second, r.Interval/3))
}
