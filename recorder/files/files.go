// Package files watches how many descriptors the process may still open. A
// process without any cannot rotate its journal or begin a segment: live calls
// would be lost for the sake of a new one.
//
//	/proc/self/fd, counted four times a second at most ──┐
//	RLIMIT_NOFILE ───────────────────────────────────────┴► Err: is there room for one more call?
//
// Promises: a reserve is kept for the calls that are live. Caveat: where /proc
// is missing nothing is known, and nothing is judged.
package files

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
)

// reserve is what is kept for live calls: journal, catalogue, segments, and what
// a burst opens between two counts. A tight limit halves it rather than
// shutting everybody out.
const reserve = 128

// fresh is for how long a count is believed.
const fresh = 250 * time.Millisecond

// Watch counts. The zero value is ready; it is safe for parallel use.
type Watch struct {
	mu   sync.Mutex
	at   time.Time
	used int // -1: not known

	count func() int // of tests
	limit uint64
}

var errFew = errors.New("the process may open too few further files (RLIMIT_NOFILE)")

// Err says why no call should be taken; nil if there is room.
func (w *Watch) Err(now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count == nil {
		w.count, w.limit = open, limit()
	}
	if w.at.IsZero() || now.Sub(w.at) > fresh || now.Before(w.at) {
		w.at, w.used = now, w.count()
	}
	if w.used < 0 || w.limit == 0 || w.limit > 1<<30 {
		return nil
	}
	if keep := min(reserve, int(w.limit)/2); w.used > int(w.limit)-keep {
		return errFew
	}
	return nil
}

// open counts the descriptors that are in use; -1 when that is not known.
func open() int {
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return -1
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return -1
	}
	return len(names) - 1 // d itself
}

// limit is how many there may be; 0 when that is not known.
func limit() uint64 {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return uint64(l.Cur)
}
