package audit

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"siprecd/store/disk"
	"siprecd/store/seal"
	"siprecd/store/trouble"
)

// Options configure a Log. Root, Key and Box are required.
type Options struct {
	Root    *os.Root         // the store's folder
	Key     *Key             // made by NewKey
	Box     *seal.Box        // for the details, label DetailBox
	Tick    time.Duration    // between commits of what Note took; 0: 250 ms
	Every   time.Duration    // between checkpoints while something changes; 0: 60 s
	Now     func() time.Time // nil: time.Now
	Deliver func(Checkpoint) // gets each new checkpoint; it must not block; nil: nobody
	Logger  *slog.Logger     // nil: slog.Default()
}

// maxPending is how many events wait in memory while the disk is away; then
// the oldest are counted and not kept.
const maxPending = 100_000

// Log is the open log. One process at a time has it; the methods may be used
// from several goroutines.
type Log struct {
	o    Options
	log  *slog.Logger
	lock *os.File

	kick chan struct{} // somebody waits for a commit
	stir chan struct{} // something was noted
	stop chan struct{}
	work sync.WaitGroup

	mu      sync.Mutex // guards what follows
	pending []entry
	lost    int64 // events that memory had no room for
	closed  bool
	err     error // of the latest commit
	damage  error // found at open
	head    Checkpoint
	leaves  int64

	io    sync.Mutex // one commit at a time; guards what follows
	tree  *tree      // nil before the first leaf
	seq   int        // of the newest tree that has a name
	prev  Checkpoint // of the tree before, for the first leaf of a new one
	since time.Time  // of the newest checkpoint
	past  *past      // nil until somebody asks
	trial trouble.Trouble
}

// entry is an event that waits to be written.
type entry struct {
	event Event
	done  chan error // nil: nobody waits
}

// Open opens the log for writing, or returns disk.ErrLocked when another
// process has it for longer than wait. A log that is not what was signed stays
// as it is: Health names it, and a new tree begins.
func Open(o Options, wait time.Duration) (*Log, error) {
	o = o.withDefaults()
	l := &Log{
		o: o, log: o.Logger.With("part", "audit"), kick: make(chan struct{}, 1), stir: make(chan struct{}, 1), stop: make(chan struct{}),
		trial: trouble.Trouble{What: "the audit log cannot be written: no recording is handed out", Over: "the audit log is written again"},
	}
	if err := l.openFiles(wait); err != nil {
		if l.lock != nil {
			err = errors.Join(err, l.lock.Close())
		}
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	l.work.Go(l.commits)
	return l, nil
}

func (o Options) withDefaults() Options {
	if o.Tick <= 0 {
		o.Tick = 250 * time.Millisecond
	}
	if o.Every <= 0 {
		o.Every = time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Deliver == nil {
		o.Deliver = func(Checkpoint) {}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func (l *Log) openFiles(wait time.Duration) error {
	if err := l.o.Root.Mkdir(Dir, 0o700); err == nil {
		if err := disk.SyncDir(l.o.Root, "."); err != nil {
			return err
		}
	} else if !errors.Is(err, os.ErrExist) {
		return err
	}
	var err error
	if l.lock, err = lock(l.o.Root, wait); err != nil {
		return err
	}
	names, err := Trees(l.o.Root)
	if err != nil || len(names) == 0 {
		return err
	}
	return l.resume(names)
}

// lock takes the log for this process.
func lock(root *os.Root, wait time.Duration) (*os.File, error) {
	f, err := create(root, path.Join(Dir, lockFile), 0)
	if err != nil {
		return nil, err
	}
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for until := time.Now().Add(wait); ; <-t.C {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(until) {
			return nil, errors.Join(fmt.Errorf("%w: another process writes the audit log", disk.ErrLocked), f.Close())
		}
	}
}

// resume goes on with the newest tree.
func (l *Log) resume(names []string) error {
	name := names[len(names)-1]
	l.seq = SeqOf(name)
	t, err := resume(l.o.Root, l.o.Key, name)
	if errors.Is(err, ErrTampered) {
		l.log.Error("the audit log is not what was signed; it stays as it is, and a new tree begins: see audit verify", "err", err)
		l.damage, l.prev = err, Checkpoint{Tree: name}
		if list, _, _, err := l.o.Key.Stored(l.o.Root, name); err == nil && len(list) > 0 {
			l.prev = list[len(list)-1]
		}
		return nil
	}
	if err != nil {
		return err
	}
	l.tree, l.head, l.leaves = t, t.signed, t.front.N()
	if t.cut > 0 {
		l.log.Warn("the end of the audit log, which a crash left, is cut off", "tree", name, "bytes", t.cut)
		l.Note(Event{Kind: Repaired, Result: "cut off what a crash left"})
	}
	return nil
}

// Append writes events and returns nil when they are durable: within a commit,
// some milliseconds. For accesses: no Append, no access.
func (l *Log) Append(events ...Event) (err error) {
	done := make(chan error, len(events))
	waiting := 0
	for _, e := range events {
		if err = l.queue(entry{e, done}); err != nil {
			break
		}
		waiting++
	}
	signal(l.kick)
	for range waiting {
		if failed := <-done; err == nil {
			err = failed
		}
	}
	return err
}

// Note takes an event and returns at once; it is durable a tick later. An event
// that is not fit for the log is named in the process's log.
func (l *Log) Note(e Event) {
	if err := l.queue(entry{e, nil}); err != nil {
		l.log.Error("an event is not in the audit log", "kind", e.Kind, "err", err)
	}
	signal(l.stir)
}

// signal leaves word in a channel with room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is known
	}
}

func (l *Log) queue(x entry) error {
	if x.event.At.IsZero() {
		x.event.At = l.o.Now()
	}
	x.event.At = instant(x.event.At)
	x.event.N, x.event.Detail, x.event.Prev = 0, "", ""
	if err := x.event.Fit(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fmt.Errorf("%w: it is closed", ErrUnwritten)
	}
	if x.done == nil && len(l.pending) >= maxPending {
		l.lost++
		return nil
	}
	if i := l.alike(x); i >= 0 {
		l.pending[i].event.Count = l.pending[i].event.count() + x.event.count()
		return nil
	}
	l.pending = append(l.pending, x)
	return nil
}

// alike finds an event among the newest that wait which may be one leaf with
// x; -1: none. The caller holds mu.
func (l *Log) alike(x entry) int {
	first := max(0, len(l.pending)-64)
	i := slices.IndexFunc(l.pending[first:], func(p entry) bool {
		return p.done == nil && x.done == nil && p.event.same(&x.event)
	})
	if i < 0 {
		return -1
	}
	return first + i
}

// commits writes what waits, until Close: what was noted a tick after the first
// of it, so that an idle log wakes nobody. Checkpoints fall due meanwhile.
func (l *Log) commits() {
	idle := min(l.o.Every, time.Second)
	t := time.NewTimer(idle)
	defer t.Stop()
	for soon := false; ; {
		select {
		case <-l.stir:
			if !soon {
				soon = true
				t.Reset(l.o.Tick)
			}
			continue
		case <-l.kick:
		case <-t.C:
		case <-l.stop:
			l.commit(true)
			return
		}
		l.commit(false)
		if t.Reset(idle); l.Health().Waiting > 0 { // what failed is tried again
			t.Reset(l.o.Tick)
		}
		soon = false
	}
}
