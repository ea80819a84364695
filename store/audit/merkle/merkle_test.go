package merkle

import (
	"bytes"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// A tree that grows leaf by leaf stores the hashes that tlog would, has tlog's
// root at each size, and can be taken up at each size from what it stored.
func TestFrontier(t *testing.T) {
	var (
		grown  Frontier
		stored []byte
		hashes []tlog.Hash
	)
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = hashes[x]
		}
		return out, nil
	})
	for n := range int64(70) {
		leaf := []byte{byte(n), byte(n * 7)}
		want, err := tlog.StoredHashes(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, want...)
		for _, h := range grown.Add(leaf) {
			stored = append(stored, h[:]...)
		}
		if int64(len(stored)) != tlog.StoredHashCount(n+1)*tlog.HashSize {
			t.Fatalf("%d leaves: %d bytes", n+1, len(stored))
		}
		root, err := tlog.TreeHash(n+1, reader)
		if err != nil {
			t.Fatal(err)
		}
		later, err := At(n+1, Stored{bytes.NewReader(stored)})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []*Frontier{&grown, grown.Clone(), later} {
			if got, err := f.Root(); err != nil || got != root || f.N() != n+1 {
				t.Fatalf("%d leaves: root %s, want %s, %v", n+1, got, root, err)
			}
		}
		if c := Compare(bytes.NewReader(stored)); c.Same(hashes) != int64(len(stored)) {
			t.Fatal("stored hashes are not tlog's")
		}
	}
	if _, err := At(71, Stored{bytes.NewReader(stored)}); err == nil {
		t.Error("a tree of more leaves than are stored")
	}
	stored[5*tlog.HashSize] ^= 1
	if c := Compare(bytes.NewReader(stored)); c.Same(hashes) != 5*tlog.HashSize || c.Same(hashes[:1]) != 0 {
		t.Error("a wrong hash is not seen")
	}
}
