package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"siprecd/store/audit"
	"siprecd/store/audit/prove"
	"siprecd/store/audit/sinks"
	"siprecd/store/disk"
	"siprecd/store/seal"
)

// booked reads the audit log's events from the disk.
func booked(t *testing.T, h house) (out []prove.Entry) {
	t.Helper()
	host, err := seal.LoadHost(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	box, err := host.Box(audit.DetailBox, nil)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := prove.Events(root, box, func(e prove.Entry) bool { out = append(out, e); return true }); err != nil {
		t.Fatal(err)
	}
	return out
}

// count counts the events of a kind, of one recording.
func count(list []prove.Entry, kind audit.Kind, id string) (n int) {
	for _, e := range list {
		if e.Kind == kind && e.Recording == id {
			n++
		}
	}
	return n
}

// Each thing that is done with a recording is a leaf, and an access is one
// before its first byte: what is read here is on the disk while the store is
// open.
func TestEverythingIsBooked(t *testing.T) {
	h := newHouse(t)
	s := h.open(t)
	id := record(t, s, fake(30))
	kept := booked(t, h)
	if count(kept, audit.Finished, id) != 1 || count(kept, audit.Made, id) != 1 {
		t.Fatalf("%+v", kept)
	}
	x, err := s.Read(t.Context(), Access{Who: "jane planted", Why: "complaint"}, id)
	if err != nil {
		t.Fatal(err)
	}
	kept = booked(t, h)
	last := kept[len(kept)-1]
	if last.Kind != audit.Opened || last.Recording != id || last.Detail == nil || last.Detail.Who != "jane planted" {
		t.Fatalf("%+v", last)
	}
	for _, e := range kept {
		if e.Kind == audit.Finished {
			if want := disk.Hash(x.ManifestBytes); e.Hash != want {
				t.Errorf("manifest %s, booked %s", want, e.Hash)
			}
		}
	}
	var first first
	first.at = func() { kept = booked(t, h) }
	if err := Export(&first, x, h.console); err != nil {
		t.Fatal(err)
	}
	if count(kept, audit.Exported, id) != 1 {
		t.Fatal("not booked before the first byte")
	}
	if err := ExportSealed(t.TempDir(), x); err != nil || count(booked(t, h), audit.Exported, id) != 2 {
		t.Fatal(err)
	}
	if _, err := s.Read(t.Context(), Access{}, id); !errors.Is(err, ErrAccess) || count(booked(t, h), audit.Refused, id) != 1 {
		t.Fatal(err)
	}
	if _, err := s.Read(t.Context(), someone, "02088257050"); !errors.Is(err, ErrNotFound) || count(booked(t, h), audit.Refused, "") != 1 {
		t.Fatal(err)
	}
	if _, err := s.Details(someone, id); err != nil || count(booked(t, h), audit.Opened, id) != 2 {
		t.Fatal(err)
	}
	if s.Checkpoint() == nil {
		t.Error("no checkpoint after an export")
	}
	shut(t, s)
	kept = booked(t, h)
	if kept[len(kept)-1].Kind != audit.Stopped {
		t.Errorf("%+v", kept[len(kept)-1])
	}
	verifyClean(t, h)
	nothingPersonal(t, filepath.Join(h.dir, audit.Dir), "jane planted", "complaint", "02088257050")
}

// first calls at before it takes the first byte.
type first struct {
	at func()
	n  int
}

func (f *first) Write(p []byte) (int, error) {
	if f.n == 0 {
		f.at()
	}
	f.n += len(p)
	return len(p), nil
}

func nothingPersonal(t *testing.T, dir string, planted ...string) {
	t.Helper()
	files, _ := filepath.Glob(dir + "/*")
	if len(files) == 0 {
		t.Fatal("nothing to look at")
	}
	for _, name := range files {
		data, _ := os.ReadFile(name)
		for _, p := range planted {
			if bytes.Contains(data, []byte(p)) {
				t.Errorf("%s holds %q", name, p)
			}
		}
	}
}

// A reader beside the recorder books in the recorder's log, and one alone in
// the same one.
func TestBookedBesideAndAlone(t *testing.T) {
	h := newHouse(t)
	s := h.open(t)
	id := record(t, s, fake(10))
	witness := filepath.Join(t.TempDir(), "checkpoints")
	sink, err := sinks.Parse("file://" + witness)
	if err != nil {
		t.Fatal(err)
	}
	read := func() {
		t.Helper()
		beside, err := Open(t.Context(), Options{Dir: h.dir, ReadOnly: true, Logger: h.log, Sinks: []sinks.Target{sink}})
		if err != nil {
			t.Fatal(err)
		}
		defer shut(t, beside)
		if _, err := beside.Read(t.Context(), someone, id); err != nil {
			t.Fatal(err)
		}
	}
	read()
	if n := count(booked(t, h), audit.Opened, id); n != 1 {
		t.Fatal(n)
	}
	shut(t, s)
	read()
	read()
	if n := count(booked(t, h), audit.Opened, id); n != 3 {
		t.Fatal(n)
	}
	sent, err := os.ReadFile(witness)
	if n := strings.Count(string(sent), "siprecd-audit"); err != nil || n < 2 {
		t.Errorf("%d checkpoints of two accesses beside no server left, %v", n, err)
	}
	s = h.open(t)
	read()
	shut(t, s)
	all := booked(t, h)
	if n := count(all, audit.Opened, id); n != 4 {
		t.Fatal(n)
	}
	for _, e := range all {
		if e.Kind == audit.Started && e.Result != "" {
			t.Errorf("a start after a clean stop says %q", e.Result)
		}
	}
	verifyClean(t, h)
}

// A log that cannot be written: nothing is handed out, but recording goes on.
func TestNoLogNoAccess(t *testing.T) {
	h := newHouse(t)
	s := h.open(t)
	id := record(t, s, fake(10))
	name := filepath.Join(h.dir, audit.Dir)
	if err := os.Rename(name, name+".away"); err != nil {
		t.Fatal(err)
	}
	breakFile(t, name+".away/"+s.AuditHealth().Tree+audit.LogSuffix)
	if _, err := s.Read(t.Context(), someone, id); !errors.Is(err, audit.ErrUnwritten) {
		t.Fatal(err)
	}
	if s.AuditHealth().Error == nil {
		t.Error("not told")
	}
	two := record(t, s, fake(10))
	if err := os.Rename(name+".away", name); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(t.Context(), someone, two); err != nil {
		t.Fatal(err)
	}
	if kept := booked(t, h); count(kept, audit.Made, two) != 1 || count(kept, audit.Finished, two) != 1 {
		t.Errorf("%+v", kept)
	}
	shut(t, s)
	verifyClean(t, h)
}

// TestVerifyHoldsTheLogAgainstTheFolder mixes folders of three days: of one
// recording, of two, and with the first erased. Each part is whole in itself,
// and signed with the recorder's own keys.
func TestVerifyHoldsTheLogAgainstTheFolder(t *testing.T) {
	h := newHouse(t)
	days := t.TempDir()
	day := func(name string, do func(s *Store)) {
		s := h.open(t)
		do(s)
		shut(t, s)
		verifyClean(t, h)
		if err := os.CopyFS(filepath.Join(days, name), os.DirFS(h.dir)); err != nil {
			t.Fatal(err)
		}
	}
	var one, two string
	day("one", func(s *Store) { one = record(t, s, fake(10)) })
	day("two", func(s *Store) { two = record(t, s, fake(20)) })
	day("erased", func(s *Store) {
		if _, err := s.Erase(t.Context(), someone, one); err != nil {
			t.Fatal(err)
		}
	})
	folder, err := Folder(one)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ base, log, file, id, says string }{
		{"two", "one", audit.Dir, two, "no leaf says so"},
		{"erased", "two", audit.Dir, one, "no leaf says so"},
		{"two", "erased", folder, one, "has it erased"},
		{"one", "two", "catalog.db", two, "not in the catalogue"},
	} {
		mixed := house{dir: filepath.Join(t.TempDir(), "mixed"), log: h.log}
		err := errors.Join(
			os.CopyFS(mixed.dir, os.DirFS(filepath.Join(days, x.base))),
			os.RemoveAll(filepath.Join(mixed.dir, audit.Dir)),
			os.CopyFS(filepath.Join(mixed.dir, audit.Dir), os.DirFS(filepath.Join(days, x.log, audit.Dir))),
			os.Chmod(filepath.Join(mixed.dir, "keys", "host.key"), 0o600),
			os.Chmod(filepath.Join(mixed.dir, "keys", "console.key"), 0o600))
		if err != nil {
			t.Fatal(err)
		}
		if list := findings(t, mixed); len(list) != 1 || list[0].File != x.file || list[0].Recording != x.id || !strings.Contains(list[0].Err.Error(), x.says) {
			t.Errorf("%s with the log of %s: %v", x.base, x.log, list)
		}
	}
}

