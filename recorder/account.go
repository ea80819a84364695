package recorder

import (
	"siprecd/media"
	"siprecd/store"
)

// streamQuality is one stream's counters in the manifest.
type streamQuality struct {
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
	Stray       uint64 `json:"stray"` // of a second sender on the stream, not played
}

// quality is the media path's account of a call's streams.
func quality(streams []media.StreamStats, l media.Layout) []streamQuality {
	out := make([]streamQuality, 0, len(streams))
	for _, s := range streams {
		out = append(out, streamQuality{
			Stream: s.Name, Channel: channelName(l, s.Side), Packets: s.Packets, Lost: s.Lost,
			Late: s.Late, Duplicate: s.Duplicate, Reordered: s.Reordered, WrongSource: s.WrongSource,
			NotAgreed: s.NotAgreed, Malformed: s.Malformed, Events: s.Events, Overflow: s.Overflow, Stray: s.Stray,
		})
	}
	return out
}

// gaps is the media path's gap list in the manifest's terms.
func gaps(in []media.Gap, l media.Layout) []store.Gap {
	out := make([]store.Gap, 0, len(in))
	for _, g := range in {
		out = append(out, store.Gap{
			Channel: channelName(l, g.Side), From: g.From.Seconds(), To: g.To.Seconds(),
			Reason: g.Reason, Packets: g.Packets,
		})
	}
	return out
}
