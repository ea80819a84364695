// Package journal keeps the open segments of all live recordings: Opus packets
// in, durable sealed frames out, read back by segment.
//
//	Stream.Write ──► chunk (memory) ─┐
//	Stream.Write ──► chunk (memory) ─┼─ a tick later: one bbolt commit ► journal-7.db
//	Stream.Write ──► chunk (memory) ─┘                                  journal-6.db …
//	                                                                        │
//	Read(segment) ◄── index in memory: segment → (file, tick, offset) ◄─────┘
//
// A segment is always sealed from what Read gives, at the cut as after a crash:
// the live path is the recovery path.
//
// Format. Each file (a generation) has bucket "meta" with the salt of its key,
// and one bucket per commit, named by a big-endian tick number, with one value
// "f": entries one after the other. A bucket per tick keeps bbolt from
// rewriting neighbours, so a commit writes little more than its audio.
//
//	entry  = id(16) seq(4) first(4) length(4) sealed(length)   big-endian
//	sealed = seal.Box(generation's key) of { uvarint(len) packet }...,
//	         bound to id, seq and first; first is the call's packet number
//
// Segment k > 0 begins with copies of the PreRoll packets before it, so that
// each segment's frames are complete in themselves.
//
// Promises: Write copies and never waits for the disk. What Flush or Cut
// reported is on disk. A generation that failed a write or a sync is never
// written again; what it had not acknowledged goes into the next one. Packets
// wait in memory at most MaxWait packets a stream; beyond that they are
// counted as a gap. A generation is deleted once every segment in it is
// released, and with it the salt that its key is made from. A file is written
// for 60 s and a segment is released when it is whole, so the frames of a
// segment are gone within two minutes (60 s of the file and one segment) of
// its being sealed while other calls keep the file alive, else within a second
// or two.
//
// The file "generations" lists the files that must be there, so that a missing
// one is found: see ListFile.
package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"siprecd/store/seal"
	"siprecd/store/trouble"
)

// PreRoll is how many packets of the segment before are repeated: 80 ms, what
// a decoder needs to converge (RFC 7845 section 4.6).
const PreRoll = 4

// MaxWait is how many packets of one stream may wait for the disk: 60 s.
const MaxWait = 3000

// Segment names one segment of one recording.
type Segment struct {
	ID  [16]byte
	Seq uint32
}

// Options configure a Journal.
type Options struct {
	Dir        string        // folder of the generations; exists
	Host       *seal.Host    //
	Tick       time.Duration // from the first packet that waits to the commit of all that do
	Generation time.Duration // how long one file is written; 0: 60 s
	Logger     *slog.Logger
	Cut        func(Segment) // a segment is whole and durable; must not block; nil: not wanted
}

// Journal is the open journal. All methods may be used from several goroutines.
type Journal struct {
	options Options
	log     *slog.Logger

	wake    chan struct{} // something waits
	stirred atomic.Bool   // and that has been said since the latest commit began
	flush   chan flushing
	purge   chan purging
	stop    chan struct{}
	done    chan struct{}

	mu      sync.Mutex // guards what follows
	streams map[*Stream]struct{}
	index   map[Segment][]ref
	files   []*generation // oldest first; the last one may be current
	stats   Stats

	reading sync.RWMutex // held by Read, written when a generation is deleted

	// Owned by the commit goroutine.
	current  *generation
	inflight []*chunk // taken from streams, not yet acknowledged
	waiting  []flushing
	tick     uint64
	number   int
	box      *seal.Box // of the list
	listed   []int     // what the list says; nil: not known
	trial    trouble.Trouble
}

type flushing struct{ done chan struct{} }

// ref says where an entry's sealed bytes are.
type ref struct {
	gen    *generation
	tick   uint64
	offset uint32
	length uint32
	first  uint32
}

// Stats is the journal's state of health.
type Stats struct {
	Oldest      time.Time     // when the oldest packet not yet durable came; zero: none waits
	Pending     int           // bytes waiting
	Missed      uint64        // packets of live streams left out because too many waited
	LastCommit  time.Duration // how long the last commit took
	LastError   error         // of the last commit; nil once one succeeded again
	Commits     uint64
	Generations int
	Bytes       int64 // written since start
}

