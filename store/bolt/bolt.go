// Package bolt is the store's only door to bbolt. It adds what a recorder
// needs and bbolt leaves to its caller:
//
//   - files come into being by temp, fsync, rename, fsync of the folder, so that
//     a power cut during the first write never leaves half a database;
//   - writers that meet are grouped into one commit (the first one in commits
//     for all who wait), without a delay for a lone one;
//   - a file that has failed a write or a sync is never written again: retrying
//     in place loses acknowledged data (the kernel marks the failed pages
//     clean). The next writer copies the last good state to a new file and
//     carries on there, or, with NoRotate, gets the error and makes its own;
//   - a file is compacted beside those who write to it: see Compact;
//   - a damaged file gives ErrDamaged, not a crash. bbolt reads through mmap: a
//     truncated file is a bus error and a flipped page may be a panic. Guard
//     turns both into errors, and says so loudly in the log.
//
// Only store and its inner packages import it.
package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"siprecd/store/trouble"
)

// ErrDamaged is returned (wrapped) when a database file cannot be read.
var ErrDamaged = errors.New("database is damaged")

// ErrFailed is returned (wrapped) by Update once the file has failed a write
// or a sync and no new file could take its place yet.
var ErrFailed = errors.New("database has failed a write")

// ErrBusy is returned (wrapped) when another process has the file open.
var ErrBusy = berrors.ErrTimeout

// Tx is a bbolt transaction.
type Tx = bbolt.Tx

// Options configure one database file.
type Options struct {
	ReadOnly bool     // holds no lock: a writer may start meanwhile, and what is read may then make no sense
	NoRotate bool     // after a failure refuse writes instead of moving to a new file
	Buckets  []string // made when missing
	Logger   *slog.Logger

	// Init puts into a new file, after its buckets, what no file may be without:
	// there is never one without it under the database's name. nil: nothing.
	Init func(*Tx) error
}

// mmapSize is reserved address space, so that a growing file need not be mapped
// again, which would wait for all readers. It costs no memory.
const mmapSize = 256 << 20

// tempSuffix names a file that is to take the database's place.
const tempSuffix = ".new"

// DB is an open database. All methods may be used from several goroutines.
type DB struct {
	path    string
	options Options
	log     *slog.Logger

	open sync.RWMutex // read-held by View, written when the file is replaced
	db   *bbolt.DB
	file *os.File // db's own, to be told from what the path leads to

	queueMu sync.Mutex
	queue   []*call

	writer sync.Mutex // held by the one who commits; guards what follows
	failed error
	follow *[]func(*Tx) error // what was committed since a compaction began; nil: none runs
	tried  time.Time          // last try to replace a failed file
	trial  trouble.Trouble
	state  atomic.Pointer[error] // failed, for who must not wait for a writer

	compacting sync.Mutex // one compaction at a time
}

type call struct {
	fn   func(*Tx) error
	done chan error
}

// Open opens the file, making it when it is missing and not ReadOnly.
func Open(path string, o Options) (*DB, error) {
	d := &DB{path: path, options: o, log: o.Logger.With("db", filepath.Base(path)),
		trial: trouble.Trouble{What: "database cannot be written", Over: "database is written again"}}
	if !o.ReadOnly {
		err := removeIfThere(path + tempSuffix) // what a crash left: it may hold what was deleted since
		if err == nil {
			err = d.create()
		}
		if err != nil {
			return nil, fmt.Errorf("make %s: %w", filepath.Base(path), err)
		}
	}
	db, file, err := d.openFile(path, o.ReadOnly)
	if err != nil {
		return nil, err
	}
	d.db, d.file = db, file
	return d, nil
}

// Intact says whether the path still leads to the open file: one that was
// removed or replaced under us is written in vain.
func (d *DB) Intact() error {
	d.open.RLock()
	defer d.open.RUnlock()
	have, err := d.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(d.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(have, there) {
		return fmt.Errorf("%w: %s was removed or replaced while it is open", ErrDamaged, filepath.Base(d.path))
	}
	return err
}

func (d *DB) openFile(path string, readOnly bool) (db *bbolt.DB, file *os.File, err error) {
	err = d.guard(func() error {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:         time.Second,
			ReadOnly:        readOnly,
			InitialMmapSize: mmapSize,
			FreelistType:    bbolt.FreelistMapType,
			NoFreelistSync:  d.options.NoRotate, // a journal file is never opened for writing again
			OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
				f, err = os.OpenFile(name, flag, mode)
				file = f
				return f, err
			},
		})
		if err != nil {
			return err
		}
		if err := wholeFile(db, path); err != nil {
			return errors.Join(err, db.Close())
		}
		return nil
	})
	switch {
	case err == nil:
		if !d.options.NoRotate { // a journal file grows fast; these need not reserve 16 MiB
			db.AllocSize = 1 << 20
		}
		if readOnly { // a reader must never keep the recorder from starting
			err = unix.Flock(int(file.Fd()), unix.LOCK_UN)
		}
		return db, file, err
	case file != nil:
		// bbolt has closed it, unless it panicked. Then its mapping keeps the
		// file open, and locked, for the life of the process.
		_ = unix.Flock(int(file.Fd()), unix.LOCK_UN)
		_ = file.Close()
	}
	var errno syscall.Errno // the system refuses; that says nothing of the file
	if errors.As(err, &errno) || errors.Is(err, berrors.ErrTimeout) || errors.Is(err, ErrDamaged) {
		return nil, nil, fmt.Errorf("open %s: %w", filepath.Base(path), err)
	}
	return nil, nil, fmt.Errorf("open %s: %w: %w", filepath.Base(path), ErrDamaged, err)
}

