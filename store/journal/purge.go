package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// purging asks the commit goroutine to destroy what it has of recordings.
type purging struct {
	ids  [][16]byte
	done chan error
}

// purgeTries is how often Purge looks again for a file that it could not delete
// yet, and how long it rests between.
const (
	purgeTries = 20
	purgeRest  = 100 * time.Millisecond
)

// Purge makes the frames of recordings unreadable at once: every file that has
// held one is deleted, and with it the salt of its key. What others still need
// of such a file is sealed anew in the current one first. The recordings must
// be over.
func (j *Journal) Purge(ctx context.Context, ids ...[16]byte) error {
	for range purgeTries {
		p := purging{ids, make(chan error, 1)}
		select {
		case j.purge <- p:
		case <-j.done:
			return errors.New("purge journal: closed")
		case <-ctx.Done():
			return fmt.Errorf("purge journal: %w", ctx.Err())
		}
		if err := <-p.done; err != nil {
			return fmt.Errorf("purge journal: %w", err)
		}
		if len(j.holders(ids)) == 0 {
			return nil
		}
		rest := time.NewTimer(purgeRest)
		select {
		case <-rest.C:
		case <-ctx.Done():
		}
		rest.Stop()
	}
	return errors.New("purge journal: a file is not deleted")
}

// holders are the files that have held a frame of one of the recordings.
func (j *Journal) holders(ids [][16]byte) (list []*generation) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, g := range j.files {
		if slices.ContainsFunc(ids, func(id [16]byte) bool { _, ok := g.held[id]; return ok }) {
			list = append(list, g)
		}
	}
	return list
}

// purgeNow is Purge on the commit goroutine; the sweep that follows deletes.
func (j *Journal) purgeNow(ids [][16]byte) error {
	for _, id := range ids {
		j.Forget(id)
	}
	list := j.holders(ids)
	if slices.Contains(list, j.current) {
		j.current = nil // the next commit begins a new file
	}
	for _, g := range list {
		g.failed = true // never written again
		if err := j.moveOut(g); err != nil {
			return err
		}
	}
	return nil
}

// moved is one entry that is to be sealed anew.
type moved struct {
	segment Segment
	old     ref
	now     ref
}

// moveBytes is how much is sealed anew in one commit.
const moveBytes = 8 << 20

// moveOut copies what is still wanted of a file into the current one.
func (j *Journal) moveOut(g *generation) error {
	for {
		batch := j.wanted(g)
		if len(batch) == 0 {
			return nil
		}
		if err := j.copyOut(g, batch); err != nil {
			return err
		}
		j.mu.Lock()
		for _, m := range batch {
			j.replace(m)
		}
		j.mu.Unlock()
	}
}

// wanted are the next entries of a file that somebody still needs; when there
// are none the file has no open segment either.
func (j *Journal) wanted(g *generation) (batch []moved) {
	j.mu.Lock()
	defer j.mu.Unlock()
	size := 0
	for s := range g.open {
		for _, r := range j.index[s] {
			if r.gen != g {
				continue
			}
			batch = append(batch, moved{segment: s, old: r})
			size += int(r.length)
		}
		if size > moveBytes {
			return batch
		}
	}
	if len(batch) == 0 {
		clear(g.open)
	}
	return batch
}

// copyOut seals the entries anew in one commit. One that does not open is left
// out: it is lost either way, and the segment says so.
func (j *Journal) copyOut(g *generation, batch []moved) error {
	gen, err := j.writable()
	if err != nil {
		return err
	}
	j.tick++
	var value []byte
	for i := range batch {
		m := &batch[i]
		sealed, err := j.fetch([]ref{m.old})
		if err != nil {
			j.log.Error("a journal frame cannot be kept", "err", err)
			continue
		}
		about := appendHeader(nil, m.segment, m.old.first, 0)[:aboutSize]
		plain, err := g.box.Open(nil, sealed[0], about)
		if err != nil {
			j.log.Error("a journal frame cannot be kept", "err", err)
			continue
		}
		value = appendHeader(value, m.segment, m.old.first, len(sealed[0]))
		start := len(value)
		value = gen.box.Seal(value, plain, about)
		m.now = ref{gen, j.tick, uint32(start), uint32(len(value) - start), m.old.first}
	}
	if len(value) == 0 {
		return nil
	}
	if err := gen.put(j.tick, value); err != nil {
		gen.failed = true
		return err
	}
	gen.ticks++
	return nil
}

// replace books an entry in its new place; mu is held.
func (j *Journal) replace(m moved) {
	refs := j.index[m.segment]
	i := slices.Index(refs, m.old)
	if i < 0 {
		return // released meanwhile
	}
	if m.now.gen == nil {
		j.index[m.segment] = slices.Delete(refs, i, i+1)
		return
	}
	refs[i] = m.now
	m.now.gen.hold(m.segment)
}

// hold notes that a segment has frames here that are wanted; Journal.mu is held.
func (g *generation) hold(s Segment) {
	g.open[s] = struct{}{}
	g.held[s.ID] = struct{}{}
}