// Open opens the journal and reads what former runs left behind: see Segments.
func Open(o Options) (*Journal, error) {
	if o.Generation <= 0 {
		o.Generation = time.Minute
	}
	j := &Journal{
		options: o,
		log:     o.Logger.With("component", "journal"),
		wake:    make(chan struct{}, 1),
		flush:   make(chan flushing),
		purge:   make(chan purging),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
		streams: map[*Stream]struct{}{},
		index:   map[Segment][]ref{},
		trial:   trouble.Trouble{What: "journal commits fail; packets wait in memory", Over: "journal commits again"},
	}
	err := j.load()
	if err == nil {
		err = j.compare()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open journal: %w", err), closeAll(j.files))
	}
	go j.run()
	return j, nil
}

// Segments lists the segments that have frames in the journal.
func (j *Journal) Segments() []Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := make([]Segment, 0, len(j.index))
	for s := range j.index {
		list = append(list, s)
	}
	return list
}

// Flush returns once everything written before the call is durable. It waits
// through failed commits until ctx ends.
func (j *Journal) Flush(ctx context.Context) error {
	if err := j.flushUntil(ctx.Done()); err != nil {
		return fmt.Errorf("flush journal: %w", errors.Join(ctx.Err(), err))
	}
	return nil
}

// FlushWithin is Flush with a limit of its own; it gives up when stop is closed.
func (j *Journal) FlushWithin(limit time.Duration, stop <-chan struct{}) error {
	enough, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(enough)
		t := time.NewTimer(limit)
		defer t.Stop()
		select {
		case <-t.C:
		case <-stop:
		case <-done:
		}
	}()
	err := j.flushUntil(enough)
	close(done)
	<-enough
	if err != nil {
		return fmt.Errorf("flush journal: %w", err)
	}
	return nil
}

func (j *Journal) flushUntil(enough <-chan struct{}) error {
	f := flushing{make(chan struct{})}
	select {
	case j.flush <- f:
	case <-j.done:
		return errors.New("closed")
	case <-enough:
		return errors.New("the disk does not take it in time")
	}
	select {
	case <-f.done:
		return nil
	case <-j.done:
		return errors.New("closed")
	case <-enough:
		return errors.New("the disk does not take it in time")
	}
}

// Release forgets segments: they are sealed, or not wanted.
func (j *Journal) Release(segments ...Segment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range segments {
		delete(j.index, s)
		for _, g := range j.files {
			delete(g.open, s)
		}
	}
}

// Forget releases all segments of a recording.
func (j *Journal) Forget(id [16]byte) {
	var all []Segment
	for _, s := range j.Segments() {
		if s.ID == id {
			all = append(all, s)
		}
	}
	j.Release(all...)
}

// Err is the last commit's error; nil once one succeeded again.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stats.LastError
}

// Stats returns the journal's state of health.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	st := j.stats
	st.Generations = len(j.files)
	streams := make([]*Stream, 0, len(j.streams))
	for s := range j.streams {
		streams = append(streams, s)
	}
	j.mu.Unlock()
	for _, s := range streams {
		bytes, missed, oldest := s.pending()
		st.Pending += bytes
		st.Missed += missed
		if !oldest.IsZero() && (st.Oldest.IsZero() || oldest.Before(st.Oldest)) {
			st.Oldest = oldest
		}
	}
	return st
}

// Close makes a last commit and closes the files. Streams must not be written
// any more. Generations with released segments only are deleted.
func (j *Journal) Close() error {
	close(j.stop)
	<-j.done
	j.mu.Lock()
	defer j.mu.Unlock()
	var err error
	if len(j.inflight) > 0 {
		err = fmt.Errorf("close journal: last commit failed: %w", j.stats.LastError)
	}
	return errors.Join(err, closeAll(j.files))
}

func closeAll(files []*generation) (err error) {
	for _, g := range files {
		err = errors.Join(err, g.db.Close())
	}
	return err
}
