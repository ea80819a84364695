package store

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Health is the store's account of itself. Each figure is of the moment.
type Health struct {
	JournalAge   time.Duration // age of the oldest audio not yet durable; 0: none waits
	PendingBytes int           // audio waiting to become durable
	Missed       uint64        // packets of live recordings lost because the disk was away too long
	LastCommit   time.Duration // how long the last journal commit took
	LastError    error         // of the last journal commit or of the catalogue; nil: they worked
	Backlog      int           // segments and recordings waiting to be sealed
	StuckJobs    int           // of them, those that have failed again and again; none when all is well
	StuckError   error         // why one of them does not succeed; nil: none is stuck
	Live         int           // recordings not finished
	Finished     uint64        // recordings finished since start
	Recovered    int           // interrupted recordings finished by Open
	Recordings   int64         // stored, in all
	Bytes        int64         // of their segments
	DiskFree     uint64        // bytes that the recorder can still write
	DiskTotal    uint64
	DiskError    error // why the two are not known
}

// Health returns the store's state. It is cheap enough to be asked every
// second.
func (s *Store) Health() Health {
	var h Health
	if s.journal != nil {
		st := s.journal.Stats()
		if !st.Oldest.IsZero() {
			h.JournalAge = time.Since(st.Oldest)
		}
		h.PendingBytes, h.Missed, h.LastCommit, h.LastError = st.Pending, st.Missed, st.LastCommit, st.LastError
	}
	if s.pool != nil {
		h.Backlog = s.pool.Backlog()
		h.StuckJobs, h.StuckError = s.pool.Stuck()
	}
	if s.catalog != nil {
		h.LastError = errors.Join(h.LastError, s.catalog.Failed())
		if t, err := s.catalog.Totals(); err == nil {
			h.Recordings, h.Bytes = t.Recordings, t.Bytes
		}
	}
	s.mu.Lock()
	h.Live, h.Finished, h.Recovered = len(s.live), s.counts.finished, int(s.counts.recovered)
	s.mu.Unlock()
	var fs unix.Statfs_t
	if h.DiskError = unix.Statfs(s.options.Dir, &fs); h.DiskError == nil {
		h.DiskFree = uint64(fs.Bavail) * uint64(fs.Bsize)
		h.DiskTotal = uint64(fs.Blocks) * uint64(fs.Bsize)
	}
	return h
}
