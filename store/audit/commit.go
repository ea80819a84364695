package audit

import (
	"errors"
	"fmt"
	"time"

	"siprecd/store/audit/merkle"
)

// commit writes what waits, and a checkpoint when one is due.
func (l *Log) commit(last bool) {
	l.mu.Lock()
	work := l.pending
	l.pending = nil
	if l.lost > 0 {
		e := Event{At: instant(l.o.Now()), Kind: Refused, Result: "events lost while the disk was away", Count: l.lost}
		work, l.lost = append(work, entry{event: e}), 0
	}
	l.mu.Unlock()
	l.io.Lock()
	defer l.io.Unlock()
	written := l.write(work)
	signed := written
	if written == nil {
		signed = l.checkpoint(last || urgent(work))
	}
	l.tell(work, written, signed)
}

// urgent is whether a checkpoint belongs to what was written: a copy that left,
// or a recording that is gone for ever.
func urgent(work []entry) bool {
	for _, x := range work {
		if x.event.Kind == Exported || x.event.Kind == Erased {
			return true
		}
	}
	return false
}

// write makes all that waits durable, in this tree or in a new one.
func (l *Log) write(work []entry) error {
	if len(work) == 0 {
		return nil
	}
	events := make([]Event, len(work))
	for i, x := range work {
		events[i] = x.event
	}
	month := l.o.Now().UTC().Format("2006-01")
	if l.tree != nil && !l.tree.broken && l.tree.month == month {
		b, err := makeBatch(l.tree.front, events, l.o.Box)
		if err != nil {
			return err
		}
		if err := l.tree.add(b); err == nil {
			return nil
		}
	}
	return l.turn(events)
}

// turn begins a new tree with these events, after a leaf that names the newest
// checkpoint of the tree before. A tree that failed a write is signed in that
// leaf only.
func (l *Log) turn(events []Event) error {
	first := Event{At: instant(l.o.Now()), Kind: Tree}
	prev := l.prev
	switch {
	case l.tree != nil && l.tree.broken:
		c, err := l.o.Key.sign(l.tree.name, l.tree.front)
		if err != nil {
			return err
		}
		prev, first.Result = c, "a write failed"
	case l.tree != nil:
		if l.tree.signed.N != l.tree.front.N() {
			c, err := l.tree.sign(l.o.Key)
			if err != nil {
				return err
			}
			l.publish(c)
		}
		prev = l.tree.signed
	case l.damage != nil:
		first.Result = "the tree before is damaged"
	}
	if prev.Tree != "" {
		first.Prev = prev.String()
	}
	b, err := makeBatch(&merkle.Frontier{}, append([]Event{first}, events...), l.o.Box)
	if err != nil {
		return err
	}
	t, err := newTree(l.o.Root, treeName(l.seq+1, l.o.Now()), b)
	if err != nil {
		return err
	}
	l.log.Info("a new tree of the audit log begins", "tree", t.name)
	if l.tree != nil {
		_ = l.tree.close() // was only read since its last sync, or has failed and been told
	}
	l.seq, l.tree, l.since = l.seq+1, t, time.Time{}
	return nil
}

// checkpoint signs the tree when it is due: at once when asked, else when it
// has grown and the newest is old enough.
func (l *Log) checkpoint(now bool) error {
	t := l.tree
	if t == nil || t.broken || t.front.N() == t.signed.N || !now && l.o.Now().Sub(l.since).Abs() < l.o.Every {
		return nil
	}
	c, err := t.sign(l.o.Key)
	if err != nil {
		return err
	}
	l.since = l.o.Now()
	l.publish(c)
	return nil
}

func (l *Log) publish(c Checkpoint) {
	l.mu.Lock()
	l.head = c
	l.mu.Unlock()
	l.o.Deliver(c)
}

// tell answers those who wait. What nobody waits for is tried again.
func (l *Log) tell(work []entry, written, signed error) {
	l.trial.Tell(l.log, signed)
	if written != nil && !errors.Is(written, ErrUnwritten) {
		written = fmt.Errorf("%w: %w", ErrUnwritten, written)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err = signed; written != nil {
		l.err = written
	}
	if l.tree != nil {
		l.leaves = l.tree.front.N()
	}
	var again []entry
	for _, x := range work {
		if written == nil && l.past != nil {
			l.past.follow(x.event)
		}
		switch {
		case x.done != nil:
			x.done <- written // has room
		case written != nil:
			again = append(again, x)
		}
	}
	l.pending = append(again, l.pending...)
}

// Checkpoint is the newest signed checkpoint as a note; nil before the first.
func (l *Log) Checkpoint() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head.Note
}

// Sign makes a checkpoint of all that is durable now, if there is none yet, and
// returns the newest.
func (l *Log) Sign() ([]byte, error) {
	l.io.Lock()
	defer l.io.Unlock()
	err := l.checkpoint(true)
	return l.Checkpoint(), err
}

// Health is the log's account of itself.
type Health struct {
	Tree       string     // that is written to
	Leaves     int64      // in it
	Checkpoint Checkpoint // newest
	Waiting    int        // events not yet on disk
	Error      error      // why it cannot be written; nil: it can
	Damage     error      // what Open found: the log is not what was signed
}

// Health tells how the log is.
func (l *Log) Health() Health {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Health{Tree: l.head.Tree, Leaves: l.leaves, Checkpoint: l.head, Waiting: len(l.pending), Error: l.err, Damage: l.damage}
}

// Forget takes away, for good, who opened some recordings and why. The leaves
// stay.
func (l *Log) Forget(recordings ...string) error {
	l.io.Lock()
	defer l.io.Unlock()
	names, err := Trees(l.o.Root)
	if err != nil {
		return fmt.Errorf("forget details: %w", err)
	}
	for _, name := range names {
		if err := l.forgetIn(name, recordings); err != nil {
			return fmt.Errorf("forget details: %s: %w", name, err)
		}
	}
	return nil
}

// Close writes what waits and a last checkpoint, and gives the log back.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	close(l.stop)
	l.work.Wait()
	l.mu.Lock()
	err := l.err
	l.mu.Unlock()
	if l.tree != nil {
		err = errors.Join(err, l.tree.close())
	}
	if err = errors.Join(err, l.lock.Close()); err != nil {
		return fmt.Errorf("close audit log: %w", err)
	}
	return nil
}
