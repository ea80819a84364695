package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"siprecd/store/audit/merkle"
	"siprecd/store/disk"
)

// tree is the tree that is written to.
type tree struct {
	root  *os.Root
	name  string
	month string // of its name
	front *merkle.Frontier
	last  Kind // of its newest leaf

	log, hashes, notes, details *os.File
	signed                      Checkpoint // newest; N 0: none
	cut                         int64      // bytes of half a line that a crash left, cut off at open
	broken                      bool       // a write failed: never written again
}

// flush makes bytes durable at the end of a file; a file that fails once is
// given up by its tree.
func (t *tree) flush(f *os.File, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		t.broken = true
	}
	return err
}

// add writes leaves and makes them durable: details first, so that no leaf
// speaks of a detail that was never written.
func (t *tree) add(b *batch) error {
	if len(b.details) > 0 {
		if err := t.flush(t.details, []byte(b.details)); err != nil {
			return err
		}
	}
	if err := t.flush(t.log, b.lines); err != nil {
		return err
	}
	t.front, t.last = b.front, b.last
	if _, err := t.hashes.Write(b.hashes); err != nil { // made anew from the leaves when it is missing
		t.broken = true
	}
	return nil
}

// sign makes the newest checkpoint and keeps it.
func (t *tree) sign(k *Key) (Checkpoint, error) {
	c, err := k.sign(t.name, t.front)
	if err != nil {
		return c, err
	}
	if err := t.flush(t.notes, append(bytes.Clone(c.Note), '\n')); err != nil {
		return c, fmt.Errorf("%w: keep checkpoint: %w", ErrUnwritten, err)
	}
	t.signed = c
	return c, nil
}

func (t *tree) close() error {
	var err error
	for _, f := range []*os.File{t.log, t.hashes, t.notes, t.details} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// files opens the tree's files for appending.
func (t *tree) files() (err error) {
	if t.log, err = create(t.root, path.Join(Dir, t.name+LogSuffix), os.O_APPEND); err != nil {
		return err
	}
	return t.sides()
}

// sides opens the files beside the log itself.
func (t *tree) sides() (err error) {
	if t.hashes, err = create(t.root, path.Join(Dir, t.name+HashSuffix), os.O_APPEND); err != nil {
		return err
	}
	if t.notes, err = create(t.root, path.Join(Dir, t.name+CheckpointSuffix), os.O_APPEND); err != nil {
		return err
	}
	t.details, err = create(t.root, path.Join(Dir, t.name+DetailSuffix), os.O_APPEND)
	return err
}

// newTree makes a tree with a first batch in it: it appears whole or not at
// all.
func newTree(root *os.Root, name string, b *batch) (_ *tree, err error) {
	t := &tree{root: root, name: name, month: name[7:], front: &merkle.Frontier{}}
	temp := path.Join(Dir, name+LogSuffix+".tmp")
	defer func() {
		if err != nil {
			_ = t.close()
			_ = disk.RemoveIfThere(root, temp) // leaves nothing that counts
		}
	}()
	for _, old := range []string{temp, path.Join(Dir, name+HashSuffix), path.Join(Dir, name+CheckpointSuffix), path.Join(Dir, name+DetailSuffix)} {
		if err := disk.RemoveIfThere(root, old); err != nil { // of a try that failed
			return nil, err
		}
	}
	if t.log, err = create(root, temp, os.O_APPEND); err != nil {
		return nil, err
	}
	if err := t.sides(); err != nil {
		return nil, err
	}
	if err := t.add(b); err != nil {
		return nil, err
	}
	if err := root.Rename(temp, path.Join(Dir, name+LogSuffix)); err != nil {
		return nil, err
	}
	return t, disk.SyncDir(root, Dir)
}

// resume opens the newest tree. Every leaf behind the newest checkpoint is hashed
// again, and all of them when the stored hashes are not those that it signed.
// What a crash left unfinished is cut off; what contradicts the checkpoint is
// ErrTampered, and nothing is changed. A change further up is for Verify.
func resume(root *os.Root, k *Key, name string) (*tree, error) {
	t := &tree{root: root, name: name, month: name[7:]}
	list, wholeNotes, bad, err := k.Stored(root, name)
	if err != nil {
		return nil, err
	}
	if len(bad) > 0 {
		return nil, fmt.Errorf("%w: %s%s: %w", ErrTampered, name, CheckpointSuffix, bad[0])
	}
	if len(list) > 0 {
		t.signed = list[len(list)-1]
	}
	scan, err := t.scan()
	if err != nil {
		return nil, err
	}
	if err := t.files(); err != nil {
		return nil, errors.Join(err, t.close())
	}
	if err := t.mend(scan, wholeNotes); err != nil {
		return nil, errors.Join(err, t.close())
	}
	t.signed.At = time.Time{}
	return t, nil
}

// scanned is what scan found of the files' ends.
type scanned struct {
	whole  int64 // bytes of whole lines in the log
	hashes int64 // bytes of the hash file that are right
}

// scan hashes the log and compares it with the checkpoint and the hash file.
func (t *tree) scan() (s scanned, err error) {
	log, err := t.root.Open(path.Join(Dir, t.name+LogSuffix))
	if err != nil {
		return s, err
	}
	defer log.Close()
	hashes, err := create(t.root, path.Join(Dir, t.name+HashSuffix), 0)
	if err != nil {
		return s, err
	}
	defer hashes.Close()
	s = t.skip(log, hashes)
	stored := merkle.Compare(bufio.NewReader(behind(hashes, s.hashes)))
	r := NewReader(behind(log, s.whole))
	from := s.whole
	for {
		leaf, err := r.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, ErrLine) {
			break
		}
		if err != nil {
			return s, err
		}
		added, err := t.take(leaf)
		if err != nil {
			return s, err
		}
		s.hashes += stored.Same(added)
	}
	s.whole = from + r.Offset()
	if t.front.N() == 0 || t.front.N() < t.signed.N {
		return s, fmt.Errorf("%w: %s%s has %d leaves, less than the %d of its newest checkpoint", ErrTampered, t.name, LogSuffix, t.front.N(), t.signed.N)
	}
	return s, nil
}

