// Package journal keeps the open segments of all live recordings: Opus packets
// in, durable sealed frames out, read back by segment.
//
//	Stream.Write ──► chunk (memory) ─┐
//	Stream.Write ──► chunk (memory) ─┼─ every tick: one bbolt commit ─► journal-7.db
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
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
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
	Tick       time.Duration // between commits
	Generation time.Duration // how long one file is written; 0: 60 s
	Logger     *slog.Logger
	Cut        func(Segment) // a segment is whole and durable; must not block; nil: not wanted
}

// Journal is the open journal. All methods may be used from several goroutines.
type Journal struct {
	options Options
	log     *slog.Logger

	flush chan flushing
	stop  chan struct{}
	done  chan struct{}

	mu      sync.Mutex // guards what follows
	streams map[*Stream]struct{}
	index   map[Segment][]ref
	files   []*generation // oldest first; the last one may be current
	stats   Stats

	reading sync.RWMutex // held by readers of generations, written when one is deleted

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
		flush:   make(chan flushing),
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

func (j *Journal) run() {
	defer close(j.done)
	t := time.NewTicker(j.options.Tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case f := <-j.flush:
			j.waiting = append(j.waiting, f)
			j.drainFlushes()
		case <-j.stop:
			j.step()
			j.sweep(true)
			return
		}
		j.step()
		j.sweep(false)
	}
}

// drainFlushes takes those who ask at the same moment into the same commit.
func (j *Journal) drainFlushes() {
	for {
		select {
		case f := <-j.flush:
			j.waiting = append(j.waiting, f)
		default:
			return
		}
	}
}

// step makes one commit and tells those who wait for it.
func (j *Journal) step() {
	err := j.commit()
	j.trial.Tell(j.log, err)
	j.mu.Lock()
	j.stats.LastError = err
	j.mu.Unlock()
	if err != nil {
		return
	}
	for _, f := range j.waiting {
		close(f.done)
	}
	j.waiting = nil
}

// commit writes all that waits in one transaction and acknowledges it.
func (j *Journal) commit() error {
	j.collect()
	if len(j.inflight) == 0 {
		return nil
	}
	start := time.Now()
	gen, err := j.writable()
	if err != nil {
		return err
	}
	j.tick++
	value, refs, err := j.encode(gen)
	if err != nil {
		return err
	}
	if len(value) > 0 {
		if err := gen.put(j.tick, value); err != nil {
			gen.failed = true
			return err
		}
		gen.ticks++
	}
	j.acknowledge(gen, refs, len(value), time.Since(start))
	return nil
}

// collect moves what the streams hold into the batch.
func (j *Journal) collect() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for s := range j.streams {
		chunks, over := s.take()
		j.inflight = append(j.inflight, chunks...)
		if over {
			delete(j.streams, s)
		}
	}
}

// encode seals the batch for the generation; refs run parallel to the batch.
func (j *Journal) encode(gen *generation) ([]byte, []ref, error) {
	size := 0
	for _, c := range j.inflight {
		size += headerSize + len(c.buf) + seal.Overhead
	}
	value := make([]byte, 0, size)
	refs := make([]ref, len(j.inflight))
	for i, c := range j.inflight {
		if c.count == 0 {
			continue
		}
		start := len(value)
		value = appendHeader(value, c.segment, c.first, len(c.buf)+seal.Overhead)
		about := value[start : start+aboutSize : start+aboutSize]
		value = gen.box.Seal(value, c.buf, about)
		if uint64(len(value)) > 1<<32-1 {
			return nil, nil, errors.New("commit is too large")
		}
		refs[i] = ref{gen, j.tick, uint32(start + headerSize), uint32(len(value) - start - headerSize), c.first}
	}
	return value, refs, nil
}

func (j *Journal) acknowledge(gen *generation, refs []ref, bytes int, took time.Duration) {
	var cut []Segment
	j.mu.Lock()
	for i, c := range j.inflight {
		if c.count > 0 {
			j.index[c.segment] = append(j.index[c.segment], refs[i])
			gen.open[c.segment] = struct{}{}
		}
		if c.last {
			cut = append(cut, c.segment)
		}
		c.stream.acknowledge(c)
	}
	j.stats.LastCommit = took
	j.stats.Commits++
	j.stats.Bytes += int64(bytes)
	j.mu.Unlock()
	clear(j.inflight)
	j.inflight = j.inflight[:0]
	if j.options.Cut != nil {
		for _, s := range cut {
			j.options.Cut(s)
		}
	}
}

const (
	aboutSize  = 16 + 4 + 4
	headerSize = aboutSize + 4
)

func appendHeader(b []byte, s Segment, first uint32, length int) []byte {
	b = append(b, s.ID[:]...)
	b = binary.BigEndian.AppendUint32(b, s.Seq)
	b = binary.BigEndian.AppendUint32(b, first)
	return binary.BigEndian.AppendUint32(b, uint32(length))
}

func generationName(dir string, n int) string {
	return filepath.Join(dir, fmt.Sprintf("journal-%d.db", n))
}

// sweep closes and deletes generations whose segments are all released. The
// current one goes too once it has been written and nothing of it is wanted:
// frames of finished recordings are not kept longer than need be.
func (j *Journal) sweep(all bool) {
	j.mu.Lock()
	var dead, alive []*generation
	for _, g := range j.files {
		if len(g.open) == 0 && (g != j.current || all || g.ticks > 0 && g.age() > time.Second) {
			dead = append(dead, g)
		} else {
			alive = append(alive, g)
		}
	}
	j.files = alive
	j.mu.Unlock()
	// On a full disk the list can be written only after the deletion.
	if err := j.list(numbersOf(alive)); err != nil {
		defer func() { _ = j.list(numbersOf(alive)) }() // else with the next sweep
	}
	for _, g := range dead {
		if g == j.current {
			j.current = nil
		}
		j.reading.Lock()
		err := errors.Join(g.db.Close(), os.Remove(g.path))
		j.reading.Unlock()
		if err != nil {
			j.log.Warn("journal file not deleted", "file", filepath.Base(g.path), "err", err)
		}
	}
}
