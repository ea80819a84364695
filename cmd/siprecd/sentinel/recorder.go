package sentinel

import (
	"fmt"
	"strings"
	"time"

	"siprecd/siprec"
	"siprecd/store"
)

// Certificate tells when the server's own expires within before, or was not
// valid yet, or could not be replaced by what its files hold now.
func Certificate(look func(now time.Time) (from, until time.Time, err error), before time.Duration) Check {
	return Check{"certificate", func(now time.Time) string {
		from, until, err := look(now)
		switch {
		case now.After(until):
			return "the certificate of this server expired on " + until.UTC().Format(time.DateOnly) + ": clients that check it cannot connect"
		case now.Before(from):
			return "the certificate of this server is not valid before " + from.UTC().Format(time.DateOnly)
		case err != nil:
			return "the certificate files cannot be used, the old certificate stays in use: " + err.Error()
		case until.Sub(now) < before:
			return "the certificate of this server expires on " + until.UTC().Format(time.DateOnly)
		}
		return ""
	}}
}

// Clients tells when a client that has placed calls since the start sends
// nothing any more: no OPTIONS and no INVITE for so long.
func Clients(peers func() ([]siprec.Peer, siprec.Strangers), quiet time.Duration) Check {
	return Check{"client", func(now time.Time) string {
		var silent []string
		rows, _ := peers()
		for _, p := range rows {
			if quiet > 0 && (p.Calls > 0 || !p.LastOptions.IsZero()) && now.Sub(p.Heard) >= quiet {
				silent = append(silent, p.Addr.String())
			}
		}
		if len(silent) == 0 {
			return ""
		}
		return fmt.Sprintf("nothing was heard for %v of %s: is it down, or does it record elsewhere?", quiet, strings.Join(silent, ", "))
	}}
}

// How many unreadable messages, within which time, are no accident.
const (
	muchMalformed = 50
	malformedIn   = 10 * time.Second
)

// Malformed tells of a flood of messages that are no SIP, from allowed clients.
func Malformed(counters func() map[string]uint64) Check {
	type mark struct {
		at time.Time
		n  uint64
	}
	var marks []mark
	return Check{"malformed", func(now time.Time) string {
		marks = append(marks, mark{now, counters()["malformed"]})
		for len(marks) > 1 && now.Sub(marks[1].at) >= malformedIn {
			marks = marks[1:]
		}
		if marks[len(marks)-1].n-marks[0].n < muchMalformed {
			return ""
		}
		return "recording clients send many messages that are no SIP: see sip_rejected_total"
	}}
}

// A backlog that is told, and how long it must last.
const (
	muchBacklog = 64
	backlogFor  = 4 * time.Second
)

// Backlog tells when segments wait long to be sealed.
func Backlog(health func() store.Health) Check {
	var since time.Time
	return Check{"backlog", func(now time.Time) string {
		h := health()
		if h.Backlog <= max(muchBacklog, 2*h.Live) {
			since = time.Time{}
			return ""
		}
		if since.IsZero() {
			since = now
		}
		if now.Sub(since) < backlogFor {
			return ""
		}
		return "segments are sealed more slowly than they come: the disk or the processors are too slow"
	}}
}
