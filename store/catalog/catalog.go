// Package catalog keeps what is known of each recording and finds it again. It
// stores sealed pieces by id and knows nothing of what they say.
//
//	catalog.db  rows     id → sealed row           what a list shows
//	            details  id → sealed details       the personal part
//	            live     id → sealed state         only recordings not finished
//	            lines    hash(line) id → check     newest last
//	            numbers  hash(number) id → check
//	            totals   "all" → sealed totals
//	            erasures see erase.go
//	keys.db     boxes    id → keybox               an age file; its deletion is erasure
//
// Ids are UUIDv7: their order is the order in time, so the newest recordings
// of all, of a line or of a number are the end of a bucket. Pieces are sealed
// with keys from the host key and bound to bucket and id, so that a row can
// neither be changed nor moved. keys.db is a file of its own because bbolt
// leaves deleted values readable until the file is compacted.
//
// Nothing here scans the whole catalogue but Check. Open touches only the live
// bucket's size, so a million recordings do not slow a start.
package catalog

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"siprecd/store/bolt"
	"siprecd/store/seal"
)

// ErrNotFound is returned (wrapped) when there is no such recording.
var ErrNotFound = errors.New("no such recording")

// ErrAmbiguous is returned (wrapped) when an id prefix fits several recordings.
var ErrAmbiguous = errors.New("several recordings begin like this")

// ErrBusy is returned (wrapped) when another process has the files open.
var ErrBusy = errors.New("another process has the catalogue open")

// Files of the catalogue.
const (
	File     = "catalog.db"
	KeysFile = "keys.db"
)

const (
	rows    = "rows"
	details = "details"
	live    = "live"
	lines   = "lines"
	numbers = "numbers"
	totals  = "totals"
	boxes   = "boxes"
)

// ID is a recording's id, a UUIDv7.
type ID = [16]byte

// Entry is one recording to be written. Nil pieces are left as they are.
type Entry struct {
	ID      ID
	Row     []byte
	Details []byte
	State   []byte // what is needed to finish it; kept while it is live
	Over    bool   // no longer live: the state is removed
	Line    string // to be found by; "" when unchanged
	Numbers []string
	Add     Totals // added to the totals
}

// Totals count finished recordings.
type Totals struct {
	Recordings int64 `json:"recordings"`
	Bytes      int64 `json:"bytes"`
}

// Catalog is the open catalogue. All methods may be used from several goroutines.
type Catalog struct {
	rows, keys *bolt.DB
	box        map[string]*seal.Box
	line       *seal.Index
	number     *seal.Index
	check      *seal.Index

	late overdue
}

// Open opens both files in dir. It makes them when there is nothing yet that
// they should know of: an empty catalogue beside recordings would be taken for
// the truth.
func Open(dir string, host *seal.Host, readOnly bool, log *slog.Logger) (*Catalog, error) {
	c := &Catalog{box: map[string]*seal.Box{}}
	if err := c.derive(host); err != nil {
		return nil, err
	}
	if !readOnly {
		if err := complete(dir, log); err != nil {
			return nil, err
		}
	}
	var err error
	c.rows, err = bolt.Open(filepath.Join(dir, File), bolt.Options{
		ReadOnly: readOnly, Buckets: []string{rows, details, live, lines, numbers, totals}, Logger: log})
	if errors.Is(err, bolt.ErrBusy) {
		err = fmt.Errorf("%w: %w", ErrBusy, err)
	}
	if err != nil {
		return nil, advise(err)
	}
	c.keys, err = bolt.Open(filepath.Join(dir, KeysFile), bolt.Options{
		ReadOnly: readOnly, Buckets: []string{boxes}, Logger: log})
	if errors.Is(err, bolt.ErrBusy) {
		err = fmt.Errorf("%w: %w", ErrBusy, err)
	}
	if err != nil {
		return nil, errors.Join(advise(err), c.rows.Close())
	}
	return c, nil
}

func (c *Catalog) derive(host *seal.Host) (err error) {
	for _, name := range []string{rows, details, live, totals, erasures} {
		if c.box[name], err = host.Box("catalog "+name, nil); err != nil {
			return err
		}
	}
	if c.line, err = host.Index("line"); err != nil {
		return err
	}
	if c.number, err = host.Index("number"); err != nil {
		return err
	}
	c.check, err = host.Index("check")
	return err
}

// Close closes both files.
func (c *Catalog) Close() error {
	c.late.work.Wait()
	return errors.Join(c.rows.Close(), c.keys.Close())
}

// Intact says whether one of the files, by its name, is still the one at its
// path.
func (c *Catalog) Intact(file string) error {
	switch file {
	case File:
		return c.rows.Intact()
	case KeysFile:
		return c.keys.Intact()
	}
	return fmt.Errorf("%s: %w", file, ErrNotFound)
}

