// Package vigil judges whether a recording session still has its client: one
// that crashed sends no BYE, and its media just stops.
//
//	heard lately ─► nothing    quiet for two thirds of the patience ─► Probe
//	on hold      ─► Probe, seldom    quiet for all of it, or unknown to the client ─► GiveUp
//
// Promises: a session whose legs are all on announced hold is never given up
// for want of media, only when its client says that it does not know it. One
// that was never heard is given ten times the patience, for some clients open
// the session while the called party's telephone still rings.
//
// Caveat: a call whose parties are both silenced without a word of signalling
// looks like one that has ended. A request of the client starts the patience
// anew.
package vigil

import "time"

const (
	unheard   = 10               // so many times the patience for a session that was never heard
	LongProbe = 10 * time.Minute // how often a session is asked of which no media is expected
)

// Action is what is to be done.
type Action int

// Nothing; ask the client whether it has the session; end the session.
const (
	None Action = iota
	Probe
	GiveUp
)

// Facts are how a session's media stands.
type Facts struct {
	Since   time.Time // when media could first be expected
	Last    time.Time // the last packet; zero: none ever
	Waiting bool      // media is expected: at least one leg is not on hold
}

// Watch is what is known of one session. It is not safe for parallel use.
type Watch struct {
	stir   time.Time // the client's last request
	probed time.Time // our last probe; zero: none since
	dead   bool
}

// Stirred notes a request of the client.
func (w *Watch) Stirred(at time.Time) { w.stir, w.probed, w.dead = at, time.Time{}, false }

// Quiet is how long the client has sent no request.
func (w *Watch) Quiet(now time.Time) time.Duration { return now.Sub(w.stir) }

// Answered notes the answer to a probe.
func (w *Watch) Answered(alive bool) { w.dead = !alive }

// Judge says what is due. It takes it that a Probe is carried out.
func (w *Watch) Judge(now time.Time, patience time.Duration, f Facts) Action {
	if w.dead {
		return GiveUp
	}
	if !f.Waiting {
		return w.probe(now, LongProbe)
	}
	last := w.stir
	for _, t := range []time.Time{f.Since, f.Last} {
		if t.After(last) {
			last = t
		}
	}
	quiet := now.Sub(last)
	limit := patience
	if f.Last.IsZero() {
		limit *= unheard
	}
	switch {
	case quiet >= limit:
		return GiveUp
	case quiet >= patience*2/3:
		return w.probe(now, patience)
	}
	w.probed = time.Time{}
	return None
}

// probe asks for a probe unless there was one less than every ago.
func (w *Watch) probe(now time.Time, every time.Duration) Action {
	since := w.probed
	if since.IsZero() && every == LongProbe {
		since = w.stir
	}
	if now.Sub(since) < every {
		return None
	}
	w.probed = now
	return Probe
}
