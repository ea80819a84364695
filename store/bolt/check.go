package bolt

import (
	"bytes"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Check checks both meta pages, walks every bucket and key, calls fn for each value, and then runs
// bbolt's own check of pages and free list. The walk comes first: bbolt checks
// on a goroutine of its own, where a badly damaged page would end the process.
// The first structural fault ends the check with ErrDamaged; errors of fn are
// returned as they are. A damaged meta page does not end it. Path is the bucket names from the root.
func (d *DB) Check(fn func(path []string, key, value []byte) error) error {
	return errors.Join(checkMetas(d.path), d.checkPages(fn))
}

func (d *DB) checkPages(fn func(path []string, key, value []byte) error) error {
	err := d.View(func(tx *Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			return walk([]string{string(name)}, b, fn)
		})
	})
	if err != nil {
		return err
	}
	return d.View(func(tx *Tx) error {
		var all []error
		for err := range tx.Check() {
			if len(all) < 10 && !errors.Is(err, berrors.ErrFreePagesNotLoaded) {
				all = append(all, err)
			}
		}
		if len(all) > 0 {
			return fmt.Errorf("%w: %w", ErrDamaged, errors.Join(all...))
		}
		return nil
	})
}

func walk(path []string, b *bbolt.Bucket, fn func([]string, []byte, []byte) error) error {
	var last []byte
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if last != nil && bytes.Compare(last, k) >= 0 {
			return fmt.Errorf("%w: keys out of order in %q", ErrDamaged, path)
		}
		last = append(last[:0], k...)
		if v == nil {
			inner := b.Bucket(k)
			if inner == nil {
				return fmt.Errorf("%w: no bucket %x in %q", ErrDamaged, k, path)
			}
			if err := walk(append(path[:len(path):len(path)], string(k)), inner, fn); err != nil {
				return err
			}
			continue
		}
		if err := fn(path, k, v); err != nil {
			return err
		}
	}
	return nil
}
