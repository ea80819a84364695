package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"siprecd/store/bolt"
)

// What is known of erasures, in catalog.db. The bucket is made with the first.
//
//	erasures  id → sealed record     what was destroyed: the tombstone's receipt
//	          0 + id → sealed record  the same, while the erasure is under way
//	          "dropped" → 16 bytes    a keybox was dropped since the last compaction
const erasures = "erasures"

const droppedKey = "dropped"

// Tombstone is what is left of an erased recording.
type Tombstone struct {
	ID     ID
	Row    []byte // takes the row's place; nothing personal
	Record []byte // what was destroyed; kept for ever
	Less   Totals // taken from the totals
}

func underWay(id ID) []byte { return append([]byte{0}, id[:]...) }

// Bury puts tombstones in the place of recordings, in one transaction: rows are
// replaced, details, state and every index entry go. From then on the erasures
// are under way (see Buried) until Finish. It is no error that one is already.
func (c *Catalog) Bury(list []Tombstone) error {
	ids := map[ID]bool{}
	for _, t := range list {
		ids[t.ID] = true
	}
	entries, err := c.indexEntries(ids)
	if err != nil {
		return fmt.Errorf("write tombstones: %w", err)
	}
	err = c.rows.Update(func(tx *bolt.Tx) error {
		for bucket, keys := range entries {
			for _, k := range keys {
				if err := tx.Bucket([]byte(bucket)).Delete(k); err != nil {
					return err
				}
			}
		}
		for _, t := range list {
			if err := c.bury(tx, t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write tombstones: %w", err)
	}
	return nil
}

func (c *Catalog) bury(tx *bolt.Tx, t Tombstone) error {
	b, err := tx.CreateBucketIfNotExists([]byte(erasures))
	if err != nil {
		return err
	}
	if b.Get(t.ID[:]) != nil || b.Get(underWay(t.ID)) != nil {
		return nil
	}
	for _, name := range []string{details, live} {
		if err := tx.Bucket([]byte(name)).Delete(t.ID[:]); err != nil {
			return err
		}
	}
	if err := tx.Bucket([]byte(rows)).Put(t.ID[:], c.seal(rows, t.ID[:], t.Row)); err != nil {
		return err
	}
	if err := b.Put(underWay(t.ID), c.seal(erasures, underWay(t.ID), t.Record)); err != nil {
		return err
	}
	return c.addTotals(tx, Totals{-t.Less.Recordings, -t.Less.Bytes})
}

// indexEntries finds the index keys of recordings by looking through the
// indexes, a page at a time: what numbers a recording was put under may depend
// on a configuration that has changed since.
func (c *Catalog) indexEntries(ids map[ID]bool) (map[string][][]byte, error) {
	found := map[string][][]byte{}
	for _, bucket := range []string{lines, numbers} {
		for from := []byte{}; from != nil; {
			err := c.rows.View(func(tx *bolt.Tx) error {
				cur, n := tx.Bucket([]byte(bucket)).Cursor(), 0
				k, _ := cur.Seek(from)
				for ; k != nil && n < 4096; k, _ = cur.Next() {
					if n++; len(k) > len(ID{}) && ids[ID(k[len(k)-len(ID{}):])] {
						found[bucket] = append(found[bucket], bytes.Clone(k))
					}
				}
				from = bytes.Clone(k)
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// Buried returns the records of erasures that are under way.
func (c *Catalog) Buried() (records map[ID][]byte, err error) {
	records = map[ID][]byte{}
	err = c.rows.View(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(erasures))
		if b == nil {
			return nil
		}
		cur := b.Cursor()
		for k, v := cur.Seek([]byte{0}); len(k) > 0 && k[0] == 0; k, v = cur.Next() {
			if len(k) != len(ID{})+1 {
				continue // an id may begin with 0
			}
			plain, err := c.open(erasures, k, v)
			if err != nil {
				return err
			}
			records[ID(k[1:])] = plain
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read erasures: %w", err)
	}
	return records, nil
}

// Finish is the last step: the erasures are no longer under way; their records stay,
// in the form given here.
func (c *Catalog) Finish(records map[ID][]byte) error {
	err := c.rows.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(erasures))
		if err != nil {
			return err
		}
		for id, record := range records {
			if err := b.Delete(underWay(id)); err != nil {
				return err
			}
			if err := b.Put(bytes.Clone(id[:]), c.seal(erasures, id[:], record)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write erasures: %w", err)
	}
	return nil
}

// Erasure returns the record of a finished erasure.
func (c *Catalog) Erasure(id ID) (record []byte, err error) {
	err = c.rows.View(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(erasures))
		if b == nil {
			return ErrNotFound
		}
		sealed := b.Get(id[:])
		if sealed == nil {
			return ErrNotFound
		}
		record, err = c.open(erasures, id[:], sealed)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read erasure: %w", err)
	}
	return record, nil
}

// DropKeyboxes deletes keyboxes. The bytes stay in the file until it is
// compacted.
func (c *Catalog) DropKeyboxes(ids []ID) error {
	err := c.keys.Update(func(tx *bolt.Tx) error {
		for _, id := range ids {
			if err := tx.Bucket([]byte(boxes)).Delete(id[:]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("drop keyboxes: %w", err)
	}
	return nil
}

// Compact rewrites both files, the keyboxes' first, so that nothing which was
// deleted before is in them. Others write meanwhile; see bolt.
func (c *Catalog) Compact(ctx context.Context) error {
	mark := c.dropped()
	if err := c.keys.Compact(ctx); err != nil {
		return err
	}
	if err := c.rows.Compact(ctx); err != nil {
		return err
	}
	return c.clearDropped(mark)
}

// Unclean says that something was removed since the last compaction that should
// not stay in the files.
func (c *Catalog) Unclean() bool { return c.dropped() != nil }

func (c *Catalog) dropped() (mark []byte) {
	_ = c.rows.View(func(tx *bolt.Tx) error { // unreadable: others say it
		if b := tx.Bucket([]byte(erasures)); b != nil {
			mark = bytes.Clone(b.Get([]byte(droppedKey)))
		}
		return nil
	})
	return mark
}

// markDropped notes a removal: whose, so that a later one is told from it.
func markDropped(tx *bolt.Tx, id ID) error {
	b, err := tx.CreateBucketIfNotExists([]byte(erasures))
	if err != nil {
		return err
	}
	return b.Put([]byte(droppedKey), bytes.Clone(id[:]))
}

// clearDropped takes the note away, unless something was removed since it was
// read.
func (c *Catalog) clearDropped(mark []byte) error {
	if mark == nil {
		return nil
	}
	return c.rows.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(erasures))
		if b == nil || !bytes.Equal(b.Get([]byte(droppedKey)), mark) {
			return nil
		}
		return b.Delete([]byte(droppedKey))
	})
}

// checkErasure is Check for the bucket of erasures.
func (c *Catalog) checkErasure(k, v []byte) (id ID, err error) {
	switch {
	case string(k) == droppedKey && len(v) == len(id):
		return id, nil
	case len(k) == len(id):
		id = ID(k)
	case len(k) == len(id)+1 && k[0] == 0:
		id = ID(k[1:])
		err = ErrUnderWay
	default:
		return id, errors.New("does not belong here")
	}
	if _, err2 := c.open(erasures, k, v); err2 != nil {
		err = err2
	}
	return id, err
}

// ErrUnderWay is found (wrapped) for an erasure that was begun and not finished.
var ErrUnderWay = errors.New("an erasure was begun and is not finished: the next start of the recorder finishes it")