// wholeFile refuses a file that has been cut short. bbolt would read on behind
// its end, some of it on goroutines that guard does not reach.
func wholeFile(db *bbolt.DB, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return db.View(func(tx *Tx) error {
		if tx.Size() > info.Size() {
			return fmt.Errorf("%w: %d of %d bytes are there", ErrDamaged, info.Size(), tx.Size())
		}
		return nil
	})
}

// create makes the file with its buckets when it does not exist.
func (d *DB) create() error {
	if _, err := os.Stat(d.path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	temp := d.path + tempSuffix
	db, _, err := d.openFile(temp, false)
	if err != nil { // a full disk must not fill up with beginnings
		return errors.Join(err, removeIfThere(temp))
	}
	err = db.Update(func(tx *Tx) error {
		for _, name := range d.options.Buckets {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		if d.options.Init != nil {
			return d.options.Init(tx)
		}
		return nil
	})
	if err = errors.Join(err, db.Close()); err == nil {
		err = d.adopt(temp)
	}
	if err != nil {
		return errors.Join(err, removeIfThere(temp))
	}
	return nil
}

// adopt puts the finished file temp in the database's place, durably.
func (d *DB) adopt(temp string) error {
	f, err := os.Open(temp)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, d.path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(d.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// guard runs fn, which reads a mapped file, so that a damaged file is an error.
// This is the one place where a panic is taken for damage: bbolt asserts by
// panicking, and a mapping cut short faults.
func (d *DB) guard(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if p := recover(); p != nil {
			d.log.Error("database is damaged", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return fn()
}

// View runs fn in a read transaction. Keep fn short: it must not wait for
// anybody. Slices from bbolt are valid only inside.
func (d *DB) View(fn func(*Tx) error) error {
	d.open.RLock()
	defer d.open.RUnlock()
	return d.guard(func() error { return d.db.View(fn) })
}

// Update runs fn in a write transaction and returns once it is durable. It may
// share the transaction with others, and fn may run a second time when another
// one's fn failed or when the file is being compacted, also after Update has
// returned: so it must not depend on having run before, and what it captured
// must not be changed later. On an error nothing of fn is kept for certain.
func (d *DB) Update(fn func(*Tx) error) error {
	c := &call{fn, make(chan error, 1)}
	d.queueMu.Lock()
	d.queue = append(d.queue, c)
	d.queueMu.Unlock()

	d.writer.Lock()
	d.queueMu.Lock()
	batch := d.queue
	d.queue = nil
	d.queueMu.Unlock()
	if len(batch) > 0 {
		d.commit(batch)
	}
	d.writer.Unlock()
	return <-c.done
}

func (d *DB) commit(batch []*call) {
	defer d.tellState()
	if err := d.writable(); err != nil {
		if !d.options.NoRotate {
			d.trial.Tell(d.log, err)
		}
		d.tell(batch, err)
		return
	}
	refused, err := d.transact(batch)
	if refused && len(batch) > 1 { // find the one to blame
		for _, c := range batch {
			d.commit([]*call{c})
		}
		return
	}
	if err != nil && !refused {
		refused, err = d.again(batch, err)
	}
	if !d.options.NoRotate && !refused { // else the owner says it: each file fails once
		d.trial.Tell(d.log, err)
	}
	d.tell(batch, err)
}

// tell gives the outcome to those who wait.
func (d *DB) tell(batch []*call, err error) {
	for _, c := range batch {
		if err == nil && d.follow != nil {
			*d.follow = append(*d.follow, c.fn)
		}
		c.done <- err
	}
}

// transact commits the batch; refused says that the error came from an fn and
// not from the file.
func (d *DB) transact(batch []*call) (refused bool, err error) {
	err = d.guard(func() error {
		return d.db.Update(func(tx *Tx) error {
			for _, c := range batch {
				if err := c.fn(tx); err != nil {
					refused = true
					return err
				}
			}
			return nil
		})
	})
	return refused, err
}

// tryEvery is how often a new file is tried in the place of a failed one.
const tryEvery = 500 * time.Millisecond

// writable replaces a failed file, at most twice a second.
func (d *DB) writable() error {
	if d.failed == nil {
		return nil
	}
	if d.options.NoRotate || d.follow != nil || time.Since(d.tried) < tryEvery {
		return fmt.Errorf("%w: %w", ErrFailed, d.failed)
	}
	d.tried = time.Now()
	if err := d.replace(); err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	d.failed = nil
	return nil
}

// replace puts a copy of the last good state in place of a failed file. Writers
// wait: they hold writer.
func (d *DB) replace() error {
	temp := d.path + tempSuffix
	if err := removeIfThere(temp); err != nil {
		return err
	}
	if err := d.copyTo(temp); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	err := d.adopt(temp)
	var db *bbolt.DB
	var file *os.File
	if err == nil {
		db, file, err = d.openFile(d.path, false)
	}
	if err != nil {
		d.failed = err // the old file may have lost its name: it must not be written
		return err
	}
	d.open.Lock()
	old := d.db
	d.db, d.file = db, file
	d.open.Unlock()
	if err := old.Close(); err != nil { // it is out of use, and its disk may be the one that fails
		d.log.Warn("the old file is not closed", "err", err)
	}
	return nil
}

func (d *DB) copyTo(temp string) error {
	dst, _, err := d.openFile(temp, false)
	if err != nil {
		return err
	}
	err = d.guard(func() error { return bbolt.Compact(dst, d.db, 64<<20) })
	return errors.Join(err, dst.Close())
}

// Close closes the file. Nobody may be inside a method.
func (d *DB) Close() error { return d.db.Close() }
