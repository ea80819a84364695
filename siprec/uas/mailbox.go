package uas

import (
	"slices"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// item is one request of a dialog, waiting for its turn.
type item struct {
	req  *sip.Request
	tx   *sip.ServerTx // nil for an ACK
	cseq uint32
	at   time.Time
}

// mailbox puts the requests of one dialog back into the order of their CSeq.
// sipgo runs each request in a goroutine of its own, so they arrive in any
// order even from one TCP connection; UDP adds its own disorder. A request
// whose predecessor was seen on the wire waits for it; one with a gap before
// it waits no longer than holdBack, for gaps are legal (RFC 3261 12.2.2).
//
// put and announce may be called from any goroutine, the rest belongs to the
// dialog's.
type mailbox struct {
	holdBack time.Duration
	last     uint32        // highest CSeq given out
	wake     chan struct{} // holds a token when something was put

	mu   sync.Mutex
	held []item          // by CSeq, an ACK before others of its number
	seen map[uint32]bool // on the wire, not yet put
	shut bool
}

// onItsWay is how long a request is waited for that was seen on the wire. Only
// a machine in distress needs more than milliseconds; what never comes was
// dropped by the transaction layer.
const onItsWay = 5 * time.Second

// mailboxSize bounds what one dialog may have waiting.
const mailboxSize = 32

func newMailbox(first uint32, holdBack time.Duration) *mailbox {
	return &mailbox{holdBack: holdBack, last: first, wake: make(chan struct{}, 1), seen: make(map[uint32]bool)}
}

type putResult int

const (
	putOK putResult = iota
	putFull
	putShut
)

// announce notes that a request was seen on the wire. Copies of one that is
// here already are not: the transaction layer keeps them to itself.
func (m *mailbox) announce(cseq uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range m.held {
		if h.cseq == cseq && h.tx != nil {
			return
		}
	}
	if len(m.seen) < mailboxSize {
		m.seen[cseq] = true
	}
}

// put files an item. It refuses when the box is full or the dialog over.
func (m *mailbox) put(it item) putResult {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shut {
		return putShut
	}
	if it.tx != nil {
		delete(m.seen, it.cseq)
	}
	if len(m.held) >= mailboxSize {
		return putFull
	}
	at, _ := slices.BinarySearchFunc(m.held, it, func(a, b item) int {
		if a.cseq != b.cseq {
			return int(int64(a.cseq) - int64(b.cseq))
		}
		if b.tx == nil && a.tx != nil {
			return 1 // the ACK goes before
		}
		return -1 // among equals, the first come first
	})
	m.held = slices.Insert(m.held, at, it)
	m.signal()
	return putOK
}

func (m *mailbox) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// next returns the item whose turn it is. When there is none, wait says how
// long until the first one's patience ends; 0 when nothing is held.
func (m *mailbox) next(now time.Time) (it item, ok bool, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.held) == 0 {
		return item{}, false, 0
	}
	first := m.held[0]
	// The oldest of those held decides: it must not wait for ever because
	// others keep coming in before it.
	oldest := first.at
	for _, h := range m.held[1:] {
		if h.at.Before(oldest) {
			oldest = h.at
		}
	}
	wait = m.patience(first.cseq) - now.Sub(oldest)
	if first.tx != nil && first.cseq > m.last+1 && wait > 0 {
		return item{}, false, wait
	}
	m.held = slices.Delete(m.held, 0, 1)
	return first, true, 0
}

// patience is how long a request may be held.
func (m *mailbox) patience(cseq uint32) time.Duration {
	p := m.holdBack
	for n := range m.seen {
		switch {
		case n <= m.last:
			delete(m.seen, n)
		case n < cseq:
			p = onItsWay
		}
	}
	return p
}

// close refuses further items and returns those still held.
func (m *mailbox) close() []item {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shut = true
	rest := m.held
	m.held = nil
	return rest
}
