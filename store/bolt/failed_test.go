package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestFailed breaks the file under a database: one that may move carries on in
// a new file within the same Update, one that may not says so and stays.
func TestFailed(t *testing.T) {
	for _, noRotate := range []bool{false, true} {
		o := options()
		o.NoRotate = noRotate
		dir := t.TempDir()
		d := open(t, filepath.Join(dir, "x.db"), o)
		if err := put(d, "before", "1"); err != nil {
			t.Fatal(err)
		}
		if err := d.file.Close(); err != nil { // every write fails from now on
			t.Fatal(err)
		}
		err := put(d, "after", "2")
		switch {
		case noRotate && (!errors.Is(err, ErrFailed) || d.Failed() == nil):
			t.Errorf("stays: %v, %v", err, d.Failed())
		case !noRotate && (err != nil || d.Failed() != nil || get(t, d, "before") != "1" || get(t, d, "after") != "2"):
			t.Errorf("moves: %v, %v", err, d.Failed())
		}
		if noRotate && get(t, d, "before") != "1" {
			t.Error("what was written cannot be read")
		}
		_ = d.Close()
	}
}

// TestMend has neither a file that can be written nor room for a new one; once
// there is room again Mend goes on there.
func TestMend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	d := open(t, path, options())
	if err := put(d, "before", "1"); err != nil {
		t.Fatal(err)
	}
	if err := d.Mend(); err != nil {
		t.Errorf("nothing to mend: %v", err)
	}
	if err := os.MkdirAll(path+tempSuffix+"/in the way", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := put(d, "lost", "2"); !errors.Is(err, ErrFailed) || d.Failed() == nil {
		t.Fatalf("wrote: %v, %v", err, d.Failed())
	}
	if err := os.RemoveAll(path + tempSuffix); err != nil {
		t.Fatal(err)
	}
	d.tried = d.tried.Add(-tryEvery)
	if err := d.Mend(); err != nil || d.Failed() != nil {
		t.Fatalf("mend: %v, %v", err, d.Failed())
	}
	if err := put(d, "after", "3"); err != nil || get(t, d, "before")+get(t, d, "after") != "13" {
		t.Errorf("after: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestNothingLeftBehind cannot make a new file, again and again: what was begun
// of it is taken away.
func TestNothingLeftBehind(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.Buckets = []string{""} // no name for a bucket
	for range 3 {
		if d, err := Open(filepath.Join(dir, "x.db"), o); err == nil {
			_ = d.Close()
			t.Fatal("opened")
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v left behind, %v", left, err)
	}
}
