package transport

import (
	"context"
	"log/slog"
	"regexp"
	"sync"
	"time"
)

// Quiet wraps the log handler given to a SIP stack: of its attributes only
// those that cannot hold a message stay, long digit strings are masked, no
// line is louder than a warning, and the same line comes at most once in every
// interval, with the number of those left out.
func Quiet(next slog.Handler, every time.Duration) slog.Handler {
	return &quiet{next: next, state: &quietState{every: every, last: make(map[string]*seen)}}
}

type quiet struct {
	next  slog.Handler
	state *quietState
}

type seen struct {
	at     time.Time
	hidden int
}

type quietState struct {
	every time.Duration
	mu    sync.Mutex
	last  map[string]*seen
}

var personal = regexp.MustCompile(`\+?[0-9]{6,}|[^\s"'<]+@`)

// Mask takes from a text of the SIP stack's what may name a person: long digit
// strings and the user part of addresses.
func Mask(s string) string { return personal.ReplaceAllString(s, "…") }

func (q *quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo && q.next.Enabled(ctx, min(l, slog.LevelWarn))
}

func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	hidden, ok := q.state.pass(r.Message, r.Time)
	if !ok {
		return nil
	}
	out := slog.NewRecord(r.Time, min(r.Level, slog.LevelWarn), Mask(r.Message), 0)
	r.Attrs(func(a slog.Attr) bool {
		if a, ok := harmless(a); ok {
			out.AddAttrs(a)
		}
		return true
	})
	if hidden > 0 {
		out.AddAttrs(slog.Int("left_out", hidden))
	}
	return q.next.Handle(ctx, out)
}

// pass reports whether a message may be logged now, and how many were not
// since the last one. The table is bounded: the messages are constants of the
// SIP stack, but that is not ours to promise.
func (s *quietState) pass(msg string, now time.Time) (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.last[msg]
	if e == nil {
		if len(s.last) >= 256 {
			clear(s.last)
		}
		s.last[msg] = &seen{at: now}
		return 0, true
	}
	if now.Sub(e.at) < s.every {
		e.hidden++
		return 0, false
	}
	n := e.hidden
	e.at, e.hidden = now, 0
	return n, true
}

func harmless(a slog.Attr) (slog.Attr, bool) {
	switch a.Key {
	case "caller", "network", "laddr", "raddr":
		return a, true
	case "error", "reason":
		text := a.Value.String()
		if len(text) > 200 {
			text = text[:200]
		}
		return slog.String(a.Key, Mask(text)), true
	}
	return slog.Attr{}, false
}

func (q *quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	kept := make([]slog.Attr, 0, len(attrs))
	for _, a := range attrs {
		if a, ok := harmless(a); ok {
			kept = append(kept, a)
		}
	}
	return &quiet{next: q.next.WithAttrs(kept), state: q.state}
}

func (q *quiet) WithGroup(name string) slog.Handler {
	return &quiet{next: q.next.WithGroup(name), state: q.state}
}
