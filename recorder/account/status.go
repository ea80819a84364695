package account

import (
	"cmp"
	"slices"
	"time"

	"siprecd/media"
	"siprecd/recorder/facts"
	"siprecd/siprec"
	"siprecd/store"
)

// noMediaAfter is how long a stream may be without a packet before the status
// says so of it.
const noMediaAfter = 10 * time.Second

// Leg is one stream of a live call, as the status shows it. start is when its
// call began.
func Leg(s media.StreamStats, l media.Layout, start, now time.Time) facts.Leg {
	last, age := s.LastPacket, now.Sub(s.LastPacket).Seconds()
	if last.IsZero() {
		last, age = start, -1
	}
	return facts.Leg{
		Label: s.Name, Channel: Channel(l, s.Side), Port: s.Port, Packets: s.Packets, Lost: s.Lost, LastPacketAge: age,
		Late: s.Late, Duplicate: s.Duplicate, WrongSource: s.WrongSource, NotAgreed: s.NotAgreed, Stray: s.Stray,
		LevelDB: s.Level, SilentSeconds: s.Silent.Seconds(), Hold: s.Hold,
		NoMedia:  !s.Hold && now.Sub(last) > noMediaAfter,
		Security: cmp.Or(s.Security.Suite, s.Security.Method), AuthFailed: s.Security.Failed,
		Replays: s.Security.Replays, Blocked: s.Security.Blocked,
	}
}

// Peer is one recording client, as the status shows it.
func Peer(p siprec.Peer, live int, options []string) facts.Peer {
	row := facts.Peer{
		Address: p.Addr.String(), Transport: p.Network, LastOptions: p.LastOptions.UTC(), LastInvite: p.LastInvite.UTC(),
		Live: live, Calls: p.Calls, Refusals: p.Refusals, Options: options,
	}
	if !p.Refused.At.IsZero() {
		row.Refused = &facts.Refused{At: p.Refused.At.UTC(), Method: p.Refused.Method, Code: p.Refused.Code, Reason: p.Refused.Reason}
	}
	if c := p.TLS; c != nil {
		row.TLS = &facts.PeerTLS{Version: c.Version, Subject: c.Subject, Names: slices.Clone(c.Names), Expires: c.Expires, Fingerprint: c.Fingerprint}
	}
	return row
}

// Strangers are those who are not let in, as the status shows them.
func Strangers(s siprec.Strangers) facts.Strangers {
	out := facts.Strangers{Count: s.Count}
	if s.Count > 0 {
		out.Last, out.At = s.Last.String(), s.At.UTC()
	}
	return out
}

// Store puts the store's health into a status.
func Store(s *facts.Status, h store.Health) {
	s.Recordings = facts.Totals{Live: h.Live, Finished: h.Finished, Interrupted: uint64(h.Recovered), Stored: uint64(h.Recordings)}
	s.Journal = facts.Journal{
		AgeSeconds: h.JournalAge.Seconds(), PendingBytes: int64(h.PendingBytes),
		CommitMS: float64(h.LastCommit.Microseconds()) / 1000, Missed: h.Missed,
	}
	if h.LastError != nil {
		s.Journal.Error = h.LastError.Error()
	}
	s.Disk = facts.Disk{FreeBytes: h.DiskFree, TotalBytes: h.DiskTotal}
}
