// Package prove checks an audit log from outside: it reads the files, computes
// every tree anew and holds it against every checkpoint that it is given.
//
//	.log ─► leaves ─► root at N ═ checkpoint at N ?   stored ones, the chain's, those from outside
//	                │
//	                └─ hash of leaf n ═ .hashes ?     only to say where the difference is
//
// A checkpoint proves the leaves below it, all of them and their order; so the
// newest one from outside decides what is proven. The hash file proves nothing
// (who changes a leaf can change it too), but with it most changes are named to
// the leaf. Without it they are known to lie between two checkpoints, which are
// a minute apart.
//
// It changes nothing, and may run beside the recorder.
package prove

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"siprecd/store/audit"
	"siprecd/store/seal"
)

// What is wrong with a leaf, a file or a tree.
const (
	Edited    = "edited"    // the leaf is not the one that was signed
	Deleted   = "deleted"   // leaves are missing
	Inserted  = "inserted"  // leaves are too many
	Swapped   = "swapped"   // leaves have changed places
	Truncated = "truncated" // the newest leaves are missing
	Rebuilt   = "rebuilt"   // log and hashes agree, but not with what was signed
	Forged    = "forged"    // a checkpoint's signature does not fit
	Chain     = "chain"     // a tree is missing, or does not follow on the one before
	Damaged   = "damaged"   // a file beside the log
)

// Fault is one thing that is wrong, and where.
type Fault struct {
	File      string // below the store's folder
	Kind      string // one of the words above
	Leaf      int64  // the first that it is about; -1: none can be named
	Recording string // of that leaf as it stands there; "" when it names none
	Err       error
}

// String is the fault on one line.
func (f Fault) String() string { return fmt.Sprintf("%s: %s: %v", f.File, f.Kind, f.Err) }

// Options say what is checked against what.
type Options struct {
	Root    *os.Root
	Key     *audit.Key
	Box     *seal.Box // to open the details; nil: they are not opened
	Running bool      // a recorder writes meanwhile: half a line at the end is no fault
	Outside []byte    // text with checkpoints that were kept elsewhere: notes, or lines of a system log
	Found   func(Fault)
	Event   func(audit.Event) // gets every leaf that can be read, tree by tree, the newest tree first; nil: nobody
}

// Summary is what was proven.
type Summary struct {
	Trees   int
	Leaves  int64
	Stored  int                // checkpoints in the folder that hold
	Outside int                // checkpoints from outside that hold
	Newest  audit.Checkpoint   // of those in the folder
	Proven  []audit.Checkpoint // from outside, that hold: one a tree, the newest
}

// mark is a root that a tree must have at a size, and who says so.
type mark struct {
	audit.Checkpoint
	who     string
	outside bool
	last    bool // nothing may follow: a later tree was begun after it
}

const storedMark = "a stored checkpoint"

// Verify checks the whole log. The error says that it could not be read;
// faults are given to Found.
func Verify(o Options) (s Summary, err error) {
	if o.Event == nil {
		o.Event = func(audit.Event) {}
	}
	v := &verifier{o: o, marks: map[string][]mark{}, firsts: map[string]audit.Event{}}
	names, err := audit.Trees(o.Root)
	if err != nil {
		return s, fmt.Errorf("verify the audit log: %w", err)
	}
	s.Trees = len(names)
	v.outside(names)
	for _, name := range slices.Backward(names) { // the newest first: it says how the one before ended
		if err := v.tree(name, &s); err != nil {
			return s, fmt.Errorf("verify the audit log: %s: %w", name, err)
		}
		v.first(name)
	}
	v.chain(names)
	return s, nil
}

type verifier struct {
	o      Options
	marks  map[string][]mark // by tree: what is known of it beside its own file
	firsts map[string]audit.Event
}

func (v *verifier) report(file, kind string, leaf int64, format string, args ...any) {
	v.o.Found(Fault{File: path.Join(audit.Dir, file), Kind: kind, Leaf: leaf, Err: fmt.Errorf(format, args...)})
}

// outside reads the checkpoints that were kept elsewhere.
func (v *verifier) outside(names []string) {
	if v.o.Outside == nil {
		return
	}
	notes := findNotes(v.o.Outside)
	if len(notes) == 0 {
		v.report("", Forged, -1, "there is no checkpoint in what was given")
	}
	for i, text := range notes {
		c, err := v.o.Key.Read(text)
		switch {
		case err != nil:
			v.report("", Forged, -1, "checkpoint %d of those given: %w", i+1, err)
		case !slices.Contains(names, c.Tree):
			v.report(c.Tree+audit.LogSuffix, Chain, -1, "the tree is not here, of which a checkpoint at %d leaves was given", c.N)
		default:
			v.marks[c.Tree] = append(v.marks[c.Tree], mark{Checkpoint: c, who: "the checkpoint given", outside: true})
		}
	}
}

