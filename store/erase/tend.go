package erase

import (
	"context"
	"time"

	"siprecd/store/trouble"
)

// tendEvery is how often Tend looks.
const tendEvery = time.Second

// Tend finishes erasures that were begun, at once, and compacts the databases
// some time after recordings were discarded: at most every minute, and so
// seldom that compacting takes one part in fifty of the time. It returns when
// ctx ends; what it was at then is begun anew by the next start.
func (e *Eraser) Tend(ctx context.Context) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	trial := trouble.Trouble{What: "an erasure cannot be finished; will be tried again", Over: "erasures are finished again"}
	next := time.Now().Add(e.Every)
	for {
		if err := e.goOn(ctx); ctx.Err() == nil {
			trial.Tell(e.Log, err)
		}
		if now := time.Now(); now.After(next) && e.Catalog.Unclean() {
			e.compact(ctx)
			next = time.Now().Add(max(e.Every, 50*time.Since(now)))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// goOn finishes what is under way.
func (e *Eraser) goOn(ctx context.Context) error {
	e.busy.Lock()
	defer e.busy.Unlock()
	return e.resume(ctx)
}

func (e *Eraser) compact(ctx context.Context) {
	e.busy.Lock()
	defer e.busy.Unlock()
	if err := e.Catalog.Compact(ctx); err != nil && ctx.Err() == nil {
		e.Log.Warn("what was discarded is not compacted away yet; will be tried again", "err", err)
	}
}