// A manifest that was changed and signed anew, as the recorder's administrator
// could, is not the one that the log names.
func TestVerifyFindsAManifestSignedAnew(t *testing.T) {
	h := newHouse(t)
	s := h.open(t)
	id := record(t, s, fake(10))
	shut(t, s)
	host, err := seal.LoadHost(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := host.Signer()
	if err != nil {
		t.Fatal(err)
	}
	folder, _ := Folder(id)
	name := filepath.Join(h.dir, folder, ManifestFile)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	err = errors.Join(os.WriteFile(name, text, 0o600), os.WriteFile(filepath.Join(h.dir, folder, SignatureFile), signer.Sign(text), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	list := findings(t, h)
	if len(list) != 1 || list[0].File != folder+"/"+ManifestFile || list[0].Recording != id {
		t.Error(list)
	}
}

// An erasure that cannot be booked is not finished, and is booked with the next
// start.
func TestErasureWaitsForItsLeaf(t *testing.T) {
	h := newHouse(t)
	s := h.open(t)
	id := record(t, s, fake(10))
	name := filepath.Join(h.dir, audit.Dir)
	if err := os.Rename(name, name+".away"); err != nil {
		t.Fatal(err)
	}
	breakFile(t, name+".away/"+s.AuditHealth().Tree+audit.LogSuffix)
	if _, err := s.Erase(t.Context(), someone, id); !errors.Is(err, audit.ErrUnwritten) {
		t.Fatal(err)
	}
	if err := os.Rename(name+".away", name); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "the erasure to be finished", func() bool { return count(booked(t, h), audit.Erased, id) > 0 })
	if _, err := s.Erase(t.Context(), someone, id); err != nil {
		t.Fatal(err)
	}
	if n := count(booked(t, h), audit.Erased, id); n != 1 {
		t.Errorf("%d leaves", n)
	}
	shut(t, s)
	verifyClean(t, h)
}

// A key that does not fit is booked as refused, whatever was to be opened.
func TestWrongKeyIsBooked(t *testing.T) {
	h := newHouse(t)
	s := h.open(t)
	id := record(t, s, fake(10))
	x, err := s.Read(t.Context(), someone, id)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Identity(wrong); err == nil || count(booked(t, h), audit.Refused, id) != 1 {
		t.Error(err)
	}
	var out bytes.Buffer
	if err := Export(&out, x, wrong); err == nil || out.Len() > 0 {
		t.Error(err)
	}
	kept := booked(t, h)
	if count(kept, audit.Refused, id) != 2 || count(kept, audit.Exported, id) != 0 {
		t.Errorf("%+v", kept)
	}
	shut(t, s)
}
