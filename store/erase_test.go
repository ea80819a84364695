package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"siprecd/store/catalog"
	"siprecd/store/disk"
	"siprecd/store/erase"
)

var clerk = Access{Who: "uid 1000 (Winifred Clerk)", Why: "request 4711 of Zebedee Quux"}

// remains says what of a recording is in the files of a folder: its id as
// bytes or as text, and its keybox.
func remains(t *testing.T, dir, id string, keybox []byte) (found []string) {
	t.Helper()
	raw, err := disk.ParseName(id)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		if bytes.Contains(b, keybox) {
			found = append(found, "keybox in "+rel)
		}
		if strings.Contains(rel, id) || strings.HasPrefix(rel, "journal/") && bytes.Contains(b, raw[:]) {
			found = append(found, "frames in "+rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestErase erases one of three recordings while a fourth is live: nothing of
// it is left, the others are whole, and the receipt says so.
func TestErase(t *testing.T) {
	h := newHouse(t)
	s := h.open(t)
	live := begin(t, s, 40)
	var list []string
	for range 3 {
		list = append(list, record(t, s, fake(120)))
	}
	gone := list[1]
	x, err := s.Read(t.Context(), clerk, gone)
	if err != nil {
		t.Fatal(err)
	}
	if len(remains(t, h.dir, gone, x.Keybox)) < 3 {
		t.Fatal("keybox, frames and files are not found before: this test shows nothing")
	}
	for _, bad := range []struct {
		a   Access
		ids []string
		err error
	}{
		{Access{Who: "x"}, list[1:2], ErrAccess},
		{clerk, []string{gone, live.ID()}, ErrLive},
		{clerk, []string{gone, "ffff"}, ErrNotFound},
	} {
		if _, err := s.Erase(t.Context(), bad.a, bad.ids...); !errors.Is(err, bad.err) {
			t.Errorf("%v: %v, want %v", bad.ids, err, bad.err)
		}
	}
	receipts, err := s.Erase(t.Context(), clerk, gone)
	if err != nil || len(receipts) != 1 {
		t.Fatal(receipts, err)
	}
	if left := remains(t, h.dir, gone, x.Keybox); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	r, err := erase.Open(receipts[0], s.signer.Public())
	if err != nil || r.ID != gone || len(r.Files) != 2+len(x.Manifest.Segments)+1 || r.Keybox != x.Manifest.Keybox || r.Erased.IsZero() {
		t.Errorf("receipt %+v, %v", r, err)
	}
	for _, word := range []string{"Winifred", "Zebedee", "4711", "2079460"} {
		if regexp.MustCompile(`\b` + word).Match(receipts[0]) { // not within a hash
			t.Errorf("the receipt says %q", word)
		}
	}
	if _, err := erase.Open(bytes.Replace(receipts[0], []byte(gone), []byte(list[0]), 1), s.signer.Public()); !errors.Is(err, ErrDamaged) {
		t.Errorf("a changed receipt: %v", err)
	}
	if again, err := s.Erase(t.Context(), clerk, gone); err != nil || !bytes.Equal(again[0], receipts[0]) {
		t.Errorf("a second time: %v", err)
	}
	raw, _ := disk.ParseName(gone) // a backup of keys.db is put back, and it is erased once more
	if err := s.catalog.Admit(catalog.Entry{ID: raw}, x.Keybox); err != nil {
		t.Fatal(err)
	}
	if again, err := s.Erase(t.Context(), clerk, gone); err != nil || !bytes.Equal(again[0], receipts[0]) {
		t.Errorf("a third time: %v", err)
	}
	if left := remains(t, h.dir, gone, x.Keybox); len(left) > 0 {
		t.Errorf("left after a backup was put back: %v", left)
	}
	if _, err := s.Read(t.Context(), clerk, gone); !errors.Is(err, ErrErased) {
		t.Errorf("read: %v", err)
	}
	if _, err := s.Details(clerk, gone); !errors.Is(err, ErrErased) {
		t.Errorf("details: %v", err)
	}
	if all := ids(t, s, Query{}); len(all) != 3 {
		t.Errorf("listed: %v", all)
	}
	if only := ids(t, s, Query{State: Erased}); len(only) != 1 || only[0] != gone {
		t.Errorf("listed as erased: %v", only)
	}
	if byNumber := ids(t, s, Query{Number: admission().Details.Caller}); len(byNumber) != 3 {
		t.Errorf("found by number: %v", byNumber)
	}
	if n := s.Health().Recordings; n != 2 {
		t.Errorf("%d recordings in the totals, want 2", n)
	}
	feed(live, fake(40))
	if err := live.Finish(t.Context(), closing(80)); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{list[0], list[2], live.ID()} {
		export(t, s, h, id)
	}
	shut(t, s)
	verifyClean(t, h)
}

// TestEraseCutOff ends the process before each step of an erasure: the next
// start finishes it and has the receipt.
func TestEraseCutOff(t *testing.T) {
	for _, step := range []string{"keyboxes", "journal", "files", "compact", "receipts"} {
		t.Run(step, func(t *testing.T) {
			h := newHouse(t)
			s := h.open(t)
			keeps, gone := record(t, s, fake(60)), record(t, s, fake(60))
			x, err := s.Read(t.Context(), clerk, gone)
			if err != nil {
				t.Fatal(err)
			}
			stop := errors.New("the power is cut")
			s.eraser.Before(func(name string) error {
				if name == step {
					return stop
				}
				return nil
			})
			if _, err := s.Erase(t.Context(), clerk, gone); !errors.Is(err, stop) {
				t.Fatal(err)
			}
			cut := h.cutOff(t)
			shut(t, s)
			begun := false
			for _, f := range findings(t, cut) {
				begun = begun || f.Recording == gone && errors.Is(f.Err, catalog.ErrUnderWay)
			}
			if !begun {
				t.Error("verify does not say that an erasure is under way")
			}
			s = cut.open(t)
			if _, err := s.Read(t.Context(), clerk, gone); !errors.Is(err, ErrErased) {
				t.Errorf("read: %v", err)
			}
			receipts, err := s.Erase(t.Context(), clerk, gone)
			if err != nil || len(receipts) != 1 {
				t.Fatal(err)
			}
			var signed erase.Signed
			if r, err := erase.Open(receipts[0], s.signer.Public()); err != nil || len(r.Files) < 3 || json.Unmarshal(receipts[0], &signed) != nil {
				t.Errorf("receipt %+v, %v", r, err)
			}
			if left := remains(t, cut.dir, gone, x.Keybox); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			export(t, s, cut, keeps)
			shut(t, s)
			verifyClean(t, cut)
		})
	}
}

// TestDiscardedKeyboxGoes checks that what was discarded leaves keys.db, too.
func TestDiscardedKeyboxGoes(t *testing.T) {
	h := newHouse(t)
	s := h.open(t)
	keeps := record(t, s, fake(60))
	r := begin(t, s, 10)
	box, err := s.catalog.Keybox(r.id)
	if err != nil {
		t.Fatal(err)
	}
	r.Discard()
	<-r.done
	if !s.catalog.Unclean() {
		t.Error("the catalogue does not know that something was dropped")
	}
	shut(t, s)
	s = h.open(t) // it knows it still
	if !s.catalog.Unclean() {
		t.Error("a restart forgets that something was dropped")
	}
	if err := s.catalog.Compact(t.Context()); err != nil || s.catalog.Unclean() {
		t.Error("not clean after a compaction", err)
	}
	if left := remains(t, h.dir, r.name, box); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	export(t, s, h, keeps)
	shut(t, s)
	verifyClean(t, h)
}
