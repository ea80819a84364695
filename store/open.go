package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"siprecd/store/catalog"
	"siprecd/store/check"
	"siprecd/store/disk"
	"siprecd/store/erase"
	"siprecd/store/journal"
	"siprecd/store/remote"
	"siprecd/store/seal"
	"siprecd/store/trail"
	"siprecd/store/trouble"
	"siprecd/store/work"
)

// Errors that callers branch on.
var (
	ErrLocked    = disk.ErrLocked
	ErrNotFound  = catalog.ErrNotFound
	ErrAmbiguous = catalog.ErrAmbiguous
	ErrLive      = errors.New("still being recorded")
	ErrErased    = errors.New("erased: no copy of it can be read")
	ErrAccess    = trail.ErrAccess
	ErrReadOnly  = errors.New("the store was opened for reading only")
	ErrClosed    = errors.New("the store is closed")
)

// AuditHealth is how the audit log is; Store.AuditHealth returns it.
type AuditHealth = trail.Health

// AuditEvent is what Append and Note put into the audit log.
type AuditEvent = trail.Event

// Options configure a Store.
type Options struct {
	Dir        string
	Recipients []string            // age recipients of keyboxes; none: those in DIR/keys/recipients
	Segment    time.Duration       // audio in a segment; 0: 60 s
	Tick       time.Duration       // from what waits to the commit of it, at most; 0: 80 ms
	Normalise  func(string) string // how numbers are compared; nil: as they are
	Logger     *slog.Logger        // nil: slog.Default()
	Sinks      []trail.Target      // where checkpoints of the audit log go
	ReadOnly   bool                // list and read only; also while another process writes
}

func (o Options) withDefaults() Options {
	if o.Segment <= 0 {
		o.Segment = time.Minute
	}
	if o.Tick <= 0 {
		o.Tick = 80 * time.Millisecond
	}
	if o.Normalise == nil {
		o.Normalise = func(s string) string { return s }
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Store is an open recordings folder. All methods may be used from several
// goroutines.
type Store struct {
	*trail.Trail // the audit log
	options      Options
	log          *slog.Logger
	root         *os.Root
	lock         *os.File   // nil when ReadOnly
	tree         *disk.Tree // nil when ReadOnly
	host         *seal.Host
	signer       *seal.Signer
	recipients   *seal.Recipients
	shelf        remote.Shelf
	catalog      *catalog.Catalog // nil when another process has it open
	journal      *journal.Journal // nil when ReadOnly
	pool         *work.Pool       // nil when ReadOnly
	eraser       *erase.Eraser    // nil when ReadOnly
	server       *remote.Server   // nil when ReadOnly

	trial  trouble.Trouble // of saving details
	shut   bool            // the parts are closed
	mu     sync.Mutex
	live   map[catalog.ID]*Recording
	closed bool
	counts struct{ recovered, finished uint64 }

	life context.Context // of what runs in the background; ends with Close
	end  context.CancelFunc
	work sync.WaitGroup
}

// Open opens the folder that seal.InitKeys prepared. Recordings that a crash
// left live are finished before it returns, but for those that two seconds are
// too short for: the rest is finished in the background. It refuses a folder
// that cannot be written, and one where a database is missing that was there. A
// second process that wants to write gets ErrLocked at once.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	s := &Store{
		options: o,
		log:     o.Logger.With("component", "store"),
		live:    map[catalog.ID]*Recording{},
		trial:   trouble.Trouble{What: "details cannot be saved; will be tried again", Over: "details are saved again"},
	}
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	open := s.openWriting
	if o.ReadOnly {
		open = s.openReading
	}
	if err := open(ctx); err != nil {
		s.end()
		return nil, fmt.Errorf("open store: %w", errors.Join(err, s.release()))
	}
	return s, nil
}

func (s *Store) openKeys() (err error) {
	if s.root, err = os.OpenRoot(s.options.Dir); err != nil {
		return err
	}
	if s.host, err = seal.LoadHost(s.options.Dir); err != nil {
		return err
	}
	if s.signer, err = s.host.Signer(); err != nil {
		return err
	}
	return nil
}

func (s *Store) openRecipients() error {
	text := strings.Join(s.options.Recipients, "\n")
	if text == "" {
		b, err := s.root.ReadFile("keys/" + seal.RecipientsFile)
		if err != nil {
			return fmt.Errorf("read recipients: %w", err)
		}
		text = string(b)
	}
	var err error
	s.recipients, err = seal.ParseRecipients(text)
	return err
}

func (s *Store) openReading(ctx context.Context) error {
	if err := s.openKeys(); err != nil {
		return err
	}
	client, err := remote.Dial(s.options.Dir)
	if err == nil {
		s.shelf = client
		s.Trail, err = trail.Beside(ctx, s.trailOptions(), client, nil)
		return err
	}
	if s.catalog, err = catalog.Open(s.options.Dir, s.host, true, s.log); err != nil {
		if errors.Is(err, catalog.ErrBusy) {
			err = fmt.Errorf("%w: %w", ErrLocked, remote.ErrUnanswered)
		}
		return err
	}
	s.shelf = liveShelf{s.catalog, s}
	s.Trail, err = trail.Beside(ctx, s.trailOptions(), nil, trail.Dial(s.options.Dir))
	return err
}

