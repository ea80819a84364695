package audit

import (
	"time"

	"siprecd/store/audit/merkle"
	"siprecd/store/seal"
)

// batch is what one commit writes.
type batch struct {
	front   *merkle.Frontier // the tree with it
	lines   []byte
	hashes  []byte
	details string
	last    Kind
}

// add makes the next leaf of an event.
func (b *batch) add(e Event, box *seal.Box) error {
	e.N = b.front.N()
	if e.personal() {
		line, err := e.sealDetail(box)
		if err != nil {
			return err
		}
		b.details += line
	}
	leaf, err := e.leaf()
	if err != nil {
		return err
	}
	b.lines, b.last = appendLine(b.lines, leaf), e.Kind
	for _, h := range b.front.Add(leaf) {
		b.hashes = append(b.hashes, h[:]...)
	}
	return nil
}

// makeBatch turns events into leaves behind a tree's.
func makeBatch(front *merkle.Frontier, events []Event, box *seal.Box) (*batch, error) {
	b := &batch{front: front.Clone()}
	for _, e := range events {
		if err := b.add(e, box); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// instant is a time as leaves have it.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
