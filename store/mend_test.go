package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"siprecd/store/catalog"
	"siprecd/store/disk"
)

// cutOff makes a folder as a killed recorder leaves it: a copy, taken while the
// store runs.
func (h house) cutOff(t testing.TB) house {
	t.Helper()
	h.dir = copyOf(t, h.dir)
	return h
}

func copyOf(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a journal file that was no longer needed
		}
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if !e.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func folder(t testing.TB, id string) string {
	t.Helper()
	full, err := disk.ParseName(id)
	if err != nil {
		t.Fatal(err)
	}
	return disk.FolderOf(full)
}

func begin(t testing.TB, s *Store, packets int) *Recording {
	t.Helper()
	r, err := s.Begin(t.Context(), admission())
	if err != nil {
		t.Fatal(err)
	}
	feed(r, fake(packets))
	if err := s.journal.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func expect(t *testing.T, h house, file string) {
	t.Helper()
	list := findings(t, h)
	if !slices.ContainsFunc(list, func(f Finding) bool { return f.File == file }) {
		t.Errorf("no finding for %s: %v", file, list)
	}
}

// TestWithoutDatabase starts with a database missing: it refuses, and makes and
// drops nothing.
func TestWithoutDatabase(t *testing.T) {
	h := newHouse(t)
	s := h.open(t)
	id := record(t, s, fake(30))
	shut(t, s)
	for _, gone := range [][]string{{"catalog.db"}, {"keys.db"}, {"catalog.db", "keys.db"}} {
		for _, name := range gone {
			if err := os.Rename(filepath.Join(h.dir, name), filepath.Join(h.dir, name+".away")); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(t.Context(), Options{Dir: h.dir, Logger: h.log})
		if err == nil {
			t.Errorf("opens without %v", gone)
			shut(t, s)
		} else if !errors.Is(err, catalog.ErrIncomplete) || !strings.Contains(err.Error(), gone[0]) {
			t.Errorf("without %v: %v", gone, err)
		}
		for _, name := range gone {
			if err := os.Rename(filepath.Join(h.dir, name+".away"), filepath.Join(h.dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	verifyClean(t, h) // the stamp too is still there
	s = h.open(t)
	export(t, s, h, id)
	shut(t, s)
}

// TestOlderCatalogue starts with catalog.db as it was before two calls, one
// finished and one with frames in the journal: keyboxes and frames stay.
func TestOlderCatalogue(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Tick = 10 * time.Millisecond })
	record(t, s, fake(10))
	shut(t, s)
	old, err := os.ReadFile(filepath.Join(h.dir, "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	s = h.open(t)
	a := record(t, s, fake(30))
	b := begin(t, s, 30)
	cut := h.cutOff(t)
	shut(t, s)
	good, err := os.ReadFile(filepath.Join(cut.dir, "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	put := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(cut.dir, "catalog.db"), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(old)
	shut(t, cut.open(t))
	put(good) // the operator finds the right one
	s = cut.open(t)
	export(t, s, cut, a)
	if have, _ := export(t, s, cut, b.ID()); len(have) != 30 {
		t.Errorf("%d packets, want 30", len(have))
	}
	shut(t, s)
	verifyClean(t, cut)
}

// TestManifestHolds lets the catalogue fall back behind the end of a call, as a
// damaged meta page makes it: the recording is booked from its manifest.
func TestManifestHolds(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Segment = time.Second; o.Tick = 10 * time.Millisecond })
	r := begin(t, s, 120)
	before, err := os.ReadFile(filepath.Join(h.dir, "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Finish(t.Context(), closing(120)); err != nil {
		t.Fatal(err)
	}
	want, err := s.Get(r.ID())
	if err != nil {
		t.Fatal(err)
	}
	until(t, patience, "the journal has let go", func() bool { return len(s.journal.Segments()) == 0 })
	cut := h.cutOff(t)
	shut(t, s)
	name := filepath.Join(cut.dir, folder(t, r.ID()), ManifestFile)
	manifest, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cut.dir, "catalog.db"), before, 0o600); err != nil {
		t.Fatal(err)
	}
	s = cut.open(t)
	if s.Recovered() != 1 {
		t.Errorf("recovered %d: the row was not live, this test shows nothing", s.Recovered())
	}
	have, err := s.Get(r.ID())
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(want)
	b, _ := json.Marshal(have)
	if !bytes.Equal(a, b) {
		t.Errorf("row %s\nwant %s", b, a)
	}
	if again, err := os.ReadFile(name); err != nil || !bytes.Equal(again, manifest) {
		t.Errorf("the manifest was written again (%v):\n%s", err, again)
	}
	if d, err := s.Details(someone, r.ID()); err != nil || d.Caller != admission().Details.Caller {
		t.Errorf("details %+v, %v", d, err)
	}
	if packets, _ := export(t, s, cut, r.ID()); len(packets) != 120 {
		t.Errorf("%d packets", len(packets))
	}
	shut(t, s)
	verifyClean(t, cut)
}

// TestDamagedLastSegment damages every frame of the last segment: those before
// it are kept, and the recording says that something is amiss.
func TestDamagedLastSegment(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Segment = time.Second; o.Tick = time.Hour })
	stall := s.pool // nothing is sealed before the end
	release := make(chan struct{})
	for range 8 {
		stall.Submit(hold(release))
	}
	r := begin(t, s, 100)
	feed(r, fake(20))
	if err := s.journal.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	cut := h.cutOff(t)
	close(release)
	shut(t, s)
	id, _ := disk.ParseName(r.ID())
	names, err := filepath.Glob(cut.dir + "/journal/journal-*.db")
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, append(id[:], 0, 0, 0, 2))
	if at < 0 {
		t.Fatal("the last segment's frame is not found")
	}
	data[at+100] ^= 1
	if err := os.WriteFile(names[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	s = cut.open(t)
	x, err := s.Read(t.Context(), someone, r.ID())
	if err != nil {
		t.Fatal(err)
	}
	if m := x.Manifest; len(m.Segments) != 3 || m.Samples < 100*960-312 || !slices.Contains(m.Flags, "journal damaged") {
		t.Errorf("%d segments, %d samples, flags %v", len(m.Segments), m.Samples, m.Flags)
	}
	shut(t, s)
	verifyClean(t, cut)
}

// TestUnwritable puts a file where a folder must be, and puts something in the
// way of a file in it (permissions do not stop root): Open says so.
func TestUnwritable(t *testing.T) {
	for _, name := range []string{"journal", "recordings", "journal/", "recordings/"} {
		h := newHouse(t)
		var err error
		name, inner := strings.CutSuffix(name, "/")
		if inner {
			err = os.MkdirAll(filepath.Join(h.dir, name, "write.probe.tmp"), 0o700)
		} else {
			err = os.WriteFile(filepath.Join(h.dir, name), nil, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), Options{Dir: h.dir, Logger: h.log})
		if err == nil {
			shut(t, s)
		}
		if err == nil || !strings.Contains(err.Error(), name+" cannot be written") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// block puts a file where a recording's folder must be and returns what takes
// it away.
func block(t *testing.T, dir, id string) (mend func()) {
	t.Helper()
	name := filepath.Join(dir, folder(t, id))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStuck lets the end of a call fail: health says so until it succeeds, and
// Close says that it is left undone.
func TestStuck(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Tick = 10 * time.Millisecond })
	r := begin(t, s, 20)
	mend := block(t, h.dir, r.ID())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := r.Finish(ctx, closing(20)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("finish: %v", err)
	}
	until(t, patience, "stuck", func() bool { return s.Health().StuckJobs == 1 })
	if err := s.Health().StuckError; err == nil || !strings.Contains(err.Error(), "finish recording") {
		t.Errorf("stuck: %v", err)
	}
	mend()
	until(t, patience, "no longer stuck", func() bool { return s.Health().StuckJobs == 0 && s.Health().StuckError == nil })
	if row, err := s.Get(r.ID()); err != nil || row.State != Finished || row.Interrupted {
		t.Errorf("%+v, %v", row, err)
	}
	again := begin(t, s, 20)
	mend = block(t, h.dir, again.ID())
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_ = again.Finish(ctx, closing(20))
	if err := s.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "1 ended recordings") {
		t.Errorf("close: %v", err)
	}
	mend()
	s = h.open(t)
	if row, err := s.Get(again.ID()); err != nil || row.State != Finished {
		t.Errorf("%+v, %v", row, err)
	}
	shut(t, s)
	verifyClean(t, h)
}

// TestHungDisk holds what the disk would hold up: Finish and Close return when
// their contexts end, and Close says what is left.
func TestHungDisk(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Tick = 10 * time.Millisecond })
	r := begin(t, s, 20)
	r.sealing.Lock() // a job that does not come back
	within := func(what string, run func(context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		start := time.Now()
		if err := run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		} else {
			t.Log(err)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s took %v", what, took)
		}
	}
	within("finish", func(ctx context.Context) error { return r.Finish(ctx, closing(20)) })
	within("close", s.Close)
	if _, err := Open(t.Context(), Options{Dir: h.dir, Logger: h.log}); !errors.Is(err, ErrLocked) {
		t.Errorf("opened while the disk hangs: %v", err)
	}
	r.sealing.Unlock()
	awaitFree(t, h)
	s = h.open(t)
	if row, err := s.Get(r.ID()); err != nil || row.State != Finished {
		t.Errorf("%+v, %v", row, err)
	}
	shut(t, s)
}

// awaitFree waits until nobody has the folder open.
func awaitFree(t *testing.T, h house) {
	t.Helper()
	until(t, patience, "the folder is free", func() bool {
		root, err := os.OpenRoot(h.dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		l, err := disk.Lock(root)
		if err == nil {
			_ = l.Close()
		}
		return err == nil
	})
}

// TestCloseFullDisk closes while the journal takes nothing.
func TestCloseFullDisk(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Tick = time.Hour })
	r := begin(t, s, 50)
	away := h.dir + "/journal.away"
	mend := breakFile(t, h.dir+"/journal/journal-1.db")
	if err := os.Rename(h.dir+"/journal", away); err != nil { // no new file can be begun
		t.Fatal(err)
	}
	feed(r, fake(50))
	flushInVain(t, s)
	mend() // the file is not written again all the same
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := s.Close(ctx)
	if took := time.Since(start); err == nil || took > 20*time.Second {
		t.Errorf("closed within %v: %v", took, err)
	}
	if err := os.Rename(away, h.dir+"/journal"); err != nil {
		t.Fatal(err)
	}
	awaitFree(t, h)
	s = h.open(t)
	if have, _ := export(t, s, h, r.ID()); len(have) < 50 {
		t.Errorf("%d packets", len(have))
	}
	shut(t, s)
}

// TestSlowRecovery leaves calls that cannot be finished: Open does not wait for
// each in turn.
func TestSlowRecovery(t *testing.T) {
	h := newHouse(t)
	s := h.open(t)
	var ids []string
	for range 12 {
		ids = append(ids, begin(t, s, 20).ID())
	}
	good := begin(t, s, 20).ID()
	shut(t, s)
	var mend []func()
	for _, id := range ids {
		mend = append(mend, block(t, h.dir, id))
	}
	start := time.Now()
	s = h.start(t)
	if took := time.Since(start); took > 20*time.Second { // 24 s, if it did
		t.Errorf("ready after %v", took)
	}
	until(t, patience, "the good one is finished", func() bool { return s.Health().Live <= 12 })
	if health := s.Health(); health.Live != 12 || health.Recovered != 13 {
		t.Errorf("live %d, recovered %d", health.Live, health.Recovered)
	}
	if row, err := s.Get(good); err != nil || row.State != Finished {
		t.Errorf("%+v, %v", row, err)
	}
	for _, f := range mend {
		f()
	}
	until(t, patience, "all finished", func() bool { return s.Health().Live == 0 })
	shut(t, s)
	verifyClean(t, h)
}

// TestDiscardCutOff kills a recorder between a discard's first step and its
// last: the next start goes on with it.
func TestDiscardCutOff(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Segment = time.Second; o.Tick = 10 * time.Millisecond })
	r := begin(t, s, 80)
	until(t, patience, "a segment is sealed", func() bool { row, err := s.Get(r.ID()); return err == nil && row.Segments == 1 })
	r.sealing.Lock()
	r.state.Discarded = true
	e, err := r.entry(partState)
	r.sealing.Unlock()
	if err == nil {
		err = s.catalog.PutLive(e)
	}
	if err != nil {
		t.Fatal(err)
	}
	cut := h.cutOff(t)
	shut(t, s)
	s = cut.open(t)
	if _, err := s.Get(r.ID()); !errors.Is(err, ErrNotFound) {
		t.Errorf("still listed: %v", err)
	}
	if _, err := os.Stat(filepath.Join(cut.dir, folder(t, r.ID()))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("folder: %v", err)
	}
	if n := len(s.journal.Segments()); n != 0 {
		t.Errorf("%d segments in the journal", n)
	}
	shut(t, s)
	verifyClean(t, cut)
}

