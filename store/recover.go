package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"siprecd/store/catalog"
	"siprecd/store/disk"
	"siprecd/store/journal"
)

// recover finishes what a former run left live. The segments still open are
// sealed from the journal just as at a cut; no key holder is needed.
func (s *Store) recover(ctx context.Context) error {
	segments := map[catalog.ID]uint32{} // the last one in the journal
	for _, g := range s.journal.Segments() {
		segments[g.ID] = max(segments[g.ID], g.Seq)
	}
	var left []*Recording
	err := s.catalog.Live(func(id catalog.ID, text []byte, err error) {
		last, audio := segments[id]
		r, err2 := s.leftover(id, text, last, audio)
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
	if err := s.catalog.DropStrayKeyboxes(); err != nil {
		return fmt.Errorf("look for stray keyboxes: %w", err)
	}
	for _, r := range left {
		r.submitFinish()
	}
	for _, r := range left {
		if err := s.awaitRecovery(ctx, r); err != nil {
			return err
		}
	}
	if len(left) > 0 {
		s.log.Warn("interrupted recordings finished", "count", len(left))
	}
	s.recovered, s.finished = len(left), 0
	return nil
}

// awaitRecovery waits for one recording. One that cannot be finished yet (the
// disk is full) is tried again in the background: it must not keep the
// recorder from recording.
func (s *Store) awaitRecovery(ctx context.Context, r *Recording) error {
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	select {
	case <-r.done:
		return nil
	case <-limit.C:
		s.log.Error("an interrupted recording is not finished yet", "id", r.name)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leftover rebuilds a recording from its state. It returns nil for one whose
// admission was never answered: there is a row, but no keybox and no audio.
func (s *Store) leftover(id catalog.ID, text []byte, last uint32, audio bool) (*Recording, error) {
	if text == nil {
		return nil, nil
	}
	r := &Recording{store: s, id: id, name: disk.Name(id), done: make(chan struct{})}
	if err := json.Unmarshal(text, &r.state); err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	if _, err := s.catalog.Keybox(id); errors.Is(err, ErrNotFound) && !audio && len(r.state.Segments) == 0 {
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
	if err := r.measure(last, audio); err != nil {
		return nil, err
	}
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

// measure finds out how many packets there are.
func (r *Recording) measure(last uint32, audio bool) error {
	for _, g := range r.state.Segments {
		r.packets = max(r.packets, (g.Seq+1)*r.state.Per)
	}
	if !audio || r.state.has(int(last)) {
		return nil
	}
	c, err := r.store.journal.Read(journal.Segment{ID: r.id, Seq: last})
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	r.packets = max(r.packets, c.First+len(c.Packets))
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
// or there never was an answered admission. A row that cannot be read keeps
// its frames.
func (s *Store) isOver(id catalog.ID) bool {
	text, err := s.catalog.Row(id)
	if err != nil {
		return errors.Is(err, ErrNotFound)
	}
	var row Row
	return json.Unmarshal(text, &row) == nil && row.State == Finished
}

// Recovered says how many interrupted recordings Open has finished.
func (s *Store) Recovered() int { return s.recovered }
