package store

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"siprecd/store/audit"
	"siprecd/store/catalog"
	"siprecd/store/disk"
	"siprecd/store/seal"
)

func findings(t *testing.T, h house) (list []Finding) {
	t.Helper()
	if err := Verify(t.Context(), h.dir, h.log, func(f Finding) { list = append(list, f) }); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestVerifyFlips flips one byte at several places of every file of a closed
// store and demands a finding that names the file, and the recording where the
// file is one recording's.
func TestVerifyFlips(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Segment = time.Second; o.Tick = 10 * time.Millisecond })
	id := record(t, s, fake(120))
	record(t, s, nil)
	shut(t, s)
	verifyClean(t, h)
	err := filepath.WalkDir(h.dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		rel, _ := filepath.Rel(h.dir, name)
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		n := len(data)
		for _, at := range []int{0, n / 3, n - 1} {
			if at < 0 || at >= n {
				continue
			}
			for _, mask := range []byte{0x01, 0x20} {
				flipped := append([]byte(nil), data...)
				flipped[at] ^= mask
				if err := os.WriteFile(name, flipped, 0o600); err != nil {
					return err
				}
				expectFinding(t, findings(t, h), rel, id, at)
			}
		}
		return os.WriteFile(name, data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	verifyClean(t, h)
}

func expectFinding(t *testing.T, list []Finding, file, id string, at int) {
	t.Helper()
	for _, f := range list {
		if f.File == file && (!strings.Contains(file, id) || f.Recording == id) {
			return
		}
	}
	t.Errorf("byte %d of %s flipped: findings %v", at, file, list)
}

// TestVerifyUnstamped does the same to the databases without the stamp of a
// clean stop: pieces in use are still found, and nothing crashes.
func TestVerifyUnstamped(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Tick = 10 * time.Millisecond })
	record(t, s, fake(60))
	shut(t, s)
	h.log = slog.New(slog.DiscardHandler)
	if err := os.Remove(filepath.Join(h.dir, "closed.json")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"catalog.db", "keys.db"} {
		file := filepath.Join(h.dir, name)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found, tries := 0, 0
		step := min(len(data), 64<<10) / 80
		for at := 0; at < min(len(data), 64<<10); at += step {
			tries++
			flipped := append([]byte(nil), data...)
			flipped[at] ^= 0x10
			if err := os.WriteFile(file, flipped, 0o600); err != nil {
				t.Fatal(err)
			}
			if len(findings(t, h)) > 0 {
				found++
			}
		}
		t.Logf("%s: %d of %d flips found", name, found, tries)
		if found == 0 {
			t.Errorf("%s: no flip found", name)
		}
		for _, n := range []int{0, 100, 4096, 12 << 10} { // cut short
			if err := os.WriteFile(file, data[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			if len(findings(t, h)) == 0 {
				t.Errorf("%s cut to %d of %d bytes: no finding", name, n, len(data))
			}
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVerifyMissing removes and adds files.
func TestVerifyMissing(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Segment = time.Second; o.Tick = 10 * time.Millisecond })
	id := record(t, s, fake(120))
	other := record(t, s, fake(20))
	shut(t, s)
	full, err := disk.ParseName(id)
	if err != nil {
		t.Fatal(err)
	}
	folder := disk.FolderOf(full)
	for _, name := range []string{"000001.opus.age", DetailsFile, ManifestFile, SignatureFile} {
		rel := folder + "/" + name
		file := filepath.Join(h.dir, rel)
		if err := os.Rename(file, file+".away"); err != nil {
			t.Fatal(err)
		}
		list := findings(t, h)
		expectFinding(t, list, rel, id, -1)
		if err := os.Rename(file+".away", file); err != nil {
			t.Fatal(err)
		}
	}
	extra := filepath.Join(h.dir, folder, "extra")
	if err := os.WriteFile(extra, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	expectFinding(t, findings(t, h), folder+"/extra", id, -1)
	if err := os.RemoveAll(filepath.Join(h.dir, folder)); err != nil {
		t.Fatal(err)
	}
	list := findings(t, h)
	expectFinding(t, list, folder, id, -1)
	for _, f := range list {
		if f.Recording == other {
			t.Errorf("the other recording is blamed: %v", f)
		}
	}
}

// TestVerifyVanished takes every trace of a recording out of what a killed
// recorder left, but for the leaf that it was begun.
func TestVerifyVanished(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Segment = time.Second; o.Tick = 10 * time.Millisecond })
	record(t, s, fake(10))
	gone, unwanted := begin(t, s, 80), begin(t, s, 10)
	until(t, patience, "a segment is sealed", func() bool { row, err := s.Get(gone.ID()); return err == nil && row.Segments == 1 })
	unwanted.Discard()
	until(t, patience, "it is discarded", func() bool { return count(booked(t, h), audit.Discarded, unwanted.ID()) == 1 })
	verifyClean(t, h) // with a live one
	cut := h.cutOff(t)
	shut(t, s)
	verifyClean(t, cut)
	vanish(t, cut, gone)
	expectVanished(t, cut, gone.ID())
	s = cut.open(t) // which lets go of its audio, and must not make the log fit
	shut(t, s)
	expectVanished(t, cut, gone.ID())
}

// vanish deletes a recording that a killed recorder left live: row, details,
// state, keybox and folder.
func vanish(t *testing.T, h house, r *Recording) {
	t.Helper()
	host, err := seal.LoadHost(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Open(h.dir, host, false, h.log)
	if err != nil {
		t.Fatal(err)
	}
	a := admission()
	e := catalog.Entry{ID: r.id, Line: a.Line, Numbers: r.store.numbersOf(a.Details)}
	err = errors.Join(c.Remove(e), c.DropKeybox(r.id), c.Close(), os.RemoveAll(filepath.Join(h.dir, folder(t, r.ID()))))
	if err != nil {
		t.Fatal(err)
	}
}

func expectVanished(t *testing.T, h house, id string) {
	t.Helper()
	for _, f := range findings(t, h) {
		if f.File == catalog.File && f.Recording == id && strings.Contains(f.Err.Error(), "the audit log has it begun") {
			return
		}
	}
	t.Errorf("nobody misses %s: %v", id, findings(t, h))
}

// TestDamagedAtStart wants an error, not a crash, and all else readable.
func TestDamagedAtStart(t *testing.T) {
	h := newHouse(t)
	s := h.open(t)
	record(t, s, fake(20))
	shut(t, s)
	for _, name := range []string{"catalog.db", "keys.db", "keys/host.key", "keys/recipients"} {
		file := filepath.Join(h.dir, name)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bad := make([]byte, len(data))
		copy(bad[len(data)/2:], data[len(data)/2:])
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(t.Context(), Options{Dir: h.dir, Logger: h.log}); err == nil {
			t.Errorf("%s half zero: opens", name)
			shut(t, s)
		} else {
			t.Log(err)
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shut(t, h.open(t))
	if _, err := Open(t.Context(), Options{Dir: t.TempDir(), Logger: h.log}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder without keys: %v", err)
	}
}
