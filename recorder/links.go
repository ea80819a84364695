package recorder

import (
	"slices"
	"time"

	"siprecd/recorder/kin"
	"siprecd/store"
)

// How far back other recordings of a call are looked for, and how short a key
// may be to mean anything.
const (
	linkWithin = 24 * time.Hour
	minKey     = 6
)

// keys are the call's correlation keys that are long enough to be its own.
func (k *call) keys() []string {
	var out []string
	for _, c := range k.id.Keys {
		if len(c.Value) >= minKey {
			out = append(out, c.Value)
		}
	}
	return out
}

// link finds the other recordings of the call by the keys that were not
// looked for yet. Both sides of a link learn of it while they are live; a
// finished recording is sealed, and is found by its key. The caller holds mu.
func (k *call) link() {
	for _, c := range k.id.Keys {
		if len(c.Value) < minKey || slices.Contains(k.sought, c.Value) {
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