// behind reads a file from an offset on.
func behind(f *os.File, from int64) io.Reader {
	return io.NewSectionReader(f, from, math.MaxInt64-from)
}

// take adds a leaf that is in the file.
func (t *tree) take(leaf []byte) ([]tlog.Hash, error) {
	e, err := ParseLeaf(leaf)
	if err != nil || e.N != t.front.N() {
		return nil, fmt.Errorf("%w: %s%s: leaf %d", ErrTampered, t.name, LogSuffix, t.front.N())
	}
	t.last = e.Kind
	return t.front.Add(leaf), t.holds()
}

// holds compares the tree with its newest checkpoint once it is that large.
func (t *tree) holds() error {
	if t.front.N() != t.signed.N {
		return nil
	}
	root, err := t.front.Root()
	if err == nil && root != t.signed.Root {
		err = fmt.Errorf("%w: %s%s: the first %d leaves are not those of its newest checkpoint", ErrTampered, t.name, LogSuffix, t.signed.N)
	}
	return err
}

// mend cuts off what a crash left, and makes the hash file anew from where it
// is wrong.
func (t *tree) mend(s scanned, wholeNotes int64) error {
	size, err := t.log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if t.cut = size - s.whole; t.cut > 0 {
		if err := t.setAside(s.whole); err != nil {
			return err
		}
	}
	if err := errors.Join(cutTo(t.log, s.whole), cutTo(t.notes, wholeNotes), cutToLine(t.details), cutTo(t.hashes, s.hashes)); err != nil {
		return err
	}
	return t.rehash(s.hashes)
}

// setAside keeps what is cut off when it is more than half a line: who repairs
// a disk may want it.
func (t *tree) setAside(from int64) error {
	rest := make([]byte, min(t.cut, 1<<20))
	if _, err := t.log.ReadAt(rest, from); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if bytes.IndexByte(rest, '\n') < 0 {
		return nil
	}
	f := disk.Folder{Root: t.root, Path: Dir}
	_, err := f.Put(fmt.Sprintf("%s.cut-%d", t.name, from), rest)
	return err
}

// rehash appends the hashes that the file has not.
func (t *tree) rehash(have int64) error {
	if have == tlog.StoredHashCount(t.front.N())*tlog.HashSize {
		return nil
	}
	front, at := &merkle.Frontier{}, int64(0)
	var missing []byte
	err := linesOf(t.root, t.name, func(leaf []byte) error {
		for _, h := range front.Add(leaf) {
			if at >= have {
				missing = append(missing, h[:]...)
			}
			at += int64(len(h))
		}
		if len(missing) > 1<<16 || front.N() == t.front.N() {
			if _, err := t.hashes.Write(missing); err != nil {
				return err
			}
			missing = missing[:0]
		}
		return nil
	})
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return err
}

func cutTo(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() == size {
		return err
	}
	return errors.Join(f.Truncate(size), f.Sync())
}

// cutToLine cuts off half a line.
func cutToLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	tail := make([]byte, min(info.Size(), maxLine))
	if _, err := f.ReadAt(tail, info.Size()-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	end := bytes.LastIndexByte(tail, '\n') + 1
	return cutTo(f, info.Size()-int64(len(tail)-end))
}
