package disk

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func TestIDs(t *testing.T) {
	at := time.Date(2026, 3, 29, 0, 59, 59, 999e6, time.UTC)
	id := NewID(at)
	if id[6]>>4 != 7 || id[8]>>6 != 2 {
		t.Errorf("not a UUIDv7: %s", Name(id))
	}
	if got := FolderOf(id); got != "recordings/2026/03/29/"+Name(id) {
		t.Errorf("folder %s", got)
	}
	if back, err := ParseName(Name(id)); err != nil || back != id {
		t.Errorf("%v, %v", back, err)
	}
	for _, bad := range []string{"", "x", Name(id) + "00", strings.Repeat("g", 32)} {
		if _, err := ParseName(bad); err == nil {
			t.Errorf("%q is taken for an id", bad)
		}
	}
	later, floor := NewID(at.Add(time.Millisecond)), Floor(at)
	if bytes.Compare(id[:], later[:]) >= 0 || bytes.Compare(floor[:], id[:]) >= 0 {
		t.Error("ids are not in the order of time")
	}
	if early := Floor(time.Time{}); early != (ID{}) {
		t.Errorf("before 1970: %v", early)
	}
}

func TestPut(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	tree := NewTree(root)
	f, err := tree.Make("a/b/c")
	if err == nil {
		_, err = tree.Make("a/b/c")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"first", "second, longer", ""} {
		sum, err := f.Put("x", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		have, size, err := HashFile(root, "a/b/c/x")
		if err != nil || have != sum || sum != Hash([]byte(text)) || size != int64(len(text)) {
			t.Errorf("%q: %s %d, %v", text, have, size, err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := root.Stat("a/b/c/x.tmp"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left over: %v", err)
	}
	info, err := root.Stat("a/b/c/x")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := (Folder{root, "../.."}).Put("x", nil); err == nil {
		t.Error("a name leads out of the folder")
	}
}

func TestLock(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f, err := Lock(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(root); !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f, err = Lock(root)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
}

// TestProbe wants a folder that cannot be written to be told, and nothing left.
func TestProbe(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(dir+"/good", 0o700), os.WriteFile(dir+"/file", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := Probe(root, "good"); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir + "/good"); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	for _, name := range []string{"file", "none"} {
		if err := Probe(root, name); err == nil {
			t.Errorf("%s can be written", name)
		}
	}
	if err := root.Close(); err != nil {
		t.Fatal(err)
	}
}
