package store

import (
	"encoding/json"
	"fmt"
	"time"

	"siprecd/store/audit"
	"siprecd/store/catalog"
	"siprecd/store/disk"
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
// background, and after a crash in its midst the next start goes on with it.
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
	r.submitDiscard()
}

func (r *Recording) submitDiscard() {
	r.store.pool.Submit(work.Job{What: "discard recording", ID: r.name, Urgent: true, Hasty: r.stream == nil, Run: r.discard})
}

// discard is the job behind Discard; it may run again after a failure. The
// state says first that all is to go, and goes last, with the row: a start
// takes nothing away that it does not know to be unwanted. What then is left in
// the journal has neither row nor keybox, by which the next start knows it.
func (r *Recording) discard() error {
	r.sealing.Lock()
	defer r.sealing.Unlock()
	r.state.Discarded = true
	marked, err := r.entry(partState)
	if err == nil {
		err = r.store.catalog.PutLive(marked)
	}
	if err != nil {
		return fmt.Errorf("discard recording: %w", err)
	}
	if !r.dropped { // booked before it is gone: a row that is not there and was not discarded is a fault
		if err := r.store.Append(audit.Event{Kind: audit.Discarded, Recording: r.name}); err != nil {
			r.store.Note(audit.Event{Kind: audit.Discarded, Recording: r.name})
		}
		r.dropped = true
	}
	r.mu.Lock()
	e := catalog.Entry{ID: r.id, Line: r.row.Line, Numbers: r.store.numbersOf(r.details)}
	r.mu.Unlock()
	if err := r.store.root.RemoveAll(disk.FolderOf(r.id)); err != nil {
		return fmt.Errorf("discard recording: %w", err)
	}
	if err := r.store.catalog.DropKeybox(r.id); err != nil {
		return fmt.Errorf("discard recording: %w", err)
	}
	if err := r.store.catalog.Remove(e); err != nil {
		return fmt.Errorf("discard recording: %w", err)
	}
	if r.stream != nil { // only now: a full disk must not bring the row back
		if err := r.store.journal.FlushWithin(2*time.Second, r.store.life.Done()); err != nil {
			return err
		}
	}
	r.store.journal.Forget(r.id)
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