// TestVerifyRunning takes databases away from a recorder that runs, and its
// socket.
func TestVerifyRunning(t *testing.T) {
	h := newHouse(t)
	s := h.open(t)
	record(t, s, fake(10))
	verifyClean(t, h)
	for _, name := range []string{"catalog.db", "keys.db"} {
		file := filepath.Join(h.dir, name)
		if err := os.Rename(file, file+".away"); err != nil {
			t.Fatal(err)
		}
		expect(t, h, name)
		data, err := os.ReadFile(file + ".away")
		if err == nil {
			err = os.WriteFile(file, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		expect(t, h, name)
		if err := os.Rename(file+".away", file); err != nil {
			t.Fatal(err)
		}
	}
	verifyClean(t, h)
	if err := os.Remove(filepath.Join(h.dir, "store.sock")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: h.dir, Logger: h.log, ReadOnly: true}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "socket store.sock is missing") {
		t.Errorf("read: %v", err)
	}
	if err := Verify(t.Context(), h.dir, h.log, func(Finding) {}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "socket store.sock is missing") {
		t.Errorf("verify: %v", err)
	}
	shut(t, s)
}

// TestVerifyCutOff damages what a killed recorder left, in each of the ways
// that its own databases cannot tell.
func TestVerifyCutOff(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Segment = time.Second; o.Tick = 10 * time.Millisecond })
	record(t, s, fake(10))
	r := begin(t, s, 120)
	until(t, patience, "two segments are sealed", func() bool { row, err := s.Get(r.ID()); return err == nil && row.Segments == 2 })
	cut := h.cutOff(t)
	shut(t, s)
	cut.log = slog.New(slog.DiscardHandler)
	verifyClean(t, cut)
	names, _ := filepath.Glob(cut.dir + "/journal/journal-*.db")
	if len(names) == 0 {
		t.Fatal("no journal")
	}
	journal := "journal/" + filepath.Base(names[0])
	segment := folder(t, r.ID()) + "/000001.opus.age"
	for _, c := range []struct {
		file string
		bad  func([]byte) []byte // nil: removed
	}{
		{"catalog.db", flip(16 + 8)}, {"catalog.db", flip(4096 + 16 + 50)}, {"keys.db", flip(16)}, {"keys.db", flip(4096 + 16)},
		{journal, flip(16 + 60)}, {journal, flip(4096 + 16 + 60)},
		{journal, nil},
		{"journal/generations", nil}, {"journal/generations", flip(3)},
		{segment, nil}, {segment, flip(300)},
		{"keys/recipients", func(b []byte) []byte { return b[:len(b)/2] }}, {"keys/console.key", func([]byte) []byte { return nil }},
	} {
		file := filepath.Join(cut.dir, c.file)
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if c.bad == nil {
			err = os.Remove(file)
		} else {
			err = os.WriteFile(file, c.bad(bytes.Clone(good)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		expect(t, cut, c.file)
		if err := os.WriteFile(file, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verifyClean(t, cut)
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 1; return b }
}
