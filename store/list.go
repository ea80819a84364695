package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"siprecd/store/audit"
	"siprecd/store/catalog"
	"siprecd/store/disk"
)

// List returns the recordings that fit, newest first. A row that does not open
// comes as an error that names its id, and the list goes on.
func (s *Store) List(ctx context.Context, q Query) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		sel, before := s.selection(q)
		n := 0
		for {
			items, err := s.shelf.Page(sel, before, catalog.PageSize)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(Row{}, fmt.Errorf("list: %w", err))
				return
			}
			for _, item := range items {
				row, fits, err := q.judge(item)
				if !fits {
					continue
				}
				if !yield(row, err) {
					return
				}
				if n++; q.Limit > 0 && n == q.Limit {
					return
				}
			}
			if len(items) < catalog.PageSize {
				return
			}
			before = items[len(items)-1].ID
		}
	}
}

func (s *Store) selection(q Query) (sel catalog.Selection, before catalog.ID) {
	sel.Number = q.Number
	if q.Key != "" {
		sel.Number = keyPrefix + q.Key
	} else if q.Number != "" {
		sel.Number = s.options.Normalise(q.Number)
	} else {
		sel.Line = q.Line
	}
	sel.Live = q.State == Live
	if !q.From.IsZero() {
		sel.From = disk.Floor(q.From)
	}
	if q.To.IsZero() {
		for i := range before {
			before[i] = 0xff
		}
	} else {
		before = disk.Floor(q.To)
	}
	return sel, before
}

// judge opens an item and says whether it belongs in the list.
func (q Query) judge(item catalog.Item) (row Row, fits bool, err error) {
	if errors.Is(item.Err, ErrNotFound) {
		return row, false, nil // an index entry of an admission taken back
	}
	if item.Err == nil {
		item.Err = json.Unmarshal(item.Row, &row)
	}
	if item.Err != nil {
		return Row{ID: disk.Name(item.ID)}, true, fmt.Errorf("list %s: %w", disk.Name(item.ID), item.Err)
	}
	fits = (q.Line == "" || row.Line == q.Line) &&
		(row.State == q.State || q.State == "" && row.State != Erased) &&
		(q.From.IsZero() || !row.Started.Before(q.From)) &&
		(q.To.IsZero() || row.Started.Before(q.To))
	return row, fits, nil
}

// Get returns one recording's row. id may be the beginning of an id, with or
// without dashes, as long as it fits only one: else ErrAmbiguous, or ErrNotFound.
func (s *Store) Get(id string) (Row, error) {
	row, _, err := s.get(id)
	if err != nil {
		return Row{}, fmt.Errorf("get %q: %w", id, err)
	}
	return row, nil
}

func (s *Store) get(text string) (row Row, id catalog.ID, err error) {
	if id, err = s.shelf.Find(text); err != nil {
		return row, id, err
	}
	plain, err := s.shelf.Row(id)
	if err != nil {
		return row, id, err
	}
	return row, id, json.Unmarshal(plain, &row)
}

// Details returns the personal part of a recording. Of a finished one the
// metadata documents are not among them: those are only in its sealed files,
// see Sealed.Details.
func (s *Store) Details(a Access, id string) (d Details, err error) {
	row, full, err := s.get(id)
	if err == nil && row.State == Erased {
		err = ErrErased
	}
	if err := s.Trail.Read(a, full, audit.Opened, err); err != nil {
		return d, fmt.Errorf("details %q: %w", id, err)
	}
	s.log.Info("details read", "id", disk.Name(full))
	plain, err := s.shelf.Details(full)
	if err == nil {
		err = json.Unmarshal(plain, &d)
	}
	if err != nil {
		return d, fmt.Errorf("details %s: %w", disk.Name(full), err)
	}
	return d, nil
}
