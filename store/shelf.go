package store

import (
	"encoding/json"

	"siprecd/store/catalog"
	"siprecd/store/kept"
)

// liveShelf is the catalogue, with the length so far in the rows of recordings
// that are live here.
type liveShelf struct {
	*catalog.Catalog
	store *Store
}

// Answer books what a command beside this process does.
func (l liveShelf) Answer(message []byte, uid int) error { return l.store.Answer(message, uid) }

// Row returns a recording's row.
func (l liveShelf) Row(id catalog.ID) ([]byte, error) {
	row, err := l.Catalog.Row(id)
	return l.store.lengthen(id, row), err
}

// Page returns a page of rows.
func (l liveShelf) Page(sel catalog.Selection, before catalog.ID, limit int) ([]catalog.Item, error) {
	items, err := l.Catalog.Page(sel, before, limit)
	for i := range items {
		items[i].Row = l.store.lengthen(items[i].ID, items[i].Row)
	}
	return items, err
}

func (s *Store) lengthen(id catalog.ID, text []byte) []byte {
	r := s.liveRecording(id)
	if r == nil || text == nil {
		return text
	}
	var row Row
	if json.Unmarshal(text, &row) != nil || row.State != Live {
		return text
	}
	r.mu.Lock()
	row.Duration = kept.Seconds(kept.Cutting{Per: 1}.Length(r.packets))
	r.mu.Unlock()
	longer, err := json.Marshal(row)
	if err != nil {
		return text
	}
	return longer
}
