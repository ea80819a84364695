package prove

import (
	"bufio"
	"errors"
	"io"
	"path"

	"golang.org/x/mod/sumdb/tlog"

	"siprecd/store/audit"
	"siprecd/store/audit/merkle"
)

// reading is what one pass over a tree's log found.
type reading struct {
	name   string
	n      int64       // lines
	leaves []tlog.Hash // of each line
	events []brief
	stored []tlog.Hash // of leaves, from the hash file
	misfit int64       // the first leaf that completes a hash which is another in the hash file; -1: none
	good   int64       // the largest mark that holds
	bad    []mark      // marks that do not
	torn   bool        // half a line at the end
	whole  int64       // bytes before it

	badStored, held int // stored checkpoints that do not hold; outside ones that do
	proven          audit.Checkpoint
}

// brief is what is remembered of a leaf.
type brief struct {
	n         int64  // as it says itself; -1: it is no leaf
	recording string //
}

// maxLine is more than any line that the log writes.
const maxLine = 8192

// read computes the tree and holds it against the marks, which go by size. A
// line that is no leaf is hashed as it is, so that what follows keeps its place.
func (v *verifier) read(name string, marks []mark) (*reading, error) {
	t := &reading{name: name, misfit: -1}
	hashes, err := storedHashes(v.o.Root, name) // before the log: they are written after it
	if err != nil {
		return nil, err
	}
	t.stored = leavesOf(hashes)
	f, err := v.o.Root.Open(path.Join(audit.Dir, name+audit.LogSuffix))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var front merkle.Frontier
	in := bufio.NewReaderSize(f, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			t.torn = len(line) > 0
			break
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		leaf := v.note(t, line)
		t.whole += int64(len(line))
		added := front.Add(leaf)
		t.leaves = append(t.leaves, added[0])
		hashes = t.compare(added, hashes)
		t.n++
		if marks, err = t.hold(&front, marks); err != nil {
			return nil, err
		}
	}
	for _, m := range marks { // beyond the end
		t.fail(m)
	}
	return t, nil
}

// compare holds the hashes that a leaf completes against the stored ones and
// returns those that follow.
func (t *reading) compare(added []tlog.Hash, stored []byte) []byte {
	for _, h := range added {
		if len(stored) < len(h) {
			return nil
		}
		if t.misfit < 0 && h != tlog.Hash(stored) {
			t.misfit = t.n
		}
		stored = stored[len(h):]
	}
	return stored
}

// note remembers a line, and returns what is hashed of it.
func (v *verifier) note(t *reading, line []byte) []byte {
	leaf, err := audit.SplitLine(line)
	if err != nil {
		t.events = append(t.events, brief{n: -1})
		return line
	}
	e, err := audit.ParseLeaf(leaf)
	if err != nil {
		t.events = append(t.events, brief{n: -1})
		return leaf
	}
	t.events = append(t.events, brief{e.N, e.Recording})
	v.o.Event(e)
	return leaf
}

// hold compares the tree with the marks at its size and returns the others.
func (t *reading) hold(front *merkle.Frontier, marks []mark) ([]mark, error) {
	for len(marks) > 0 && marks[0].N <= front.N() {
		m := marks[0]
		marks = marks[1:]
		if m.N < front.N() {
			continue // at no leaf at all: an empty tree proves nothing
		}
		root, err := front.Root()
		if err != nil {
			return nil, err
		}
		if root != m.Root {
			t.fail(m)
			continue
		}
		t.good = max(t.good, m.N)
		if m.outside {
			t.held++
			t.proven = m.Checkpoint
		}
	}
	return marks, nil
}

func (t *reading) fail(m mark) {
	t.bad = append(t.bad, m)
	if m.who == storedMark {
		t.badStored++
	}
}
