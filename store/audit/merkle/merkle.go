// Package merkle is the arithmetic of a growing RFC 6962 tree: what must be kept
// of it in memory, and its hashes in a file, in the order of tlog.StoredHashIndex.
//
//	leaf ─► Frontier.Add ─► hashes that it completes ─► file
//	file ─► At(n) ─► Frontier, without any leaf
//
// It promises nothing about the file: a hash in it is what it is, and Compare
// and the root say whether it is right.
package merkle

import (
	"fmt"
	"io"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// A Frontier is what must be known of a tree to make it grow and to tell its
// root: one hash a level, whatever its size. The zero value is the empty tree.
type Frontier struct {
	n     int64
	level []tlog.Hash // of the newest whole subtree of 2^i leaves, where bit i of n is set
	done  []tlog.Hash // what Add returned
}

// N is the number of leaves.
func (f *Frontier) N() int64 { return f.n }

// Add appends a leaf and returns the hashes that it completes, in the order in
// which they are stored (tlog.StoredHashIndex), its own first. They are valid
// until the next Add.
func (f *Frontier) Add(leaf []byte) []tlog.Hash {
	h := tlog.RecordHash(leaf)
	f.done = append(f.done[:0], h)
	level := 0
	for ; f.n>>level&1 == 1; level++ { // a whole subtree stands on its left
		h = tlog.NodeHash(f.level[level], h)
		f.done = append(f.done, h)
	}
	if level == len(f.level) {
		f.level = append(f.level, h)
	}
	f.level[level] = h
	f.n++
	return f.done
}

// Root is the tree's root.
func (f *Frontier) Root() (tlog.Hash, error) { return tlog.TreeHash(f.n, tlog.HashReaderFunc(f.read)) }

func (f *Frontier) read(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		level, _ := tlog.SplitStoredHashIndex(x)
		if level >= len(f.level) {
			return nil, fmt.Errorf("no hash on level %d of a tree of %d leaves", level, f.n)
		}
		out[i] = f.level[level]
	}
	return out, nil
}

// Clone is a copy that grows on its own.
func (f *Frontier) Clone() *Frontier {
	return &Frontier{n: f.n, level: append([]tlog.Hash(nil), f.level...)}
}

// Stored reads a tree's stored hashes by their places (tlog.StoredHashIndex).
type Stored struct{ io.ReaderAt }

// ReadHashes implements tlog.HashReader.
func (h Stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if _, err := h.ReadAt(out[i][:], x*tlog.HashSize); err != nil {
			return nil, fmt.Errorf("read hash %d: %w", x, err)
		}
	}
	return out, nil
}

// At is the frontier of a tree of n leaves, from its stored hashes.
func At(n int64, stored Stored) (*Frontier, error) {
	f := &Frontier{n: n, level: make([]tlog.Hash, bits.Len64(uint64(n)))}
	for i := range f.level {
		if n>>i&1 == 0 {
			continue // nothing looks there before Add has filled it
		}
		h, err := stored.ReadHashes([]int64{tlog.StoredHashIndex(i, n>>i-1)})
		if err != nil {
			return nil, err
		}
		f.level[i] = h[0]
	}
	return f, nil
}

// A Comparison holds stored hashes against those of leaves that are read.
type Comparison struct {
	in    io.Reader
	wrong bool // from here on
}

// Compare reads stored hashes from in.
func Compare(in io.Reader) *Comparison { return &Comparison{in: in} }

// Same compares the next hashes and returns how many bytes of them are right;
// after the first that is not, none is.
func (s *Comparison) Same(want []tlog.Hash) (right int64) {
	for _, w := range want {
		var have tlog.Hash
		if s.wrong {
			return right
		}
		if _, err := io.ReadFull(s.in, have[:]); err != nil || have != w {
			s.wrong = true
			return right
		}
		right += tlog.HashSize
	}
	return right
}
