package recall

import (
	"fmt"
	"time"

	"siprecd/media"
	"siprecd/recorder/account"
	"siprecd/siprec/trace"
)

// Events are what the media path knows of a call that began at start: the first
// packet of each stream, and where there was none.
func Events(streams []media.StreamStats, gaps []media.Gap, start time.Time, l media.Layout) []trace.Event {
	var out []trace.Event
	for _, s := range streams {
		if !s.FirstPacket.IsZero() {
			out = append(out, trace.Event{At: s.FirstPacket.UTC(), Kind: "media",
				Text: fmt.Sprintf("first packet of %s, %s, on port %d", s.Name, account.Channel(l, s.Side), s.Port)})
		}
	}
	for _, g := range gaps {
		text := fmt.Sprintf("%s, %s, %.2f s: %s", g.Stream, account.Channel(l, g.Side), (g.To - g.From).Seconds(), g.Reason)
		if g.Packets > 0 {
			text += fmt.Sprintf(", %d packets", g.Packets)
		}
		out = append(out, trace.Event{At: start.Add(g.From).UTC(), Kind: "gap", Text: text})
	}
	return out
}
