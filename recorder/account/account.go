// Package account renders what the media path counted in the words of a
// recording's manifest. It is pure.
package account

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"siprecd/media"
	"siprecd/siprec"
	"siprecd/store"
)

// Stream is one stream's counters in the manifest.
type Stream struct {
	Stream      string `json:"stream"`
	Channel     string `json:"channel"`
	Packets     uint64 `json:"packets"`
	Lost        uint64 `json:"lost"`
	Late        uint64 `json:"late"`
	Duplicate   uint64 `json:"duplicate"`
	Reordered   uint64 `json:"reordered"`
	WrongSource uint64 `json:"wrong_source"`
	NotAgreed   uint64 `json:"not_agreed"`
	Malformed   uint64 `json:"malformed"`
	Events      uint64 `json:"events"`
	Overflow    uint64 `json:"overflow"`
	Stray       uint64 `json:"stray"`              // of a second sender on the stream, not played
	Security    string `json:"security,omitempty"` // SRTP suite; "dtls" if its handshake came to nothing
	AuthFailed  uint64 `json:"auth_failed,omitempty"`
	Replays     uint64 `json:"replays,omitempty"`

	Alarms []Alarm `json:"alarms,omitempty"` // when it was at fault
}

// Alarm is a stretch of a stream in which it was at fault, in seconds since
// the call's start; see package alarm for the kinds.
type Alarm struct {
	Kind string  `json:"kind"`
	From float64 `json:"from"`
	To   float64 `json:"to"`
}

// Quality is the media path's account of a call's streams.
func Quality(streams []media.StreamStats, l media.Layout) []Stream {
	out := make([]Stream, 0, len(streams))
	for _, s := range streams {
		out = append(out, Stream{
			Stream: s.Name, Channel: Channel(l, s.Side), Packets: s.Packets, Lost: s.Lost,
			Late: s.Late, Duplicate: s.Duplicate, Reordered: s.Reordered, WrongSource: s.WrongSource,
			NotAgreed: s.NotAgreed, Malformed: s.Malformed, Events: s.Events, Overflow: s.Overflow, Stray: s.Stray,
			Security: cmp.Or(s.Security.Suite, s.Security.Method), AuthFailed: s.Security.Failed, Replays: s.Security.Replays,
		})
	}
	return out
}

// Gaps is the media path's gap list in the manifest's terms.
func Gaps(in []media.Gap, l media.Layout) []store.Gap {
	out := make([]store.Gap, 0, len(in))
	for _, g := range in {
		out = append(out, store.Gap{
			Channel: Channel(l, g.Side), From: g.From.Seconds(), To: g.To.Seconds(),
			Reason: g.Reason, Packets: g.Packets,
		})
	}
	return out
}

// Channel names the channel that a side is heard in.
func Channel(l media.Layout, s media.Side) string {
	switch {
	case l == media.Mono:
		return "mixed"
	case s == media.Left:
		return "left"
	}
	return "right"
}

// Client is who a session's TLS connection came from; nil without TLS.
func Client(c siprec.Client) *store.Client {
	if c.Version == "" {
		return nil
	}
	return &store.Client{TLS: c.Version, Subject: c.Subject, Names: slices.Clone(c.Names), Expires: c.Expires, Fingerprint: c.Fingerprint}
}

// Digits are the keys pressed, as lines of a history; start is that of the call.
func Digits(list []media.Digit, start time.Time) (lines []store.Event) {
	for _, d := range list {
		lines = append(lines, store.Event{
			At: start.Add(d.At).UTC(), Kind: "dtmf", Text: fmt.Sprintf("%s pressed %c", d.Stream, d.Key),
		})
	}
	return lines
}
