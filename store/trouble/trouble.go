// Package trouble says a lasting trouble in the log without flooding it: once
// when it begins, once a minute while it lasts, once when it is over. Its text
// may change all the time, as one that names ever new files does.
package trouble

import (
	"log/slog"
	"time"
)

// every is how often a lasting trouble is said again.
const every = time.Minute

// Trouble is one thing that can go wrong for a while. The zero value is ready;
// it must not be used from two goroutines at once.
type Trouble struct {
	What string // said with the error while it lasts
	Over string // said when it is over

	since, said time.Time
}

// Tell takes the outcome of one more try; a nil err says that it worked.
func (t *Trouble) Tell(log *slog.Logger, err error) {
	now := time.Now()
	switch {
	case err == nil && t.since.IsZero():
	case err == nil:
		log.Info(t.Over, "after", now.Sub(t.since).Round(time.Second))
		t.since, t.said = time.Time{}, time.Time{}
	case t.since.IsZero():
		t.since, t.said = now, now
		log.Error(t.What, "err", err)
	case now.Sub(t.said) >= every:
		t.said = now
		log.Error(t.What, "err", err, "since", t.since.UTC().Truncate(time.Second))
	}
}
