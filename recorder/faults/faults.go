// Package faults is the board on which parts of the program pin what is wrong
// with the machine or its surroundings although calls are recorded: a
// certificate that expires, a clock that was stepped, a client that fell silent.
//
//	whoever notices ──Set(name, text)──► Board ──List──► /status, /metrics
//	                  Set(name, "") takes it down    └──► one log line up, one down
//
// Promises: a fault has one name and stays since its first Set; its text may
// change. Texts hold no personal data: they are shown without a log-in.
package faults

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"time"

	"siprecd/recorder/facts"
)

// Board holds the faults of this moment. It is safe for parallel use.
type Board struct {
	log *slog.Logger

	mu sync.Mutex
	up map[string]facts.Fault
}

// New makes an empty board.
func New(log *slog.Logger) *Board {
	return &Board{log: log, up: map[string]facts.Fault{}}
}

// Set pins a fault, or changes its text; "" takes it down. name is a constant
// of the code, text a sentence without its full stop.
func (b *Board) Set(name, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, was := b.up[name]
	switch {
	case text == "" && was:
		delete(b.up, name)
		b.log.Info("fault is over", "fault", name, "seconds", time.Since(f.Since).Round(time.Second).Seconds())
	case text != "" && !was:
		b.up[name] = facts.Fault{Name: name, Text: text, Since: time.Now()}
		b.log.Warn("fault", "fault", name, "what", text)
	case text != "":
		f.Text = text
		b.up[name] = f
	}
}

// List are the faults of this moment, oldest first.
func (b *Board) List() []facts.Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]facts.Fault, 0, len(b.up))
	for _, f := range b.up {
		f.Since = f.Since.UTC()
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b facts.Fault) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Name, b.Name))
	})
	return out
}
