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
	"siprecd/store/journal"
	"siprecd/store/remote"
	"siprecd/store/seal"
	"siprecd/store/work"
)

// Errors that callers branch on.
var (
	ErrLocked    = disk.ErrLocked
	ErrNotFound  = catalog.ErrNotFound
	ErrAmbiguous = catalog.ErrAmbiguous
	ErrLive      = errors.New("still being recorded")
	ErrAccess    = errors.New("who reads and why must be said")
	ErrReadOnly  = errors.New("the store was opened for reading only")
	ErrClosed    = errors.New("the store is closed")
)

// Options configure a Store.
type Options struct {
	Dir        string
	Recipients []string            // age recipients of keyboxes; none: those in DIR/keys/recipients
	Segment    time.Duration       // audio in a segment; 0: 60 s
	Tick       time.Duration       // between journal commits; 0: 250 ms
	Normalise  func(string) string // how numbers are compared; nil: as they are
	Logger     *slog.Logger        // nil: slog.Default()
	ReadOnly   bool                // list and read only; also while another process writes
}

func (o Options) withDefaults() Options {
	if o.Segment <= 0 {
		o.Segment = time.Minute
	}
	if o.Tick <= 0 {
		o.Tick = 250 * time.Millisecond
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
	options    Options
	log        *slog.Logger
	root       *os.Root
	lock       *os.File   // nil when ReadOnly
	tree       *disk.Tree // nil when ReadOnly
	host       *seal.Host
	signer     *seal.Signer
	recipients *seal.Recipients
	shelf      remote.Shelf
	catalog    *catalog.Catalog // nil when another process has it open
	journal    *journal.Journal // nil when ReadOnly
	pool       *work.Pool       // nil when ReadOnly
	server     *remote.Server   // nil when ReadOnly

	mu        sync.Mutex
	live      map[catalog.ID]*Recording
	closed    bool
	recovered int
	finished  uint64

	stop chan struct{} // ends background
	work sync.WaitGroup
}

// Open opens the folder that seal.InitKeys prepared. Recordings that a crash
// left live are finished before it returns. A second process that wants to
// write gets ErrLocked at once.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	s := &Store{
		options: o,
		log:     o.Logger.With("component", "store"),
		live:    map[catalog.ID]*Recording{},
		stop:    make(chan struct{}),
	}
	open := s.openWriting
	if o.ReadOnly {
		open = s.openReading
	}
	if err := open(ctx); err != nil {
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

func (s *Store) openReading(context.Context) error {
	if err := s.openKeys(); err != nil {
		return err
	}
	client, err := remote.Dial(s.options.Dir)
	if err == nil {
		s.shelf = client
		return nil
	}
	if s.catalog, err = catalog.Open(s.options.Dir, s.host, true, s.log); err != nil {
		if errors.Is(err, catalog.ErrBusy) {
			err = fmt.Errorf("%w: %w", ErrLocked, err)
		}
		return err
	}
	s.shelf = liveShelf{s.catalog, s}
	return nil
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
	if err := check.RemoveStamp(s.root); err != nil {
		return err
	}
	s.tree = disk.NewTree(s.root)
	for _, dir := range []string{"journal", "recordings"} {
		if _, err := s.tree.Make(dir); err != nil {
			return err
		}
	}
	if s.catalog, err = catalog.Open(s.options.Dir, s.host, false, s.log); err != nil {
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
	if s.server, err = remote.Serve(s.root, s.options.Dir, s.shelf); err != nil {
		s.log.Warn("other processes cannot read while this one runs", "err", err)
	}
	s.work.Go(s.background)
	return nil
}

// background saves changed details every tick.
func (s *Store) background() {
	t := time.NewTicker(s.options.Tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.saveDetails()
		case <-s.stop:
			s.saveDetails()
			return
		}
	}
}

// Close saves what is to be saved and leaves a stamp by which Verify can tell
// any later change of the databases. Recordings that are still live are
// finished, as interrupted, by the next Open. Nobody may use the store or its
// recordings any more.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	writing := s.journal != nil
	close(s.stop)
	s.work.Wait()
	var err error
	if writing {
		err = s.journal.Flush(ctx)
	}
	err = errors.Join(err, s.closeParts())
	if writing && err == nil {
		err = check.WriteStamp(s.root, s.signer)
	}
	if err = errors.Join(err, s.release()); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// closeParts closes what Open started, in the reverse order.
func (s *Store) closeParts() error {
	var err error
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
	if r, ok := s.shelf.(*remote.Client); ok {
		err = errors.Join(err, r.Close())
	}
	s.server, s.pool, s.journal, s.catalog, s.shelf = nil, nil, nil, nil, nil
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
		s.root = nil
	}
	return err
}
