package recorder

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// noMediaAfter is how long a leg may be without a packet before that is a
// problem; silentAfter how long it may be silent before it is told.
const noMediaAfter = 10 * time.Second

// Status gathers the facts of this moment.
func (r *Recorder) Status() Status {
	now := time.Now()
	s := Status{
		At: now.UTC(), Started: r.started.UTC(), Version: r.cfg.Version,
		Calls: []LiveCall{}, Checks: r.Ready(), Refusals: map[string]uint64{}, Peers: []Peer{},
	}
	r.mu.Lock()
	s.Decisions, s.Warnings = maps.Clone(r.decisions), maps.Clone(r.warnings)
	calls := slices.Collect(maps.Values(r.calls))
	server := r.server
	r.mu.Unlock()
	if server != nil {
		s.Listen, s.Refusals = server.Addrs(), server.Counters()
		r.peerFacts(&s, server, calls)
	}
	for _, k := range calls {
		if c, ok := k.live(now); ok {
			s.Calls = append(s.Calls, c)
		} else {
			s.Discarded++
		}
	}
	slices.SortFunc(s.Calls, func(a, b LiveCall) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	r.storeFacts(&s)
	s.Judge()
	return s
}

// storeFacts copies the store's health into a status.
func (r *Recorder) storeFacts(s *Status) {
	h := r.cfg.Store.Health()
	s.Recordings = Totals{Live: h.Live, Finished: h.Finished, Interrupted: uint64(h.Recovered), Stored: uint64(h.Recordings)}
	s.Journal = Journal{
		AgeSeconds: h.JournalAge.Seconds(), PendingBytes: int64(h.PendingBytes),
		CommitMS: float64(h.LastCommit.Microseconds()) / 1000, Missed: h.Missed,
	}
	if h.LastError != nil {
		s.Journal.Error = h.LastError.Error()
	}
	s.Disk = Disk{FreeBytes: h.DiskFree, TotalBytes: h.DiskTotal}
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
		Seconds: now.Sub(k.start).Seconds(), Flags: slices.Clone(k.flags), Legs: []Leg{},
	}
	if k.media == nil {
		return c, true
	}
	for _, s := range k.media.Stats() {
		last, age := s.LastPacket, now.Sub(s.LastPacket).Seconds()
		if last.IsZero() {
			last, age = k.start, -1
		}
		c.Legs = append(c.Legs, Leg{
			Label: s.Name, Channel: k.channel(s.Side), Port: s.Port, Packets: s.Packets, Lost: s.Lost, LastPacketAge: age,
			Late: s.Late, Duplicate: s.Duplicate, WrongSource: s.WrongSource, NotAgreed: s.NotAgreed, Stray: s.Stray,
			LevelDB: s.Level, SilentSeconds: s.Silent.Seconds(), Hold: s.Hold,
			NoMedia:  !s.Hold && now.Sub(last) > noMediaAfter,
			Security: cmp.Or(s.Security.Suite, s.Security.Method), AuthFailed: s.Security.Failed,
			Replays: s.Security.Replays, Blocked: s.Security.Blocked,
		})
	}
	return c, true
}
