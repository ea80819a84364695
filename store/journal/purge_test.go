package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestPurge destroys one recording's frames while another is live in the same
// file: the other keeps all of its own, and the first one's id is in no file.
func TestPurge(t *testing.T) {
	dir, h := t.TempDir(), host(t)
	j := start(t, dir, h)
	gone, stays := [16]byte{0xab, 1, 2, 3, 4, 5, 6, 7}, [16]byte{0xcd, 9}
	a, b := j.Stream(gone, 10), j.Stream(stays, 10)
	write(a, 0, 10)
	write(b, 0, 5)
	flush(t, j)
	write(b, 5, 9)
	a.Close()
	flush(t, j)
	holds := func() (n int) {
		files, _ := filepath.Glob(filepath.Join(dir, "journal-*.db"))
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			n += bytes.Count(data, gone[:])
		}
		return n
	}
	if holds() == 0 {
		t.Fatal("the recording is in no file before: this test shows nothing")
	}
	began := time.Now()
	if err := j.Purge(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if n := holds(); n != 0 {
		t.Errorf("%d entries of it are left after %v", n, time.Since(began))
	}
	check(t, j, Segment{stays, 0}, 0, 9)
	write(b, 9, 12)
	flush(t, j)
	check(t, j, Segment{stays, 0}, 0, 10)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = start(t, dir, h) // the same after a crash
	check(t, j, Segment{stays, 0}, 0, 10)
	check(t, j, Segment{stays, 1}, 6, 12)
	if err := j.Purge(t.Context(), stays); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "journal-*.db")); len(files) != 0 {
		t.Errorf("left %v", files)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
