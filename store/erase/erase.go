// Package erase destroys recordings, so that no copy of them can be read, and
// says so in a receipt.
//
//	Erase ─► tombstones    rows replaced, details and index entries gone: durable,
//	  │                    and from here on it is finished whatever happens
//	  ├────► keyboxes      dropped from keys.db
//	  ├────► journal       frames that are still there
//	  ├────► files         the recording's folder
//	  ├────► compaction    keys.db and catalog.db written anew, the old files unlinked
//	  └────► receipts      signed; their records stay with the tombstones
//
// Destroying the keybox is what counts: it holds the only key to the audio and
// to the sealed details, and it is in no other file of the recorder's. Copies of
// the segments, wherever they are and however old, stay closed to every holder.
//
// Promises: an erasure that was begun is finished, by this process or at the
// next start; each step may be done again. A batch is compacted once. Who asked
// and why are kept as keyed hashes only: nobody reads them from a receipt, but
// whoever has the host key can check a presumption. The receipt names no person.
//
// Caveats: a backup of keys.db keeps the keyboxes that were in it; what a disk
// does with blocks that were given back is its own affair (see the README).
//
// Tend also compacts after recordings were discarded, whose keyboxes would
// else stay readable in the free pages of keys.db.
package erase

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"siprecd/store/catalog"
	"siprecd/store/disk"
	"siprecd/store/kept"
	"siprecd/store/seal"
)

// Journal is what an erasure needs of it: no frame of the recordings is in any
// of its files when Purge returns nil.
type Journal interface {
	Purge(ctx context.Context, ids ...[16]byte) error
}

// Parts are what an Eraser works on.
type Parts struct {
	Root    *os.Root
	Catalog *catalog.Catalog
	Journal Journal
	Host    *seal.Host
	Signer  *seal.Signer
	Log     *slog.Logger
	Every   time.Duration                          // least time between compactions after discards; 0: a minute
	Done    func(receipts map[string][]byte) error // told of erasures by id, signed, before they count as finished; nil: nobody
}

// Eraser erases. Its methods may be used from several goroutines.
type Eraser struct {
	Parts
	hash *seal.Index

	busy sync.Mutex            // one batch at a time
	left bool                  // there may be erasures under way
	told map[catalog.ID][]byte // receipts that Done has been told, of erasures under way

	step func(name string) error // see Before
}

// New makes an Eraser; Tend finishes what a former run began.
func New(p Parts) (*Eraser, error) {
	hash, err := p.Host.Index("erasure")
	if err != nil {
		return nil, err
	}
	if p.Every <= 0 {
		p.Every = time.Minute
	}
	p.Log = p.Log.With("part", "erase")
	return &Eraser{Parts: p, hash: hash, left: true, told: map[catalog.ID][]byte{}, step: func(string) error { return nil }}, nil
}

// Before has f called before each step with its name; an error of its ends the
// erasure there, as a crash would. It is for tests.
func (e *Eraser) Before(f func(step string) error) {
	e.busy.Lock()
	defer e.busy.Unlock()
	e.step = f
}

// Schema is the receipt's schema id.
const Schema = "siprecd/erasure/1"

// unreadable is what a receipt states.
const unreadable = "every copy of these files: the only key to them is destroyed"

// Receipt says what was destroyed. It holds no personal data.
type Receipt struct {
	Schema     string                  `json:"schema"`
	ID         string                  `json:"id"`
	Asked      time.Time               `json:"asked"`  // UTC, milliseconds
	Erased     time.Time               `json:"erased"` // when all of it was gone
	By         string                  `json:"by"`     // keyed hash of who asked
	Why        string                  `json:"why"`    // keyed hash of the reason
	Actor      string                  `json:"actor"`  // number of the user, and command, as the system knows them
	Keybox     string                  `json:"keybox_sha256"`
	Files      []kept.ManifestFileInfo `json:"files"`
	Unreadable string                  `json:"unreadable"`
	SignedBy   string                  `json:"signed_by"` // key id; see seal.KeyID
}

