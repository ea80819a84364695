package recorder

import (
	"slices"
	"time"

	"siprecd/recorder/kin"
	"siprecd/store"
)

// linkWithin is how far back other recordings of a call are looked for.
const linkWithin = 24 * time.Hour

// link finds the other recordings of the call by the keys that were not
// looked for yet. Both sides of a link learn of it while they are live; a
// finished recording is sealed, and is found by its key. The caller holds mu.
func (k *call) link() {
	for _, c := range k.id.Keys {
		if !kin.Means(c.Value) || slices.Contains(k.sought, c.Value) {
			continue
		}
		k.sought = append(k.sought, c.Value)
		q := store.Query{Key: c.Value, From: k.start.Add(-linkWithin), Limit: kin.MaxLinks}
		for row, err := range k.r.cfg.Store.List(k.r.ctx, q) {
			if err != nil {
				k.r.log.Warn("recordings of the same call could not be looked up", "recording", k.rec.ID(), "err", err)
				break
			}
			if row.ID != k.rec.ID() {
				k.r.kin.Join(k.rec.ID(), row, c.Source)
			}
		}
	}
}
