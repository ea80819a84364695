package bolt

import "fmt"

// again takes a batch whose commit has failed to a new file at once, so that
// one failed write costs nobody a recording.
func (d *DB) again(batch []*call, err error) (refused bool, _ error) {
	d.failed = err
	if d.options.NoRotate || d.writable() != nil {
		return false, fmt.Errorf("%w: %w", ErrFailed, err)
	}
	refused, err = d.transact(batch)
	if err != nil && !refused {
		d.failed = err
		err = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return refused, err
}

// tellState lets Failed know; writer is held.
func (d *DB) tellState() {
	if d.failed == nil {
		d.state.Store(nil)
		return
	}
	err := fmt.Errorf("%w: %w", ErrFailed, d.failed)
	d.state.Store(&err)
}

// Failed is why the file cannot be written, as of the last try; nil: it can. It
// waits for nobody.
func (d *DB) Failed() error {
	if p := d.state.Load(); p != nil {
		return *p
	}
	return nil
}

// Mend tries to carry on in a new file, if the file has failed.
func (d *DB) Mend() error {
	if d.Failed() == nil {
		return nil
	}
	return d.Update(func(*Tx) error { return nil })
}