// Signed is a receipt as it is handed out, one JSON object.
type Signed struct {
	Receipt   json.RawMessage `json:"receipt"`
	Signature string          `json:"signature"` // Ed25519 over the receipt's bytes, hex
}

// Open checks a signed receipt against the host's public key.
func Open(text []byte, pub ed25519.PublicKey) (r Receipt, err error) {
	var s Signed
	if err := json.Unmarshal(text, &s); err != nil {
		return r, fmt.Errorf("read receipt: %w", err)
	}
	sig, err := hex.DecodeString(s.Signature)
	if err != nil || !seal.Verify(pub, s.Receipt, sig) {
		return r, fmt.Errorf("read receipt: %w: the signature does not fit", seal.ErrDamaged)
	}
	if err := json.Unmarshal(s.Receipt, &r); err != nil || r.Schema != Schema {
		return r, errors.New("read receipt: not a receipt of an erasure")
	}
	return r, nil
}

// Order says what is to be erased, who wants it and why.
type Order struct {
	IDs      []catalog.ID
	Who, Why string
	Actor    string // user and command, as the system knows them
}

// row is what is read and written of a catalogue's row; see store.Row.
type row struct {
	ID      string    `json:"id"`
	State   string    `json:"state"`
	Started time.Time `json:"started"`
	Erased  time.Time `json:"erased,omitzero"`
	Bytes   int64     `json:"bytes"`
}

// Erase destroys finished recordings and returns a signed receipt for each, in
// the order of the ids; one that is erased already gives its receipt again. The
// caller has made sure that none is live. After an error all that was begun
// goes on in the background, at the latest with the next start.
func (e *Eraser) Erase(ctx context.Context, o Order) (receipts [][]byte, err error) {
	e.busy.Lock()
	defer e.busy.Unlock()
	fresh, err := e.graves(o)
	if err != nil {
		return nil, fmt.Errorf("erase: %w", err)
	}
	if len(fresh) > 0 {
		if err := e.Catalog.Bury(fresh); err != nil {
			return nil, fmt.Errorf("erase: %w", err)
		}
		e.left = true
	}
	if err := e.resume(ctx, e.reborn(o.IDs)...); err != nil {
		return nil, fmt.Errorf("erase: begun, and to be finished in the background: %w", err)
	}
	for _, id := range o.IDs {
		text, err := e.Catalog.Erasure(id)
		if err != nil {
			return nil, fmt.Errorf("erase: read receipt: %w", err)
		}
		receipts = append(receipts, text)
	}
	return receipts, nil
}

