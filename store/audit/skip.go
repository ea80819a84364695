package audit

import (
	"bytes"
	"os"

	"golang.org/x/mod/sumdb/tlog"

	"siprecd/store/audit/merkle"
)

// skip goes behind the leaf at which the newest checkpoint was made, if the
// stored hashes have the root that it signed and that leaf is where it belongs:
// so that a start need not read a month of leaves. It says where to go on; all
// zero: at the beginning, and the scan will say what is wrong.
func (t *tree) skip(log, hashes *os.File) (s scanned) {
	t.front = &merkle.Frontier{}
	n, stored := t.signed.N, merkle.Stored{ReaderAt: hashes}
	if n == 0 {
		return s
	}
	root, err := tlog.TreeHash(n, stored)
	if err != nil || root != t.signed.Root {
		return s
	}
	newest, err := stored.ReadHashes([]int64{tlog.StoredHashIndex(0, n-1)})
	if err != nil {
		return s
	}
	front, err := merkle.At(n, stored)
	if err != nil {
		return s
	}
	end, e := findLeaf(log, n-1, newest[0])
	if end == 0 {
		return s
	}
	t.front, t.last = front, e.Kind
	return scanned{whole: end, hashes: tlog.StoredHashCount(n) * tlog.HashSize}
}

// findLeaf looks for a leaf in the last part of a log, and returns where its
// line ends; 0: it is not there.
func findLeaf(log *os.File, n int64, hash tlog.Hash) (end int64, e Event) {
	info, err := log.Stat()
	if err != nil {
		return 0, e
	}
	for _, part := range []int64{1 << 16, 1 << 20, 1 << 24} {
		at := max(0, info.Size()-part)
		tail := make([]byte, info.Size()-at)
		if _, err := log.ReadAt(tail, at); err != nil {
			return 0, e
		}
		for line := range bytes.Lines(tail) {
			at += int64(len(line))
			leaf, err := SplitLine(line) // not for half a line at either end
			if err != nil || tlog.RecordHash(leaf) != hash {
				continue
			}
			if e, err = ParseLeaf(leaf); err == nil && e.N == n {
				return at, e
			}
		}
		if part >= info.Size() {
			break
		}
	}
	return 0, e
}
