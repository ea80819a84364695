package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// Compact rewrites the database into a new file without the pages that deleted
// values still sit in, and puts it in place of the old one. What was deleted
// before the call is in no file of ours when it returns nil.
//
//	writers ──┬─────────────────────┬──────────► old file      (kept to the switch)
//	          │ snapshot            │ the same, once more
//	          └────── copy ─────────┴─► new file ► sync ► rename
//
// Writers wait for the switch alone, a few syncs long: what they commit while
// the copy is made is followed and done again in the new file. The copy is
// written a piece at a time and rests between them a sixth as long as it has worked, so
// that it takes neither the disk nor a core from the calls that are live. It
// ends early, with nothing changed, when ctx ends.
func (d *DB) Compact(ctx context.Context) error {
	d.compacting.Lock()
	defer d.compacting.Unlock()
	if err := d.compact(ctx); err != nil {
		return fmt.Errorf("compact %s: %w", filepath.Base(d.path), err)
	}
	return nil
}

func (d *DB) compact(ctx context.Context) error {
	temp := d.path + tempSuffix
	tx, err := d.snapshot(temp)
	if err != nil {
		return err
	}
	db, file, err := d.openFile(temp, false)
	if err == nil {
		err = d.guard(func() error { return copyAll(ctx, db, tx) })
	}
	err = errors.Join(err, tx.Rollback()) // before the switch: closing the old file waits for it
	var old *bbolt.DB
	if err == nil {
		old, err = d.switchTo(db, file, temp)
	} else {
		d.unfollow()
	}
	if err == nil {
		return old.Close()
	}
	if db != nil {
		err = errors.Join(err, db.Close())
	}
	return errors.Join(err, removeIfThere(temp))
}

// snapshot begins to follow the writers, at the state that the returned
// transaction reads.
func (d *DB) snapshot(temp string) (tx *Tx, err error) {
	d.writer.Lock()
	defer d.writer.Unlock()
	if err := d.writable(); err != nil {
		return nil, err
	}
	if err := removeIfThere(temp); err != nil {
		return nil, err
	}
	err = d.guard(func() error {
		tx, err = d.db.Begin(false)
		return err
	})
	if err == nil {
		d.follow = new([]func(*Tx) error)
	}
	return tx, err
}

func (d *DB) unfollow() {
	d.writer.Lock()
	d.follow = nil
	d.writer.Unlock()
}

// switchTo does in the new file what was done since the snapshot, and puts it
// in the old one's place. A failure from the rename on makes the old file one
// that must not be written: it may have lost its name.
func (d *DB) switchTo(db *bbolt.DB, file *os.File, temp string) (old *bbolt.DB, err error) {
	d.writer.Lock()
	defer d.writer.Unlock()
	defer d.tellState()
	again := *d.follow
	d.follow = nil
	err = d.guard(func() error {
		return db.Update(func(tx *Tx) error {
			for _, fn := range again {
				if err := fn(tx); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if err := d.adopt(temp); err != nil {
		d.failed = err
		return nil, err
	}
	d.open.Lock()
	old = d.db
	d.db, d.file = db, file
	d.open.Unlock()
	d.failed = nil
	return old, nil
}

// pieceBytes is how much is copied in one transaction.
const pieceBytes = 4 << 20

// copyAll copies what tx sees into db, which is empty, in the order of the keys.
func copyAll(ctx context.Context, db *bbolt.DB, tx *Tx) (err error) {
	c := &copier{ctx: ctx, db: db, began: time.Now()}
	if c.tx, err = db.Begin(true); err != nil {
		return err
	}
	err = tx.ForEach(func(name []byte, b *bbolt.Bucket) error { return c.bucket([][]byte{name}, b) })
	if err != nil {
		return errors.Join(err, c.tx.Rollback())
	}
	return c.tx.Commit()
}

type copier struct {
	ctx   context.Context
	db    *bbolt.DB
	tx    *Tx // of db
	size  int // bytes in tx
	began time.Time
}

// bucket copies one bucket with all that is in it; path names it from the top.
func (c *copier) bucket(path [][]byte, from *bbolt.Bucket) error {
	to, err := c.at(path)
	if err != nil {
		return err
	}
	if err := to.SetSequence(from.Sequence()); err != nil {
		return err
	}
	return from.ForEach(func(k, v []byte) error {
		if v == nil {
			return c.bucket(append(path[:len(path):len(path)], k), from.Bucket(k))
		}
		if c.size += len(k) + len(v); c.size > pieceBytes {
			if err := c.next(); err != nil {
				return err
			}
			to = nil
		}
		if to == nil || to.Tx() != c.tx { // a bucket of an earlier transaction
			if to, err = c.at(path); err != nil {
				return err
			}
		}
		to.FillPercent = 0.9
		return to.Put(k, v)
	})
}

// at is the bucket of a path in the transaction of now.
func (c *copier) at(path [][]byte) (b *bbolt.Bucket, err error) {
	if b, err = c.tx.CreateBucketIfNotExists(path[0]); err != nil {
		return nil, err
	}
	for _, name := range path[1:] {
		if b, err = b.CreateBucketIfNotExists(name); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// next commits the piece and rests.
func (c *copier) next() error {
	if err := c.tx.Commit(); err != nil {
		return err
	}
	rest := time.NewTimer(time.Since(c.began) / 6)
	defer rest.Stop()
	err := c.ctx.Err()
	select {
	case <-rest.C:
	case <-c.ctx.Done():
		err = c.ctx.Err()
	}
	tx, err2 := c.db.Begin(true) // also when it is over: whoever calls ends it
	if err2 != nil {
		return errors.Join(err, err2)
	}
	c.tx, c.size, c.began = tx, 0, time.Now()
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
