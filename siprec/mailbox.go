package siprec

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
// whose predecessor has not come waits for it, but not longer than holdBack:
// gaps are legal (RFC 3261 12.2.2).
//
// put may be called from any goroutine, the rest belongs to the dialog's.
type mailbox struct {
	holdBack time.Duration
	last     uint32        // highest CSeq given out
	wake     chan struct{} // holds a token when something was put

	mu   sync.Mutex
	held []item // by CSeq, an ACK before others of its number
	shut bool
}

// mailboxSize bounds what one dialog may have waiting.
const mailboxSize = 32

func newMailbox(first uint32, holdBack time.Duration) *mailbox {
	return &mailbox{holdBack: holdBack, last: first, wake: make(chan struct{}, 1)}
}

type putResult int

const (
	putOK putResult = iota
	putFull
	putShut
)

// put files an item. It refuses when the box is full or the dialog over.
func (m *mailbox) put(it item) putResult {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shut {
		return putShut
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
	wait = m.holdBack - now.Sub(oldest)
	if first.tx != nil && first.cseq > m.last+1 && wait > 0 {
		return item{}, false, wait
	}
	m.held = slices.Delete(m.held, 0, 1)
	return first, true, 0
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
