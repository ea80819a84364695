package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"siprecd/store/seal"
)

// run is the commit goroutine.
func (j *Journal) run() {
	defer close(j.done)
	due := time.NewTimer(housekeeping)
	defer due.Stop()
	for soon := false; ; {
		tell := func() {}
		select {
		case <-j.wake:
			if !soon {
				due.Reset(j.options.Tick)
			}
			soon = true
			continue
		case <-due.C:
		case f := <-j.flush:
			j.waiting = append(j.waiting, f)
			j.drainFlushes()
		case p := <-j.purge:
			err := j.purgeNow(p.ids)
			tell = func() { p.done <- err } // once the files are deleted, too
		case <-j.stop:
			j.step()
			j.sweep(true)
			return
		}
		soon = !j.step() // what failed is tried again
		j.sweep(false)
		tell()
		if soon {
			due.Reset(j.options.Tick)
		} else {
			due.Reset(housekeeping)
		}
	}
}

// housekeeping is how often it is looked for files that nobody needs, when
// nothing comes.
const housekeeping = time.Second

// stir says that something waits to be written: once a commit, for a word in the
// channel may wake a thread.
func (j *Journal) stir() {
	if j.stirred.Load() || j.stirred.Swap(true) {
		return
	}
	select {
	case j.wake <- struct{}{}:
	default: // it is known
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

// step makes one commit and tells those who wait for it; false: it failed.
func (j *Journal) step() bool {
	j.stirred.Store(false) // before it is looked at what waits
	err := j.commit()
	j.trial.Tell(j.log, err)
	j.mu.Lock()
	j.stats.LastError = err
	j.mu.Unlock()
	if err != nil {
		return false
	}
	for _, f := range j.waiting {
		close(f.done)
	}
	j.waiting = nil
	return true
}

// commit writes all that waits and acknowledges it: in one transaction, unless
// the disk was away and much has gathered.
func (j *Journal) commit() error {
	j.collect()
	for len(j.inflight) > 0 {
		if err := j.commitSome(); err != nil {
			return err
		}
	}
	return nil
}

// portion is how many bytes one transaction takes, about. More would double
// what waits in memory.
const portion = 4 << 20

func (j *Journal) commitSome() error {
	start := time.Now()
	gen, err := j.writable()
	if err != nil {
		return err
	}
	j.tick++
	batch := j.inflight
	for n, size := 0, 0; n < len(batch); n++ {
		if size += len(batch[n].buf); size > portion {
			batch = batch[:n+1]
		}
	}
	value, refs, err := j.encode(gen, batch)
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
	j.mu.Lock()
	j.stats.LastCommit = time.Since(start)
	j.stats.Commits++
	j.stats.Bytes += int64(len(value))
	j.mu.Unlock()
	j.acknowledge(gen, batch, refs)
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
func (j *Journal) encode(gen *generation, batch []*chunk) ([]byte, []ref, error) {
	size := 0
	for _, c := range batch {
		size += headerSize + len(c.buf) + seal.Overhead
	}
	value := make([]byte, 0, size)
	refs := make([]ref, len(batch))
	for i, c := range batch {
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

func (j *Journal) acknowledge(gen *generation, batch []*chunk, refs []ref) {
	var cut []Segment
	j.mu.Lock()
	for i, c := range batch {
		if c.count > 0 {
			j.index[c.segment] = append(j.index[c.segment], refs[i])
			gen.hold(c.segment)
		}
		if c.last {
			cut = append(cut, c.segment)
		}
		c.stream.acknowledge(c)
	}
	j.mu.Unlock()
	j.inflight = slices.Delete(j.inflight, 0, len(batch))
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
