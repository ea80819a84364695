package catalog

import (
	"bytes"
	"fmt"
	"time"

	"siprecd/store/bolt"
	"siprecd/store/seal"
)

// Finding is one fault that Check found. ID is zero when it is not one
// recording's.
type Finding struct {
	File string
	ID   ID
	Err  error
}

// Check opens every piece in both files and calls found for each fault, and
// keybox for each keybox.
func (c *Catalog) Check(found func(Finding), keybox func(id ID, box []byte)) {
	err := c.rows.Check(func(path []string, k, v []byte) error {
		bucket, f := path[0], Finding{File: File}
		switch bucket {
		case lines, numbers:
			copy(f.ID[:], k[min(len(k), seal.IndexSize):])
			if len(k) != seal.IndexSize+len(f.ID) || !bytes.Equal(v, c.indexCheck(bucket, k)) {
				f.Err = seal.ErrDamaged
			}
		case totals:
			_, f.Err = c.open(bucket, k, v)
		case rows, details, live:
			copy(f.ID[:], k)
			_, f.Err = c.open(bucket, k, v)
		default:
			f.Err = fmt.Errorf("bucket %q does not belong here", bucket)
		}
		if f.Err != nil {
			f.Err = fmt.Errorf("%s: %w", bucket, f.Err)
			found(f)
		}
		return nil
	})
	if err != nil {
		found(Finding{File: File, Err: err})
	}
	err = c.keys.Check(func(path []string, k, v []byte) error {
		f := Finding{File: KeysFile}
		if path[0] != boxes || copy(f.ID[:], k) != len(k) {
			f.Err = seal.ErrDamaged
			found(f)
			return nil
		}
		keybox(f.ID, bytes.Clone(v))
		return nil
	})
	if err != nil {
		found(Finding{File: KeysFile, Err: err})
	}
}

// DropStrayKeyboxes deletes keyboxes whose admission was cut off by a crash, so
// that there is no row for them. Only the newest can be such; the search ends
// a minute before the newest row.
func (c *Catalog) DropStrayKeyboxes() error {
	var newest ID
	err := c.rows.View(func(tx *bolt.Tx) error {
		k, _ := tx.Bucket([]byte(rows)).Cursor().Last()
		copy(newest[:], k)
		return nil
	})
	if err != nil {
		return err
	}
	oldest := newest
	back(&oldest, time.Minute)
	var candidates []ID
	err = c.keys.View(func(tx *bolt.Tx) error {
		cur := tx.Bucket([]byte(boxes)).Cursor()
		for k, _ := cur.Last(); k != nil && bytes.Compare(k, oldest[:]) >= 0; k, _ = cur.Prev() {
			candidates = append(candidates, ID(k))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range candidates {
		stray := false
		err := c.rows.View(func(tx *bolt.Tx) error {
			stray = tx.Bucket([]byte(rows)).Get(id[:]) == nil
			return nil
		})
		if err == nil && stray {
			err = c.DropKeybox(id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// back moves the time of an id.
func back(id *ID, by time.Duration) {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	ms = max(0, ms-by.Milliseconds())
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
}
