package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"siprecd/store/catalog"
	"siprecd/store/disk"
	"siprecd/store/journal"
	"siprecd/store/work"
)

// Attribute names the line of a recording that was begun without one, and the
// decision by which it is kept.
func (r *Recording) Attribute(line, queue string, decision json.RawMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.row.Line, r.row.Queue, r.decision = line, queue, decision
	r.dirty = true
}

// Discard ends a live recording that must not be kept and removes it: row,
// index, keybox, files. It returns at once; the work is done in the
// background, and a crash in its midst leaves nothing that can be opened.
// What the journal holds of it goes with the journal's file, within two
// minutes.
func (r *Recording) Discard() {
	r.mu.Lock()
	first := r.closing == nil && !r.discarded
	r.discarded = true
	r.mu.Unlock()
	if !first {
		return
	}
	r.stream.Close()
	r.store.pool.Submit(work.Job{What: "discard recording", ID: r.name, Urgent: true, Run: r.discard})
}

// discard is the job behind Discard; it may run again after a failure. The row
// goes first: without it the next start drops keybox and journal by itself.
func (r *Recording) discard() error {
	r.sealing.Lock()
	defer r.sealing.Unlock()
	r.mu.Lock()
	e := catalog.Entry{ID: r.id, Line: r.row.Line, Numbers: r.store.numbersOf(r.details)}
	r.mu.Unlock()
	if err := errors.Join(r.store.catalog.Remove(e), r.store.catalog.DropKeybox(r.id)); err != nil {
		return fmt.Errorf("discard recording: %w", err)
	}
	if err := r.store.journal.FlushWithin(2 * time.Second); err != nil { // only now: a full disk must not bring the row back
		return err
	}
	if err := r.store.root.RemoveAll(disk.FolderOf(r.id)); err != nil {
		return fmt.Errorf("discard recording: %w", err)
	}
	var segments []journal.Segment
	for _, g := range r.store.journal.Segments() {
		if g.ID == r.id {
			segments = append(segments, g)
		}
	}
	r.store.journal.Release(segments...)
	r.store.mu.Lock()
	delete(r.store.live, r.id)
	r.store.mu.Unlock()
	close(r.done)
	return nil
}

func (r *Recording) isDiscarded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.discarded
}
