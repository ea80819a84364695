package bolt

import "golang.org/x/sys/unix"

// Release takes what was read of the file out of this process's memory. The
// pages stay in the system's cache, and reading them again brings them back: for
// who reads a large file once, or one that grows, and would be charged for all of
// it for good.
func (d *DB) Release() {
	_ = d.View(func(tx *Tx) error { // the mapping stays where it is while a transaction reads
		// What fails here costs memory and nothing else.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, d.db.Info().Data, uintptr(tx.Size()), unix.MADV_DONTNEED)
		return nil
	})
}
