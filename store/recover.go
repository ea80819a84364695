package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"siprecd/store/catalog"
	"siprecd/store/disk"
	"siprecd/store/journal"
)

// recoverWithin is how long Open waits for all that it has to finish.
const recoverWithin = 2 * time.Second

// recover finishes what a former run left live. The segments still open are
// sealed from the journal just as at a cut; no key holder is needed.
func (s *Store) recover(ctx context.Context) error {
	frames := map[catalog.ID][]int{} // the segments in the journal
	for _, g := range s.journal.Segments() {
		frames[g.ID] = append(frames[g.ID], int(g.Seq))
	}
	var left []*Recording
	err := s.catalog.Live(func(id catalog.ID, text []byte, err error) {
		r, err2 := s.leftover(id, text, frames[id])
		if err = errors.Join(err, err2); err != nil {
			s.log.Error("cannot finish an interrupted recording; its files stay as they are", "id", disk.Name(id), "err", err)
			return
		}
		if r != nil {
			left = append(left, r)
		}
	})
	if err != nil {
		return fmt.Errorf("read live recordings: %w", err)
	}
	s.forgetStrays(left)
	s.dropStrayKeyboxes(frames)
	for _, r := range left {
		if r.discarded {
			r.submitDiscard()
		} else {
			r.submitFinish()
		}
	}
	return s.awaitRecovery(ctx, left)
}

// awaitRecovery waits for all of them, but not long. What cannot be finished
// yet (the disk is full) is tried again in the background: it must not keep
// the recorder from recording.
func (s *Store) awaitRecovery(ctx context.Context, left []*Recording) error {
	limited, cancel := context.WithTimeout(ctx, recoverWithin)
	defer cancel()
	late := 0
	for _, r := range left {
		select {
		case <-r.done:
		case <-limited.Done():
			select {
			case <-r.done:
			default:
				late++
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if late > 0 {
		s.log.Error("interrupted recordings are not finished yet: this goes on in the background", "count", late)
	}
	if len(left) > late {
		s.log.Warn("interrupted recordings finished", "count", len(left)-late)
	}
	s.mu.Lock()
	s.counts.recovered, s.counts.finished = uint64(len(left)), 0
	s.mu.Unlock()
	return nil
}

// dropStrayKeyboxes drops the keyboxes of admissions that a crash cut off. That
// it cannot is no harm.
func (s *Store) dropStrayKeyboxes(frames map[catalog.ID][]int) {
	kept, err := s.catalog.DropStrayKeyboxes(func(id catalog.ID) bool {
		_, err := s.root.Stat(disk.FolderOf(id))
		return len(frames[id]) > 0 || !errors.Is(err, fs.ErrNotExist)
	})
	if err != nil {
		s.log.Warn("cannot look for keyboxes without a recording; they stay", "err", err)
	}
	if kept > 0 {
		s.log.Error("there are keyboxes without a recording in the catalogue, and they stay: "+
			"is catalog.db older than keys.db? See verify", "at least", kept)
	}
}

// leftover rebuilds a recording from its state and from the segments that the
// journal holds of it. It returns nil for one whose
// admission was never answered: there is a row, but no keybox and no audio.
func (s *Store) leftover(id catalog.ID, text []byte, frames []int) (*Recording, error) {
	if text == nil {
		return nil, nil
	}
	r := &Recording{store: s, id: id, name: disk.Name(id), done: make(chan struct{})}
	if err := json.Unmarshal(text, &r.state); err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	if _, err := s.catalog.Keybox(id); errors.Is(err, ErrNotFound) && !r.state.Discarded && len(frames)+len(r.state.Segments) == 0 {
		return nil, s.catalog.Remove(catalog.Entry{ID: id})
	}
	row, err := s.catalog.Row(id)
	if err != nil {
		return nil, err
	}
	details, err := s.catalog.Details(id)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(json.Unmarshal(row, &r.row), json.Unmarshal(details, &r.details)); err != nil {
		return nil, fmt.Errorf("read row: %w", err)
	}
	if err := r.measure(frames); err != nil {
		return nil, err
	}
	r.discarded = r.state.Discarded
	r.row.Interrupted = true
	r.closing = &Closing{
		Ended:   r.row.Started.Add(time.Duration(r.state.cutting().Length(r.packets)) * time.Second / 48000),
		Cause:   "interrupted",
		Details: r.details,
	}
	s.mu.Lock()
	s.live[id] = r
	s.mu.Unlock()
	return r, nil
}

// measure finds out how many packets there are: as far as any segment goes.
// Entries that do not open count by their headers, unless not one of a segment
// opens and it does not even follow on what is known: then a damaged header
// made it up.
func (r *Recording) measure(frames []int) error {
	for _, g := range r.state.Segments {
		r.packets = max(r.packets, (g.Seq+1)*r.state.Per)
	}
	slices.Sort(frames)
	for _, seq := range frames {
		if r.state.has(seq) {
			continue
		}
		c, err := r.store.journal.Read(journal.Segment{ID: r.id, Seq: uint32(seq)}, r.state.Per)
		if err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
		if len(c.Packets) == 0 && seq > r.state.cutting().Segments(r.packets) {
			r.state.Damaged = true
			r.store.log.Error("journal frames do not open", "id", r.name, "segment", seq, "frames", c.Damaged)
			continue
		}
		r.packets = max(r.packets, c.End)
	}
	return nil
}

// forgetStrays releases journal segments that nobody will seal: their
// recordings are finished.
func (s *Store) forgetStrays(left []*Recording) {
	wanted := map[catalog.ID]*Recording{}
	for _, r := range left {
		wanted[r.id] = r
	}
	for _, g := range s.journal.Segments() {
		if r := wanted[g.ID]; r == nil && s.isOver(g.ID) || r != nil && r.state.has(int(g.Seq)) {
			s.journal.Release(g)
		}
	}
}

// isOver says whether frames of the recording may be forgotten: it is finished,
// or it was discarded, and has neither row nor keybox. A row that cannot be
// read keeps its frames, and so does a keybox: the catalogue may be an old one.
func (s *Store) isOver(id catalog.ID) bool {
	text, err := s.catalog.Row(id)
	if errors.Is(err, ErrNotFound) {
		_, err = s.catalog.Keybox(id)
		return errors.Is(err, ErrNotFound)
	}
	if err != nil {
		return false
	}
	var row Row
	return json.Unmarshal(text, &row) == nil && (row.State == Finished || row.State == Erased)
}

// Recovered says how many interrupted recordings Open has finished.
func (s *Store) Recovered() int { return int(s.counts.recovered) }
