package uas

import (
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/wire"
)

// minSE is the shortest session interval that RFC 4028 allows, in seconds.
const minSE = 90

// refresh is a negotiated session timer (RFC 4028).
type refresh struct {
	interval time.Duration // 0: no session timer
	byUs     bool          // we are the one that refreshes
	required bool          // the 2xx says Require: timer
}

// sessionTimer reads what the client asks for and chooses by RFC 4028 table 2:
// an offered refresher cannot be overridden; when none is named and the client
// supports the timer, it is the client. A client that knows nothing of timers
// is told that we refresh.
func sessionTimer(req *sip.Request) (refresh, *Refusal) {
	value := wire.Text(req, "Session-Expires", "x")
	num, params, _ := strings.Cut(value, ";")
	secs, err := strconv.ParseUint(strings.TrimSpace(num), 10, 31)
	if value == "" || err != nil {
		return refresh{}, nil
	}
	timer := wire.HasToken(wire.Tokens(req, "Supported", "k"), "timer") ||
		wire.HasToken(wire.Tokens(req, "Require"), "timer")
	if secs < minSE {
		if timer {
			return refresh{}, &Refusal{Code: 422, Reason: "Session Interval Too Small"}
		}
		secs = minSE
	}
	r := refresh{interval: time.Duration(secs) * time.Second, byUs: !timer, required: timer}
	for p := range strings.SplitSeq(strings.ToLower(params), ";") {
		switch strings.ReplaceAll(p, " ", "") {
		case "refresher=uas":
			r.byUs, r.required = true, false
		case "refresher=uac":
			r.byUs, r.required = false, true
		}
	}
	return r, nil
}

// mark writes the timer into a 2xx.
func (r refresh) mark(res *sip.Response) {
	if r.interval == 0 {
		return
	}
	who := ";refresher=uac"
	if r.byUs {
		who = ";refresher=uas"
	}
	res.AppendHeader(sip.NewHeader("Session-Expires", strconv.Itoa(int(r.interval/time.Second))+who))
	if r.required {
		res.AppendHeader(sip.NewHeader("Require", "timer"))
	}
}

// deadline is when something must happen: our own refresh at half time, or
// giving up on the client's (RFC 4028 section 10), counted from now.
func (r refresh) deadline(now time.Time) time.Time {
	switch {
	case r.interval == 0:
		return time.Time{}
	case r.byUs:
		return now.Add(r.interval / 2)
	}
	return now.Add(r.interval - min(32*time.Second, r.interval/3))
}
