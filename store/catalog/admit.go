package catalog

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ErrSlow is returned (wrapped) when the disk does not take an admission in
// time.
var ErrSlow = errors.New("the disk does not answer")

// overdue are admissions that were given up while the disk has them.
type overdue struct {
	count atomic.Int64
	work  sync.WaitGroup
}

// soon is how long a new call may wait for the disk: its caller may be waiting
// too.
const soon = 5 * time.Second

// AdmitSoon is Admit for a caller who cannot wait: after five seconds it returns
// ErrSlow, and at once while an earlier admission is overdue. When the disk has
// taken one after all it is removed again, for nobody records it.
func (c *Catalog) AdmitSoon(e Entry, keybox []byte) error {
	return c.admitWithin(soon, e, keybox)
}

func (c *Catalog) admitWithin(limit time.Duration, e Entry, keybox []byte) error {
	if c.late.count.Load() > 0 {
		return fmt.Errorf("write catalogue: %w", ErrSlow)
	}
	done := make(chan error, 1)
	c.late.work.Go(func() { done <- c.Admit(e, keybox) })
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
	}
	c.late.count.Add(1)
	c.late.work.Go(func() {
		defer c.late.count.Add(-1)
		if <-done == nil {
			// What fails here is found at the next start: an admission without audio.
			_ = errors.Join(c.DropKeybox(e.ID), c.Remove(e))
		}
	})
	return fmt.Errorf("write catalogue within %v: %w", limit, ErrSlow)
}

// Failed is why the catalogue cannot be written, as of the last try; nil: it
// can.
func (c *Catalog) Failed() error { return errors.Join(c.rows.Failed(), c.keys.Failed()) }

// Release gives back the memory that reading has taken.
func (c *Catalog) Release() {
	c.rows.Release()
	c.keys.Release()
}

// Mend tries to write again what has failed.
func (c *Catalog) Mend() { _, _ = c.rows.Mend(), c.keys.Mend() }