func (s *Store) trailOptions() trail.Options {
	return trail.Options{Root: s.root, Host: s.host, Targets: s.options.Sinks, Tick: s.options.Tick, Logger: s.log}
}

func (s *Store) openWriting(ctx context.Context) error {
	if err := s.openKeys(); err != nil {
		return err
	}
	var err error
	if s.lock, err = disk.Lock(s.root); err != nil {
		return err
	}
	if err := s.openRecipients(); err != nil {
		return err
	}
	s.tree = disk.NewTree(s.root)
	if err := s.tree.Prepare("journal", "recordings"); err != nil {
		return err
	}
	if s.catalog, err = catalog.Open(s.options.Dir, s.host, false, s.log); err != nil {
		return err
	}
	if err := check.RemoveStamp(s.root); err != nil {
		return err
	}
	if s.Trail, err = trail.Open(ctx, s.trailOptions()); err != nil {
		return err
	}
	s.shelf = liveShelf{s.catalog, s}
	s.pool = work.New(8, s.log)
	s.journal, err = journal.Open(journal.Options{
		Dir:    filepath.Join(s.options.Dir, "journal"),
		Host:   s.host,
		Tick:   s.options.Tick,
		Logger: s.log,
		Cut:    s.cut,
	})
	if err != nil {
		return err
	}
	if err := s.recover(ctx); err != nil {
		return err
	}
	if err := s.openEraser(); err != nil {
		return err
	}
	if s.server, err = remote.Serve(s.life, s.root, s.options.Dir, s.shelf); err != nil {
		s.log.Warn("other processes cannot read while this one runs", "err", err)
	}
	s.work.Go(s.background)
	return nil
}

// background saves changed details every now and then, and gives back the memory
// of the catalogue's pages: each call touches some all over the file, so in time
// all of it would be ours.
func (s *Store) background() {
	t := time.NewTicker(12 * s.options.Tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.catalog.Mend()
			s.saveDetails()
			s.catalog.Release()
		case <-s.life.Done():
			s.saveDetails()
			return
		}
	}
}

// grace is how long after the end of Close's context a disk that works may take
// to come to an end.
const grace = 500 * time.Millisecond

// Close saves what is to be saved and leaves a stamp by which Verify can tell
// any later change of the databases. Recordings that are still live are
// finished, as interrupted, by the next Open. Nobody may use the store or its
// recordings any more.
//
// An error says what is left undone; the next Open does it. When ctx ends
// first, the folder stays locked until the disk answers or the process ends.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.end()
	done := make(chan error, 1)
	go func() { done <- s.shutDown(ctx) }() // not waited for where a disk hangs: nothing could end it
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		late := time.NewTimer(grace)
		defer late.Stop()
		select {
		case err = <-done:
		case <-late.C:
			err = errors.Join(ctx.Err(), errors.New("the disk does not answer"))
		}
	}
	if err = errors.Join(err, s.undone()); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

func (s *Store) shutDown(ctx context.Context) (err error) {
	s.work.Wait()
	if s.journal != nil {
		err = s.journal.Flush(ctx)
	}
	err = errors.Join(err, s.closeParts())
	if s.journal != nil && err == nil {
		err = check.WriteStamp(s.root, s.signer)
	}
	return errors.Join(err, s.release())
}

// undone says what should have been done by now and is not.
func (s *Store) undone() error {
	ended, waiting := 0, 0
	for _, r := range s.liveRecordings() {
		r.mu.Lock()
		if r.closing != nil || r.discarded {
			ended++
		}
		r.mu.Unlock()
	}
	if s.journal != nil {
		waiting = s.journal.Stats().Pending
	}
	if ended == 0 && waiting == 0 {
		return nil
	}
	return fmt.Errorf("left undone: %d ended recordings are not finished, which the next start does, and %d bytes of audio are not on disk", ended, waiting)
}

// closeParts closes what Open started, in the reverse order.
func (s *Store) closeParts() (err error) {
	if s.shut {
		return nil
	}
	s.shut = true
	if s.server != nil {
		err = errors.Join(err, s.server.Close())
	}
	if s.pool != nil {
		s.pool.Close()
	}
	if s.journal != nil {
		err = errors.Join(err, s.journal.Close())
	}
	if s.catalog != nil {
		err = errors.Join(err, s.catalog.Close())
	}
	err = errors.Join(err, s.Trail.Close())
	if r, ok := s.shelf.(*remote.Client); ok {
		err = errors.Join(err, r.Close())
	}
	return err
}

// release closes parts, if any, and gives the folder back.
func (s *Store) release() error {
	err := s.closeParts()
	if s.lock != nil {
		err = errors.Join(err, s.lock.Truncate(0), s.lock.Close())
		s.lock = nil
	}
	if s.root != nil {
		err = errors.Join(err, s.root.Close())
	}
	return err
}
