package store

import (
	"context"
	"crypto/ed25519"
	"fmt"

	"siprecd/store/audit"
	"siprecd/store/disk"
	"siprecd/store/erase"
	"siprecd/store/remote"
	"siprecd/store/trail"
)

// Receipt says what an erasure destroyed; see package erase.
type Receipt = erase.Receipt

// Erase destroys finished recordings so that no copy of them can be read, and
// returns a signed receipt for each (see erase.Open), in the order of the ids.
// One that is erased already gives its receipt again. When one of them is
// unknown (ErrNotFound), ambiguous or live (ErrLive) nothing is erased. Who and
// why must be said (ErrAccess). A read-only store asks the recorder that has
// the folder open; without one the answer is ErrReadOnly.
func (s *Store) Erase(ctx context.Context, a Access, ids ...string) (receipts [][]byte, err error) {
	if a.Who == "" || a.Why == "" {
		return nil, fmt.Errorf("erase: %w", ErrAccess)
	}
	o := erase.Order{Who: a.Who, Why: a.Why, Actor: trail.Self()}
	for _, text := range ids {
		_, id, err := s.get(text)
		if err != nil {
			return nil, fmt.Errorf("erase %q: %w", text, err)
		}
		o.IDs = append(o.IDs, id)
	}
	if r, ok := s.shelf.(remote.Eraser); ok {
		return r.Erase(ctx, o)
	}
	return nil, fmt.Errorf("erase: %w", ErrReadOnly)
}

// Erase is Store.Erase for whoever asks through the socket, too.
func (l liveShelf) Erase(ctx context.Context, o erase.Order) ([][]byte, error) {
	s := l.store
	if s.eraser == nil {
		return nil, ErrReadOnly
	}
	for _, id := range o.IDs { // a row that does not open is no reason to keep it
		if row, _, err := s.get(disk.Name(id)); err == nil && row.State == Live {
			s.Note(audit.Event{Kind: audit.Refused, Recording: row.ID, Result: "not erased, it is live", Actor: o.Actor, Who: o.Who, Why: o.Why})
			return nil, fmt.Errorf("erase %s: %w", row.ID, ErrLive)
		}
	}
	return s.eraser.Erase(ctx, o)
}

// openEraser makes the eraser and lets it finish what was begun.
func (s *Store) openEraser() (err error) {
	s.eraser, err = erase.New(erase.Parts{
		Root: s.root, Catalog: s.catalog, Journal: s.journal, Host: s.host, Signer: s.signer, Log: s.log, Done: s.erased,
	})
	if err != nil {
		return err
	}
	s.work.Go(func() { s.eraser.Tend(s.life) })
	return nil
}

// erased books erasures.
func (s *Store) erased(receipts map[string][]byte) error {
	if err := s.Erased(receipts); err != nil {
		return err
	}
	for id, text := range receipts {
		s.log.Info("recording erased", "id", id, "receipt", disk.Hash(text))
	}
	return nil
}

// OpenReceipt checks a signed receipt against a recorder's public key.
func OpenReceipt(text []byte, pub ed25519.PublicKey) (Receipt, error) { return erase.Open(text, pub) }

// Folder is where the files of a recording are, below the store's folder.
func Folder(id string) (string, error) {
	full, err := disk.ParseName(id)
	return disk.FolderOf(full), err
}