// Admit writes a new recording and its keybox. When it returns nil both are
// durable. The two files are synced at the same time.
func (c *Catalog) Admit(e Entry, keybox []byte) error {
	boxed := make(chan error, 1)
	go func() {
		boxed <- c.keys.Update(func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte(boxes))
			b.FillPercent = 0.9
			return b.Put(e.ID[:], keybox)
		})
	}()
	err := c.Put(e)
	if err2 := <-boxed; err2 != nil {
		return fmt.Errorf("write keybox: %w", errors.Join(err2, c.Remove(e)))
	}
	if err != nil {
		return errors.Join(err, c.DropKeybox(e.ID))
	}
	return nil
}

// Put writes the pieces of the entries in one transaction.
func (c *Catalog) Put(entries ...Entry) error {
	err := c.rows.Update(func(tx *bolt.Tx) error {
		for _, e := range entries {
			if err := c.put(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write catalogue: %w", err)
	}
	return nil
}

// PutLive is Put for entries that must not touch a recording that has been
// finished meanwhile: those are left out.
func (c *Catalog) PutLive(entries ...Entry) error {
	err := c.rows.Update(func(tx *bolt.Tx) error {
		for _, e := range entries {
			if tx.Bucket([]byte(live)).Get(e.ID[:]) == nil {
				continue
			}
			if err := c.put(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write catalogue: %w", err)
	}
	return nil
}

func (c *Catalog) put(tx *bolt.Tx, e Entry) error {
	for name, piece := range map[string][]byte{rows: e.Row, details: e.Details, live: e.State} {
		if piece == nil {
			continue
		}
		b := tx.Bucket([]byte(name))
		b.FillPercent = 0.9 // ids come in order
		if err := b.Put(e.ID[:], c.seal(name, e.ID[:], piece)); err != nil {
			return err
		}
	}
	if e.Over {
		if err := tx.Bucket([]byte(live)).Delete(e.ID[:]); err != nil {
			return err
		}
	}
	if err := c.putIndex(tx, e); err != nil {
		return err
	}
	return c.addTotals(tx, e.Add)
}

func (c *Catalog) putIndex(tx *bolt.Tx, e Entry) error {
	put := func(bucket string, hash []byte) error {
		key := append(hash, e.ID[:]...)
		return tx.Bucket([]byte(bucket)).Put(key, c.indexCheck(bucket, key))
	}
	if e.Line != "" {
		if err := put(lines, c.line.Hash(e.Line)); err != nil {
			return err
		}
	}
	for _, n := range e.Numbers {
		if err := put(numbers, c.number.Hash(n)); err != nil {
			return err
		}
	}
	return nil
}

// indexCheck makes a flipped bit in an index key visible.
func (c *Catalog) indexCheck(bucket string, key []byte) []byte {
	return c.check.Hash(bucket + " " + string(key))[:8]
}

func (c *Catalog) addTotals(tx *bolt.Tx, add Totals) error {
	if add == (Totals{}) {
		return nil
	}
	now, err := c.readTotals(tx)
	if err != nil {
		return err
	}
	now.Recordings += add.Recordings
	now.Bytes += add.Bytes
	plain, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return tx.Bucket([]byte(totals)).Put([]byte("all"), c.seal(totals, []byte("all"), plain))
}

func (c *Catalog) readTotals(tx *bolt.Tx) (t Totals, err error) {
	sealed := tx.Bucket([]byte(totals)).Get([]byte("all"))
	if sealed == nil {
		return t, nil
	}
	plain, err := c.open(totals, []byte("all"), sealed)
	if err != nil {
		return t, fmt.Errorf("read totals: %w", err)
	}
	return t, json.Unmarshal(plain, &t)
}

// Totals returns how much is stored.
func (c *Catalog) Totals() (t Totals, err error) {
	err = c.rows.View(func(tx *bolt.Tx) error {
		t, err = c.readTotals(tx)
		return err
	})
	return t, err
}

func (c *Catalog) seal(bucket string, key, plain []byte) []byte {
	return c.box[bucket].Seal(make([]byte, 0, len(plain)+seal.Overhead), plain, key)
}

func (c *Catalog) open(bucket string, key, sealed []byte) ([]byte, error) {
	return c.box[bucket].Open(nil, sealed, key)
}

func (c *Catalog) get(bucket string, id ID) (plain []byte, err error) {
	err = c.rows.View(func(tx *bolt.Tx) error {
		sealed := tx.Bucket([]byte(bucket)).Get(id[:])
		if sealed == nil {
			return ErrNotFound
		}
		plain, err = c.open(bucket, id[:], sealed)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", bucket, err)
	}
	return plain, nil
}

// Row returns a recording's row.
func (c *Catalog) Row(id ID) ([]byte, error) { return c.get(rows, id) }

// Details returns a recording's details.
func (c *Catalog) Details(id ID) ([]byte, error) { return c.get(details, id) }

// Keybox returns a recording's keybox.
func (c *Catalog) Keybox(id ID) (box []byte, err error) {
	err = c.keys.View(func(tx *bolt.Tx) error {
		v := tx.Bucket([]byte(boxes)).Get(id[:])
		if v == nil {
			return ErrNotFound
		}
		box = append([]byte(nil), v...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read keybox: %w", err)
	}
	return box, nil
}

// Remove takes a recording out: its row, details and state, and its index
// entries by the line and the numbers that the entry names.
func (c *Catalog) Remove(e Entry) error {
	return c.rows.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{rows, details, live} {
			if err := tx.Bucket([]byte(name)).Delete(e.ID[:]); err != nil {
				return err
			}
		}
		if err := tx.Bucket([]byte(lines)).Delete(append(c.line.Hash(e.Line), e.ID[:]...)); err != nil {
			return err
		}
		for _, n := range e.Numbers {
			if err := tx.Bucket([]byte(numbers)).Delete(append(c.number.Hash(n), e.ID[:]...)); err != nil {
				return err
			}
		}
		return markDropped(tx, e.ID)
	})
}

// DropKeybox deletes a keybox. The bytes stay in the file until it is compacted.
func (c *Catalog) DropKeybox(id ID) error {
	return c.keys.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(boxes)).Delete(id[:])
	})
}

// Find returns the id that text, a whole id or its beginning, with or without
// dashes, stands for.
func (c *Catalog) Find(text string) (id ID, err error) {
	digits := strings.ToLower(strings.ReplaceAll(text, "-", ""))
	low, err := hex.DecodeString(digits + strings.Repeat("0", max(0, 32-len(digits))))
	if err != nil || len(low) != len(id) || digits == "" {
		return id, ErrNotFound
	}
	found := 0
	err = c.rows.View(func(tx *bolt.Tx) error {
		cur := tx.Bucket([]byte(rows)).Cursor()
		for k, _ := cur.Seek(low); k != nil && strings.HasPrefix(hex.EncodeToString(k), digits); k, _ = cur.Next() {
			if found++; found > 1 {
				return ErrAmbiguous
			}
			copy(id[:], k)
		}
		return nil
	})
	if err == nil && found == 0 {
		err = ErrNotFound
	}
	return id, err
}

// PageSize is how many rows are best read at a time: a transaction should be short.
const PageSize = 128

// Selection says which recordings a Page is taken from; at most one of Line,
// Number and Live is used, in this order.
type Selection struct {
	Line, Number string
	Live         bool
	From         ID // lowest id wanted
}

// Item is one recording of a page. Err is set when its row does not open.
type Item struct {
	ID  ID
	Row []byte
	Err error
}

// Page returns up to limit recordings with an id below before, newest first.
func (c *Catalog) Page(sel Selection, before ID, limit int) (items []Item, err error) {
	bucket, prefix := rows, []byte{}
	switch {
	case sel.Line != "":
		bucket, prefix = lines, c.line.Hash(sel.Line)
	case sel.Number != "":
		bucket, prefix = numbers, c.number.Hash(sel.Number)
	case sel.Live:
		bucket = live
	}
	err = c.rows.View(func(tx *bolt.Tx) error {
		all := tx.Bucket([]byte(rows))
		cur := tx.Bucket([]byte(bucket)).Cursor()
		k, _ := cur.Seek(append(bytes.Clone(prefix), before[:]...))
		if k == nil {
			k, _ = cur.Last()
		} else {
			k, _ = cur.Prev()
		}
		for ; k != nil && len(items) < limit && bytes.HasPrefix(k, prefix); k, _ = cur.Prev() {
			item := Item{}
			if copy(item.ID[:], k[len(prefix):]) != len(item.ID) || bytes.Compare(item.ID[:], sel.From[:]) < 0 {
				break
			}
			if sealed := all.Get(item.ID[:]); sealed == nil {
				item.Err = ErrNotFound
			} else {
				item.Row, item.Err = c.open(rows, item.ID[:], sealed)
			}
			items = append(items, item)
		}
		return nil
	})
	return items, err
}

// Live calls fn with the state of every recording that is not finished.
func (c *Catalog) Live(fn func(id ID, state []byte, err error)) error {
	type one struct {
		id    ID
		state []byte
		err   error
	}
	var all []one
	err := c.rows.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(live)).ForEach(func(k, v []byte) error {
			o := one{}
			copy(o.id[:], k)
			o.state, o.err = c.open(live, k, v)
			all = append(all, o)
			return nil
		})
	})
	for _, o := range all {
		fn(o.id, o.state, o.err)
	}
	return err
}
