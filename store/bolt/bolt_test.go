package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func options() Options {
	return Options{Buckets: []string{"b"}, Logger: slog.New(slog.DiscardHandler)}
}

func put(d *DB, key, value string) error {
	return d.Update(func(tx *Tx) error { return tx.Bucket([]byte("b")).Put([]byte(key), []byte(value)) })
}

func get(t *testing.T, d *DB, key string) (value string) {
	t.Helper()
	err := d.View(func(tx *Tx) error {
		value = string(tx.Bucket([]byte("b")).Get([]byte(key)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func open(t *testing.T, path string, o Options) *DB {
	t.Helper()
	d, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestGroup lets many write at once, one of them badly: only that one fails.
func TestGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	d := open(t, path, options())
	bad := errors.New("bad")
	var work sync.WaitGroup
	for i := range 100 {
		work.Go(func() {
			var err error
			if i == 50 {
				if err = d.Update(func(tx *Tx) error { return bad }); !errors.Is(err, bad) {
					t.Errorf("bad one: %v", err)
				}
				return
			}
			if err = put(d, fmt.Sprint(i), "v"); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, path, Options{ReadOnly: true, Logger: options().Logger})
	for i := range 100 {
		if got := get(t, d, fmt.Sprint(i)); (got == "v") == (i == 50) {
			t.Errorf("key %d: %q", i, got)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Dir(path) + "/*"); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// TestCompact checks that a deleted value is gone from the file after Compact,
// and not before: else the test could not fail.
func TestCompact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	d := open(t, path, options())
	if err := errors.Join(put(d, "keep", "kept"), put(d, "gone", "a deleted secret")); err != nil {
		t.Fatal(err)
	}
	if err := d.Update(func(tx *Tx) error { return tx.Bucket([]byte("b")).Delete([]byte("gone")) }); err != nil {
		t.Fatal(err)
	}
	has := func() bool {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(data, []byte("a deleted secret"))
	}
	if !has() {
		t.Error("the deleted value is gone before compacting: this test shows nothing")
	}
	if err := d.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if has() {
		t.Error("the deleted value is still in the file")
	}
	if err := put(d, "more", "written after"); err != nil {
		t.Fatal(err)
	}
	if get(t, d, "keep") != "kept" || get(t, d, "more") != "written after" {
		t.Error("values lost")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDamaged opens files that are no databases, or no longer.
func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	d := open(t, path, options())
	for i := range 60 {
		if err := put(d, fmt.Sprintf("key %04d", i), "0123456789"); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"zeroes":  make([]byte, len(good)),
		"short":   good[:100],
		"cut":     good[:3*4096],
		"foreign": bytes.Repeat([]byte("not a database. "), 4096),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if d, err := Open(path, options()); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
			if err == nil {
				_ = d.Close()
			}
		}
	}
	mangled := bytes.Clone(good) // pages overwritten, meta pages whole
	for i := 2 * 4096; i < len(mangled); i++ {
		mangled[i] ^= 0xa5
	}
	if err := os.WriteFile(path, mangled, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err = Open(path, Options{ReadOnly: true, Logger: options().Logger})
	if err == nil {
		err = d.Check(func([]string, []byte, []byte) error { return nil })
		_ = d.Close()
	}
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("mangled pages: %v", err)
	}
}

// TestMetas damages each meta page in each of its parts: bbolt opens the file
// with the other one, Check says so.
func TestMetas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	d := open(t, path, options())
	for i := range 7 {
		if err := put(d, "key", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		if err := checkMetas(path); err != nil {
			t.Errorf("after %d commits: %v", i+1, err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func() error {
		d := open(t, path, Options{ReadOnly: true, Logger: options().Logger})
		return errors.Join(d.Check(func([]string, []byte, []byte) error { return nil }), d.Close())
	}
	for page := range 2 {
		for _, at := range []int{0, 8, pageHeader, pageHeader + 4, pageHeader + txidAt, pageHeader + sumAt} {
			bad := bytes.Clone(good)
			bad[page*os.Getpagesize()+at] ^= 1
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := check(); !errors.Is(err, ErrDamaged) {
				t.Errorf("meta page %d, byte %d flipped: %v", page, at, err)
			}
		}
	}
	old := bytes.Clone(good) // the newest page as it was two transactions ago
	copy(old[:os.Getpagesize()], make([]byte, os.Getpagesize()))
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkMetas(path); err == nil {
		t.Error("a page of zeroes passes")
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := check(); err != nil {
		t.Error(err)
	}
}

// TestIntact takes the file away, and puts another in its place.
func TestIntact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	d := open(t, path, options())
	if err := errors.Join(put(d, "a", "b"), d.Intact(), d.Compact(t.Context()), d.Intact()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.Rename(path, path+".away")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Intact(); !errors.Is(err, ErrDamaged) {
		t.Errorf("removed: %v", err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Intact(); !errors.Is(err, ErrDamaged) {
		t.Errorf("replaced: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// A file that was read takes no memory once it is released, and reads the same
// again.
func TestReleaseUnmapsWhatWasRead(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the system does not tell")
	}
	d := open(t, filepath.Join(t.TempDir(), "x.db"), options())
	value := bytes.Repeat([]byte("siprecd "), 1<<20)
	if err := d.Update(func(tx *Tx) error { return tx.Bucket([]byte("b")).Put([]byte("k"), value) }); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		read(t, d, value)
		before := fileMemory(t)
		d.Release()
		if freed := before - fileMemory(t); freed < len(value)/2 {
			t.Errorf("%d bytes given back of %d read", freed, len(value))
		}
	}
}

func read(t *testing.T, d *DB, want []byte) {
	t.Helper()
	err := d.View(func(tx *Tx) error {
		if !bytes.Equal(tx.Bucket([]byte("b")).Get([]byte("k")), want) {
			t.Error("another value")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// fileMemory is how much of this process's memory are pages of files, in bytes.
func fileMemory(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "RssFile:")
	var kb int
	if _, err := fmt.Sscan(after, &kb); err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// TestInit is what a new file is never without: it is in it before the file has
// its name, and a file that cannot be given it is not made.
func TestInit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	o, calls := options(), 0
	refuse := errors.New("no")
	o.Init = func(*Tx) error { return refuse }
	if _, err := Open(path, o); !errors.Is(err, refuse) {
		t.Errorf("opened: %v", err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	o.Init = func(tx *Tx) error {
		calls++
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file is there: %v", err)
		}
		return tx.Bucket([]byte("b")).Put([]byte("a"), []byte("salt"))
	}
	for range 2 { // made, opened
		d := open(t, path, o)
		if got := get(t, d, "a"); got != "salt" {
			t.Errorf("%q", got)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 1 {
		t.Errorf("filled %d times", calls)
	}
}
