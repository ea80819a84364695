package catalog

import (
	"bytes"
	"fmt"

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
		case erasures:
			f.ID, f.Err = c.checkErasure(k, v)
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
