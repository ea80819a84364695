package app

import (
	"context"
	"strings"
	"time"

	"siprecd/store"
	"siprecd/store/audit"
	"siprecd/store/policy"
)

// refusals books, each second, how many calls were refused or answered without
// being recorded, by reason. What a crash leaves unbooked is less than that
// second's.
func (a *App) refusals(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	before := a.refused()
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-tick.C:
		}
		now := a.refused()
		for reason, n := range now {
			if n > before[reason] {
				a.store.Note(store.AuditEvent{Kind: audit.Refused, Result: reason, Count: int64(n - before[reason])})
			}
		}
		before = now
	}
	return nil
}

// refused counts since start, in words that fit the audit log.
func (a *App) refused() map[string]uint64 {
	out := map[string]uint64{}
	for reason, n := range a.rec.Decisions() {
		if reason != policy.Listed && reason != "unidentified" {
			out["call not recorded, "+plain(reason)] += n
		}
	}
	for reason, n := range a.sip.Counters() {
		out["sip, "+plain(reason)] += n
	}
	return out
}

// plain is a reason in the letters that the audit log takes.
func plain(reason string) string {
	word := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r == ' ', r == '-':
			return r
		case r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, strings.ToLower(reason))
	return word[:min(len(word), 40)]
}