// graves prepares the tombstones of those that have none yet.
func (e *Eraser) graves(o Order) (list []catalog.Tombstone, err error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	for _, id := range o.IDs {
		var was row
		if text, err := e.Catalog.Row(id); errors.Is(err, catalog.ErrNotFound) {
			return nil, err
		} else if err == nil { // one that does not open is erased too
			err = json.Unmarshal(text, &was)
			if err != nil {
				return nil, err
			}
		}
		if was.State == kept.Erased {
			continue
		}
		r, err := e.describe(id)
		if err != nil {
			return nil, err
		}
		r.Asked, r.Actor = now, o.Actor
		r.By, r.Why = hex.EncodeToString(e.hash.Hash("by "+o.Who)), hex.EncodeToString(e.hash.Hash("why "+o.Why))
		t := catalog.Tombstone{ID: id}
		if was.State == kept.Finished {
			t.Less = catalog.Totals{Recordings: 1, Bytes: was.Bytes}
		}
		var err2 error
		t.Record, err = json.Marshal(r)
		t.Row, err2 = json.Marshal(row{ID: r.ID, State: kept.Erased, Started: disk.Time(id), Erased: now})
		if err := errors.Join(err, err2); err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

// describe says what there is to destroy.
func (e *Eraser) describe(id catalog.ID) (r Receipt, err error) {
	r = Receipt{Schema: Schema, ID: disk.Name(id), Unreadable: unreadable, SignedBy: e.Signer.KeyID(), Files: []kept.ManifestFileInfo{}}
	box, err := e.Catalog.Keybox(id)
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return r, err
	}
	if err == nil {
		r.Keybox = disk.Hash(box)
	}
	folder, known := disk.FolderOf(id), map[string]kept.ManifestFileInfo{}
	if m := kept.Valid(e.Root, folder, r.ID, e.Signer.Public()); m != nil {
		known[m.Details.File] = m.Details
		for _, g := range m.Segments {
			known[g.File] = kept.ManifestFileInfo{File: g.File, Bytes: g.Bytes, SHA256: g.SHA256}
		}
	}
	entries, err := fs.ReadDir(e.Root.FS(), folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	for _, f := range entries {
		info, ok := known[f.Name()]
		if !ok && f.Type().IsRegular() {
			info.File = f.Name()
			if info.SHA256, info.Bytes, err = disk.HashFile(e.Root, path.Join(folder, f.Name())); err != nil {
				return r, err
			}
		}
		r.Files = append(r.Files, info)
	}
	return r, nil
}

// reborn are recordings that are erased and yet have a keybox or files: somebody
// has put back a backup.
func (e *Eraser) reborn(ids []catalog.ID) (list []catalog.ID) {
	for _, id := range ids {
		if _, err := e.Catalog.Erasure(id); err != nil {
			continue
		}
		_, noBox := e.Catalog.Keybox(id)
		_, noFiles := e.Root.Lstat(disk.FolderOf(id))
		if noBox == nil || noFiles == nil {
			list = append(list, id)
		}
	}
	return list
}

// resume does all that is under way, in one batch, and destroys what came back;
// busy is held.
func (e *Eraser) resume(ctx context.Context, again ...catalog.ID) error {
	if !e.left && len(again) == 0 {
		return nil
	}
	records, err := e.Catalog.Buried()
	if err != nil {
		return err
	}
	ids := again
	for id := range records {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		e.left = false
		return nil
	}
	for _, s := range []struct {
		name string
		do   func() error
	}{
		{"keyboxes", func() error { return e.Catalog.DropKeyboxes(ids) }},
		{"journal", func() error { return e.Journal.Purge(ctx, ids...) }},
		{"files", func() error { return e.removeFiles(ids) }},
		{"compact", func() error { return e.Catalog.Compact(ctx) }},
		{"receipts", func() error { return e.finish(records) }},
	} {
		err := e.step(s.name)
		if err == nil {
			err = s.do()
		}
		if err != nil {
			return err
		}
	}
	e.left = false
	e.Log.Info("recordings erased", "count", len(ids))
	return nil
}

// removeFiles removes the recordings' folders, durably.
func (e *Eraser) removeFiles(ids []catalog.ID) error {
	var parents []string
	for _, id := range ids {
		folder := disk.FolderOf(id)
		if err := e.Root.RemoveAll(folder); err != nil {
			return fmt.Errorf("remove files: %w", err)
		}
		if p := path.Dir(folder); !slices.Contains(parents, p) {
			parents = append(parents, p)
		}
	}
	for _, p := range parents {
		if err := disk.SyncDir(e.Root, p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove files: %w", err)
		}
	}
	return nil
}

// finish signs the receipts, has them told, and keeps them in the place of the
// records.
func (e *Eraser) finish(records map[catalog.ID][]byte) error {
	now := time.Now().UTC().Truncate(time.Millisecond)
	fresh := map[string][]byte{}
	for id, text := range records {
		if e.told[id] != nil {
			continue // by a try that failed later
		}
		var r Receipt
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("read record: %w", err)
		}
		r.Erased = now
		body, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if fresh[r.ID], err = json.Marshal(Signed{body, hex.EncodeToString(e.Signer.Sign(body))}); err != nil {
			return err
		}
	}
	if e.Done != nil && len(fresh) > 0 {
		if err := e.Done(fresh); err != nil {
			return err
		}
	}
	for id := range records {
		if text, ok := fresh[disk.Name(id)]; ok {
			e.told[id] = text
		}
	}
	if err := e.Catalog.Finish(e.told); err != nil {
		return err
	}
	clear(e.told)
	return nil
}
