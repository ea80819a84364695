package recorder

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"siprecd/recorder/account"
	"siprecd/recorder/assure"
	"siprecd/recorder/facts"
)

// Status gathers the facts of this moment.
func (r *Recorder) Status() Status {
	now := time.Now()
	s := Status{
		At: now.UTC(), Started: r.started.UTC(), Version: r.cfg.Version,
		Calls: []LiveCall{}, Checks: r.Ready(), Refusals: map[string]uint64{}, Peers: []Peer{},
	}
	s.Decisions = r.Decisions()
	r.mu.Lock()
	s.Warnings = maps.Clone(r.warnings)
	calls := slices.Collect(maps.Values(r.calls))
	server, since := r.server, r.draining
	r.mu.Unlock()
	if !since.IsZero() {
		s.Draining = &facts.Draining{Since: since.UTC(), Left: r.Recording()}
	}
	if server != nil {
		s.Listen, s.Refusals = server.Addrs(), server.Counters()
		r.peerFacts(&s, server, calls)
	}
	for _, k := range calls {
		if c, ok := k.live(now); ok {
			s.Alarms = append(s.Alarms, c.Alarms...)
			s.Calls = append(s.Calls, c)
		} else {
			s.Discarded++
		}
	}
	slices.SortFunc(s.Calls, func(a, b LiveCall) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	account.Store(&s, r.cfg.Store.Health())
	s.Audit = account.Audit(r.cfg.Store.AuditHealth())
	s.Load = r.guard.Facts(r.cfg.Media.Load())
	r.desk.Fill(&s, now)
	s.Judge()
	return s
}

// Decisions counts the calls since start by what was decided about them.
func (r *Recorder) Decisions() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.decisions)
}

// live is a recorded call as the status shows it; false for a session that is
// answered but not recorded.
func (k *call) live(now time.Time) (LiveCall, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rec == nil {
		return LiveCall{}, false
	}
	c := LiveCall{
		ID: k.rec.ID(), Line: k.decision.Line, Queue: k.decision.Queue, Since: k.start.UTC(),
		Peer: k.session.Peer().String(), Via: k.session.Transport(), Told: k.metadata.String(),
		Seconds: now.Sub(k.start).Seconds(), Stored: k.rec.Durable().Seconds(), Flags: slices.Clone(k.flags), Legs: []Leg{},
	}
	if k.media == nil {
		return c, true
	}
	for _, s := range k.media.Stats() {
		c.Legs = append(c.Legs, account.Leg(s, k.layout, k.start, now))
	}
	c.Alarms = assure.Alarms(&k.watch.alarm, c)
	return c, true
}

// Recording is how many calls are being recorded.
func (r *Recorder) Recording() (n int) {
	r.mu.Lock()
	calls := slices.Collect(maps.Values(r.calls))
	r.mu.Unlock()
	for _, k := range calls {
		k.mu.Lock()
		if k.rec != nil {
			n++
		}
		k.mu.Unlock()
	}
	return n
}

// Report pins a fault of the machine or its surroundings on the status, or
// takes it down with an empty text; see package faults.
func (r *Recorder) Report(name, text string) { r.desk.Board.Set(name, text) }