// tree checks one tree against its own checkpoints and the others.
func (v *verifier) tree(name string, s *Summary) error {
	list, whole, bad, err := v.o.Key.Stored(v.o.Root, name)
	if err != nil {
		return err
	}
	v.torn(name+audit.CheckpointSuffix, whole)
	for _, err := range bad {
		v.report(name+audit.CheckpointSuffix, Forged, -1, "%w", err)
	}
	marks := v.marks[name]
	for _, c := range list {
		marks = append(marks, mark{Checkpoint: c, who: storedMark})
	}
	slices.SortStableFunc(marks, func(a, b mark) int { return int(a.N - b.N) })
	t, err := v.read(name, marks)
	if err != nil {
		return err
	}
	s.Leaves += t.n
	s.Stored += len(list) - t.badStored
	s.Outside += t.held
	if t.proven.N > 0 {
		s.Proven = append(s.Proven, t.proven)
	}
	if s.Newest.N == 0 && len(list) > 0 {
		s.Newest = list[len(list)-1]
	}
	v.judge(t)
	v.end(t, marks)
	return v.details(name)
}

// end tells what stands behind the last leaf of a tree.
func (v *verifier) end(t *reading, marks []mark) {
	file := t.name + audit.LogSuffix
	if t.torn {
		v.torn(file, t.whole)
	}
	for _, m := range marks {
		if m.last && len(t.bad) == 0 && t.n > m.N {
			v.report(file, Inserted, m.N, "%d line(s) stand behind the end of the tree, leaf %d", t.n-m.N, m.N-1)
		}
	}
}

// torn tells bytes at the end of a file that are no whole line or checkpoint.
// A crash leaves them, and the next start cuts them off.
func (v *verifier) torn(file string, whole int64) {
	info, err := v.o.Root.Stat(path.Join(audit.Dir, file))
	if err == nil && info.Size() > whole && !v.o.Running {
		v.report(file, Damaged, -1, "%d byte(s) at the end are nothing whole: a crash leaves that, and the next start cuts it off", info.Size()-whole)
	}
}

// first remembers how a tree begins: with a leaf that names the one before.
func (v *verifier) first(name string) {
	f, err := v.o.Root.Open(path.Join(audit.Dir, name+audit.LogSuffix))
	if err != nil {
		return // said already
	}
	defer f.Close()
	leaf, err := audit.NewReader(f).Next()
	if err != nil {
		return
	}
	e, err := audit.ParseLeaf(leaf)
	if err != nil {
		return
	}
	v.firsts[name] = e
	if c, ok := audit.ParsePrev(e.Prev); ok && c.N > 0 {
		v.marks[c.Tree] = append(v.marks[c.Tree], mark{Checkpoint: c, who: "the first leaf of " + name, last: e.Result == ""})
	}
}

// chain checks that no tree is missing and that each follows on the one before.
func (v *verifier) chain(names []string) {
	before := ""
	for _, name := range names {
		if e, ok := v.firsts[name]; ok { // else it was said already
			v.link(name, before, e)
		}
		before = name
	}
}

// link checks a tree's first leaf; before is the tree before it, "" for none.
func (v *verifier) link(name, before string, e audit.Event) {
	c, named := audit.ParsePrev(e.Prev)
	file := name + audit.LogSuffix
	switch {
	case e.Kind != audit.Tree || e.N != 0:
		v.report(file, Chain, 0, "it does not begin as a tree does")
	case named && c.Tree == before:
	case e.Prev != "" && !named:
		v.report(file, Chain, 0, "it names no tree before")
	case before != "":
		v.report(file, Chain, 0, "it follows on %q, and %s is before it", c.Tree, before)
	case named:
		v.report(file, Chain, 0, "it follows on %s, which is not here", c.Tree)
	case audit.SeqOf(name) != 1:
		v.report(file, Chain, 0, "it names no tree before, and is not the first")
	}
}

// details checks that what is sealed beside the leaves opens. A failed write may
// leave some that no leaf speaks of.
func (v *verifier) details(name string) error {
	if v.o.Box == nil {
		return nil
	}
	file := name + audit.DetailSuffix
	_, err := audit.Details(v.o.Root, name, v.o.Box, func(line int, err error) {
		v.report(file, Damaged, -1, "line %d: %w", line, err)
	})
	return err
}

// storedHashes reads a tree's hash file; none when there is no such file.
func storedHashes(root *os.Root, name string) ([]byte, error) {
	data, err := root.ReadFile(path.Join(audit.Dir, name+audit.HashSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// leavesOf takes the hashes of the leaves out of stored hashes, as far as they
// go.
func leavesOf(data []byte) (out []tlog.Hash) {
	for n := int64(0); ; n++ {
		at := tlog.StoredHashIndex(0, n) * tlog.HashSize
		if at+tlog.HashSize > int64(len(data)) {
			return out
		}
		out = append(out, tlog.Hash(data[at:]))
	}
}
