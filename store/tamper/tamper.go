// Package tamper changes a closed folder the way somebody would who has taken
// hold of the files, a database editor at hand, and of no key: rows and
// keyboxes are edited, deleted, copied and swapped. It is for showing that
// verify finds it; no recorder imports it.
//
//	Change ─► catalog.db or keys.db, as any bbolt tool would write it
//
// Promises: a change leaves a database that opens without a complaint of
// bbolt's. Caveat: what only the holder of the host key can do, as sealing a row
// anew, is not in here.
package tamper

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"

	"siprecd/store/bolt"
	"siprecd/store/catalog"
	"siprecd/store/disk"
)

// The buckets that are changed; see package catalog.
const (
	rows  = "rows"
	boxes = "boxes"
)

// EditRow flips a byte in the middle of a recording's row.
func EditRow(dir, id string) error {
	return change(dir, catalog.File, rows, func(b bucket) error {
		k, v, err := b.find(id)
		if err != nil {
			return err
		}
		v[len(v)/2] ^= 0x20
		return b.Put(k, v)
	})
}

// DeleteRow deletes a recording's row.
func DeleteRow(dir, id string) error {
	return change(dir, catalog.File, rows, func(b bucket) error {
		k, _, err := b.find(id)
		if err != nil {
			return err
		}
		return b.Delete(k)
	})
}

// CopyRow writes a recording's row a second time, under another id, which it
// returns.
func CopyRow(dir, id string) (other string, err error) {
	err = change(dir, catalog.File, rows, func(b bucket) error {
		k, v, err := b.find(id)
		if err != nil {
			return err
		}
		k[len(k)-1] ^= 1
		other = disk.Name(disk.ID(k))
		return b.Put(k, v)
	})
	return other, err
}

// SwapRows gives each of two recordings the other's row.
func SwapRows(dir, id, with string) error { return swap(dir, catalog.File, rows, id, with) }

// SwapKeyboxes gives each of two recordings the other's keybox.
func SwapKeyboxes(dir, id, with string) error { return swap(dir, catalog.KeysFile, boxes, id, with) }

// DeleteKeybox deletes a recording's keybox.
func DeleteKeybox(dir, id string) error {
	return change(dir, catalog.KeysFile, boxes, func(b bucket) error {
		k, _, err := b.find(id)
		if err != nil {
			return err
		}
		return b.Delete(k)
	})
}

func swap(dir, file, name, id, with string) error {
	return change(dir, file, name, func(b bucket) error {
		k1, v1, err := b.find(id)
		if err != nil {
			return err
		}
		k2, v2, err := b.find(with)
		if err != nil {
			return err
		}
		if err := b.Put(k1, v2); err != nil {
			return err
		}
		return b.Put(k2, v1)
	})
}

// store is what is needed of a bbolt bucket.
type store interface {
	Get(key []byte) []byte
	Put(key, value []byte) error
	Delete(key []byte) error
}

type bucket struct{ store }

// find returns copies of a recording's key and value.
func (b bucket) find(id string) (k, v []byte, err error) {
	full, err := disk.ParseName(id)
	if err != nil {
		return nil, nil, err
	}
	if v = bytes.Clone(b.Get(full[:])); len(v) == 0 {
		return nil, nil, fmt.Errorf("%s is not there", id)
	}
	return full[:], v, nil
}

func change(dir, file, name string, do func(bucket) error) error {
	db, err := bolt.Open(filepath.Join(dir, file), bolt.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error { return do(bucket{tx.Bucket([]byte(name))}) })
	if err2 := db.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return fmt.Errorf("tamper with %s: %w", file, err)
	}
	return nil
}
