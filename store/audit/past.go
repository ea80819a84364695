package audit

import (
	"slices"
)

// past is what the log knows of recordings: which are begun and not ended. It is
// wanted after a crash only, and read then.
type past struct {
	open  map[string]bool
	ended []Event // the newest endings, kind and recording
}

// recentEndings is how many endings are remembered: a crash can come between
// the leaf and the catalogue, but not long after the leaf.
const recentEndings = 1024

func (p *past) follow(e Event) {
	switch e.Kind {
	case Made:
		p.open[e.Recording] = true
	case Finished, Interrupted, Discarded, Erased:
		delete(p.open, e.Recording)
		if p.ended = append(p.ended, Event{Kind: e.Kind, Recording: e.Recording}); len(p.ended) > 2*recentEndings {
			p.ended = slices.Delete(p.ended, 0, recentEndings)
		}
	}
}

// remembered reads the past from the newest two trees: a recording that is open
// may have begun in the one before. A line that is none ends a tree, and is for
// Verify to tell. The caller holds io.
func (l *Log) remembered() *past {
	if l.past != nil {
		return l.past
	}
	l.past = &past{open: map[string]bool{}}
	names, err := Trees(l.o.Root)
	for _, name := range names[max(0, len(names)-2):] {
		_ = linesOf(l.o.Root, name, func(leaf []byte) error { // its end is an error too
			e, err := ParseLeaf(leaf)
			if err == nil {
				l.past.follow(e)
			}
			return err
		})
	}
	if err != nil {
		l.log.Warn("the audit log cannot be looked through", "err", err)
	}
	return l.past
}

// Crashed says that the newest leaf is not that of a clean stop.
func (l *Log) Crashed() bool {
	l.io.Lock()
	defer l.io.Unlock()
	return l.tree != nil && l.tree.last != Stopped
}

// IsOpen says that a recording is begun in the log, and not ended.
func (l *Log) IsOpen(recording string) bool {
	l.io.Lock()
	defer l.io.Unlock()
	return l.remembered().open[recording]
}

// Ending is how a recording has ended in the log, lately; "": it has not.
func (l *Log) Ending(recording string) (kind Kind) {
	l.io.Lock()
	defer l.io.Unlock()
	for _, e := range l.remembered().ended {
		if e.Recording == recording {
			kind = e.Kind
		}
	}
	return kind
}
