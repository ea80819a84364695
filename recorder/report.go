package recorder

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
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
		Calls: []LiveCall{}, Checks: r.Ready(), Refusals: map[string]uint64{},
	}
	r.mu.Lock()
	s.Decisions = maps.Clone(r.decisions)
	calls := slices.Collect(maps.Values(r.calls))
	server := r.server
	r.mu.Unlock()
	if server != nil {
		s.Listen, s.Refusals = server.Addrs(), server.Counters()
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
	s.judge()
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
		Seconds: now.Sub(k.start).Seconds(), Flags: slices.Clone(k.flags), Legs: []Leg{},
	}
	if k.media == nil {
		return c, true
	}
	for _, s := range k.media.Stats() {
		last := s.LastPacket
		if last.IsZero() {
			last = k.start
		}
		c.Legs = append(c.Legs, Leg{
			Label: s.Name, Channel: k.channel(s.Side), Port: s.Port, Packets: s.Packets, Lost: s.Lost,
			Late: s.Late, Duplicate: s.Duplicate, WrongSource: s.WrongSource, NotAgreed: s.NotAgreed, Stray: s.Stray,
			LevelDB: s.Level, SilentSeconds: s.Silent.Seconds(), Hold: s.Hold,
			NoMedia: !s.Hold && now.Sub(last) > noMediaAfter,
		})
	}
	return c, true
}

// judge turns the facts into problems and one sentence.
func (s *Status) judge() {
	for _, c := range s.Checks {
		if !c.OK {
			s.Problems = append(s.Problems, "New calls are refused: "+c.Error+".")
		}
	}
	for _, c := range s.Calls {
		for _, l := range c.Legs {
			if l.NoMedia {
				s.Problems = append(s.Problems, fmt.Sprintf("No media on the %s channel of a call on %s (recording %s).",
					l.Channel, lineName(c.Line), c.ID))
			}
		}
	}
	if s.Journal.Missed > 0 {
		s.Problems = append(s.Problems, "Audio of live calls is lost: the disk has been away for too long.")
	}
	s.OK = len(s.Problems) == 0
	switch {
	case !s.OK:
		s.Sentence = "Not everything that should be recorded is being recorded: " + strings.TrimSuffix(s.Problems[0], ".") + more(len(s.Problems)) + "."
	case len(s.Calls) == 0:
		s.Sentence = "Ready: everything that should be recorded will be; no call is live."
	default:
		s.Sentence = fmt.Sprintf("Everything that should be recorded is being recorded: %s.", count(len(s.Calls), "call"))
	}
}

// more says how many problems follow the first.
func more(problems int) string {
	if problems < 2 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", problems-1)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what + " live"
	}
	return fmt.Sprintf("%d %ss live", n, what)
}

func lineName(line string) string {
	if line == "" {
		return "an unidentified line"
	}
	return line
}
