package recorder

import (
	"fmt"
	"slices"

	"siprecd/media"
	"siprecd/store"
)

// assumed flags a recording of which a client sent a payload type that was not
// agreed, but means one codec everywhere. The caller holds mu.
func (k *call) assumed(streams []media.StreamStats) {
	if slices.ContainsFunc(streams, func(s media.StreamStats) bool { return s.Assumed > 0 }) {
		k.flag("codec not agreed")
	}
}

// digits enters the keys pressed in the history, where the line's policy keeps
// them. The caller holds mu.
func (k *call) digits(list []media.Digit) {
	for _, d := range list {
		k.history = append(k.history, store.Event{
			At: k.start.Add(d.At).UTC(), Kind: "dtmf", Text: fmt.Sprintf("%s pressed %c", d.Stream, d.Key),
		})
	}
	slices.SortStableFunc(k.history, func(a, b store.Event) int { return a.At.Compare(b.At) })
}
