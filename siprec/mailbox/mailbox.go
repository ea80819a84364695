// Package mailbox puts the requests of one SIP dialog back into the order of
// their CSeq.
//
//	Announce (seen on the wire) ─┐
//	Put (any goroutine) ─────────┴► held, by CSeq ──Next──► the dialog's goroutine
//
// The SIP stack runs each request in a goroutine of its own, so they arrive in
// any order even from one TCP connection; UDP adds its own disorder. A request
// whose predecessor was seen on the wire waits for it; one with a gap before
// it waits no longer than a moment, for gaps are legal (RFC 3261 12.2.2).
//
// Caveats: what was announced and never comes delays what follows by five
// seconds. No more than Size requests wait at a time.
package mailbox

import (
	"slices"
	"sync"
	"time"
)

// Item is what a Box orders.
type Item interface {
	// Place is the item's CSeq, whether it is an ACK, and when it came. An
	// ACK goes before others of its number, and never waits.
	Place() (cseq uint32, ack bool, at time.Time)
}

// Box holds the requests of one dialog that wait for their turn. Put,
// Announce and Poke may be called from any goroutine, the rest belongs to the
// dialog's.
type Box[T Item] struct {
	Last uint32        // highest CSeq given out; the dialog's goroutine keeps it
	Wake chan struct{} // holds a token when there is something to do

	holdBack time.Duration

	mu   sync.Mutex
	held []T             // by CSeq, an ACK before others of its number
	seen map[uint32]bool // on the wire, not yet put
	shut bool
}

// onItsWay is how long a request is waited for that was seen on the wire. Only
// a machine in distress needs more than milliseconds; what never comes was
// dropped by the transaction layer.
const onItsWay = 5 * time.Second

// Size bounds what one dialog may have waiting.
const Size = 32

// New returns a Box for a dialog whose first request has that CSeq. holdBack
// is how long a request waits for one with a lower number.
func New[T Item](first uint32, holdBack time.Duration) *Box[T] {
	return &Box[T]{holdBack: holdBack, Last: first, Wake: make(chan struct{}, 1), seen: make(map[uint32]bool)}
}

// Result is what became of a Put.
type Result int

// Taken, too many waiting, or the dialog is over.
const (
	OK Result = iota
	Full
	Shut
)

// Announce notes that a request was seen on the wire. Copies of one that is
// here already are not: the transaction layer keeps them to itself.
func (m *Box[T]) Announce(cseq uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range m.held {
		if n, ack, _ := h.Place(); n == cseq && !ack {
			return
		}
	}
	if len(m.seen) < Size {
		m.seen[cseq] = true
	}
}

// Put files an item. It refuses when the box is full or the dialog over.
func (m *Box[T]) Put(it T) Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shut {
		return Shut
	}
	cseq, ack, _ := it.Place()
	if !ack {
		delete(m.seen, cseq)
	}
	if len(m.held) >= Size {
		return Full
	}
	at, _ := slices.BinarySearchFunc(m.held, it, func(a, b T) int {
		an, aAck, _ := a.Place()
		bn, bAck, _ := b.Place()
		if an != bn {
			return int(int64(an) - int64(bn))
		}
		if bAck && !aAck {
			return 1 // the ACK goes before
		}
		return -1 // among equals, the first come first
	})
	m.held = slices.Insert(m.held, at, it)
	m.Poke()
	return OK
}

// Poke wakes the dialog's goroutine.
func (m *Box[T]) Poke() {
	select {
	case m.Wake <- struct{}{}:
	default:
	}
}

// Next returns the item whose turn it is. When there is none, wait says how
// long until the first one's patience ends; 0 when nothing is held.
func (m *Box[T]) Next(now time.Time) (it T, ok bool, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.held) == 0 {
		return it, false, 0
	}
	first := m.held[0]
	// The oldest of those held decides: it must not wait for ever because
	// others keep coming in before it.
	cseq, ack, oldest := first.Place()
	for _, h := range m.held[1:] {
		if _, _, at := h.Place(); at.Before(oldest) {
			oldest = at
		}
	}
	wait = m.patience(cseq) - now.Sub(oldest)
	if !ack && cseq > m.Last+1 && wait > 0 {
		return it, false, wait
	}
	m.held = slices.Delete(m.held, 0, 1)
	return first, true, 0
}

// patience is how long a request may be held.
func (m *Box[T]) patience(cseq uint32) time.Duration {
	p := m.holdBack
	for n := range m.seen {
		switch {
		case n <= m.Last:
			delete(m.seen, n)
		case n < cseq:
			p = onItsWay
		}
	}
	return p
}

// Close refuses further items and returns those still held.
func (m *Box[T]) Close() []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shut = true
	rest := m.held
	m.held = nil
	return rest
}
