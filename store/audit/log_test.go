package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"siprecd/store/disk"
	"siprecd/store/seal"
)

// rig is a folder with a log in it.
type rig struct {
	t    testing.TB
	dir  string
	root *os.Root
	key  *Key
	box  *seal.Box
	now  func() time.Time

	mu   sync.Mutex
	sent []Checkpoint
}

// quickDir is a folder in memory, where there is one: thousands of syncs are
// none of the disk's business here.
func quickDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "siprecd-audit-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, dir: quickDir(t)}
	if _, err := seal.InitKeys(r.dir); err != nil {
		t.Fatal(err)
	}
	host, err := seal.LoadHost(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := host.AuditSigner()
	if err != nil {
		t.Fatal(err)
	}
	if r.key, err = NewKey(signer); err != nil {
		t.Fatal(err)
	}
	if r.box, err = host.Box(DetailBox, nil); err != nil {
		t.Fatal(err)
	}
	if r.root, err = os.OpenRoot(r.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.root.Close() })
	return r
}

func (r *rig) options() Options {
	return Options{Root: r.root, Key: r.key, Box: r.box, Tick: 10 * time.Millisecond, Now: r.now,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Deliver: func(c Checkpoint) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.sent = append(r.sent, c)
		}}
}

func (r *rig) open() *Log {
	r.t.Helper()
	l, err := Open(r.options(), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

func (r *rig) close(l *Log) {
	r.t.Helper()
	if err := l.Close(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) append(l *Log, e Event) {
	r.t.Helper()
	if err := l.Append(e); err != nil {
		r.t.Fatal(err)
	}
}

// events reads all leaves of all trees from the disk.
func (r *rig) events() (out []Event) {
	r.t.Helper()
	names, err := Trees(r.root)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range names {
		err := linesOf(r.root, name, func(leaf []byte) error {
			e, err := ParseLeaf(leaf)
			out = append(out, e)
			return err
		})
		if !errors.Is(err, io.EOF) {
			r.t.Fatal(err)
		}
	}
	return out
}

func id(n int) string {
	return disk.Name(disk.ID{0: 1, 1: 0x9c, 6: 0x70, 8: 0x80, 14: byte(n >> 8), 15: byte(n)})
}

func TestAppendIsOnDisk(t *testing.T) {
	r := newRig(t)
	l := r.open()
	one := id(1)
	r.append(l, Event{Kind: Opened, Recording: one, Actor: "uid:1000/export", Who: "uid 1000 (jane)", Why: "complaint 17"})
	l.Note(Event{Kind: Made, Recording: id(2)})
	got := r.events() // before any close
	if len(got) < 2 || got[0].Kind != Tree || got[1].Recording != one || got[1].Detail == "" || got[1].N != 1 {
		t.Fatalf("%+v", got)
	}
	r.close(l)
	if got = r.events(); len(got) != 3 || got[2].Kind != Made {
		t.Fatalf("%+v", got)
	}
	details, err := Details(r.root, "000001-"+time.Now().UTC().Format("2006-01"), r.box, func(n int, err error) { t.Error(n, err) })
	if err != nil || details[got[1].Detail].Why != "complaint 17" || details[got[1].Detail].Who != "uid 1000 (jane)" {
		t.Fatal(details, err)
	}
	if len(r.sent) == 0 || r.sent[len(r.sent)-1].N != 3 {
		t.Fatalf("checkpoints: %+v", r.sent)
	}
}

func TestAppendsFromManySides(t *testing.T) {
	r := newRig(t)
	l := r.open()
	const writers, each = 16, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := l.Append(Event{Kind: Opened, Recording: id(w*each + i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := len(r.events()); got != writers*each+1 {
		t.Errorf("%d leaves", got)
	}
	r.close(l)
	l = r.open()
	defer r.close(l)
	if h := l.Health(); h.Leaves != writers*each+1 || h.Damage != nil || h.Error != nil {
		t.Errorf("%+v", h)
	}
}

func TestOneWriter(t *testing.T) {
	r := newRig(t)
	l := r.open()
	if _, err := Open(r.options(), 30*time.Millisecond); !errors.Is(err, disk.ErrLocked) {
		t.Fatal(err)
	}
	r.close(l)
	r.close(r.open())
	if err := l.Append(Event{Kind: Opened}); !errors.Is(err, ErrUnwritten) {
		t.Fatal(err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	r := newRig(t)
	l := r.open()
	defer r.close(l)
	for _, e := range []Event{
		{},
		{Kind: "Made"},
		{Kind: Made, Recording: "02088257050"},
		{Kind: Made, Recording: "0199B2C4-0000-7000-8000-000000000000"},
		{Kind: Made, Actor: "Jane Doe"},
		{Kind: Refused, Result: "caller 02088257050"},
		{Kind: Refused, Result: "Jane"},
		{Kind: Made, Hash: "abc"},
		{Kind: Made, Count: -1},
	} {
		if err := l.Append(e); !errors.Is(err, ErrEvent) {
			t.Errorf("%+v: %v", e, err)
		}
	}
}

// An event that nobody waits for and that names nothing is counted, so that a
// flood makes no more than a leaf a tick.
func TestFloodIsCounted(t *testing.T) {
	r := newRig(t)
	o := r.options()
	o.Tick = time.Hour
	l, err := Open(o, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 10_000 {
		l.Note(Event{Kind: Refused, Result: "not listed"})
		l.Note(Event{Kind: Refused, Result: "too many"})
	}
	r.append(l, Event{Kind: Opened})
	r.append(l, Event{Kind: Opened})
	r.close(l)
	got := r.events()
	if len(got) != 5 || got[1].Count != 10_000 || got[2].Count != 10_000 {
		t.Fatalf("%+v", got)
	}
}

func TestMonthsAreAChain(t *testing.T) {
	r := newRig(t)
	now := time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC)
	var mu sync.Mutex
	r.now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	set := func(at time.Time) { mu.Lock(); defer mu.Unlock(); now = at }
	l := r.open()
	r.append(l, Event{Kind: Made, Recording: id(1)})
	set(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	r.append(l, Event{Kind: Finished, Recording: id(1)})
	set(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)) // the clock is set back
	r.append(l, Event{Kind: Made, Recording: id(2)})
	r.close(l)
	names, _ := Trees(r.root)
	if fmt.Sprint(names) != "[000001-2026-11 000002-2026-12 000003-2026-11]" {
		t.Fatal(names)
	}
	for i, name := range names {
		list, _, bad, err := r.key.Stored(r.root, name)
		if err != nil || len(bad) > 0 || len(list) == 0 {
			t.Fatal(name, bad, err)
		}
		if i+1 < len(names) {
			var first Event
			_ = linesOf(r.root, names[i+1], func(leaf []byte) error { first, _ = ParseLeaf(leaf); return io.EOF })
			if first.Prev != list[len(list)-1].String() {
				t.Errorf("%s: %q", name, first.Prev)
			}
		}
	}
	l = r.open() // made in the tree that is open, and not ended
	defer r.close(l)
	if !l.IsOpen(id(2)) || l.IsOpen(id(1)) || !l.Crashed() {
		t.Error("what is open is not known")
	}
}

// Cut at every length of the last records, the log opens and holds all that
// the newest checkpoint has; below it, it is tampered and a new tree begins.
func TestCutAtEveryByte(t *testing.T) {
	r := newRig(t)
	l := r.open()
	r.append(l, Event{Kind: Made, Recording: id(1)})
	if _, err := l.Sign(); err != nil {
		t.Fatal(err)
	}
	name := l.Health().Tree
	file := filepath.Join(r.dir, Dir, name+LogSuffix)
	signed, _ := os.ReadFile(file)
	for i := range 3 {
		r.append(l, Event{Kind: Opened, Recording: id(i), Who: "w", Why: "y"})
	}
	whole := r.snapshot(name)
	r.close(l)
	for n := range len(whole[LogSuffix]) + 1 {
		r.restore(name, whole)
		if err := os.WriteFile(file, whole[LogSuffix][:n], 0o600); err != nil {
			t.Fatal(err)
		}
		l := r.open()
		h := l.Health()
		lines := bytes.Count(whole[LogSuffix][:n], []byte("\n"))
		if tampered := n < len(signed); tampered != (h.Damage != nil) {
			t.Fatalf("%d of %d bytes (signed %d): %v", n, len(whole[LogSuffix]), len(signed), h.Damage)
		}
		if h.Damage == nil {
			r.append(l, Event{Kind: Opened, Recording: id(9)})
			want := lines + 1
			if n > 0 && whole[LogSuffix][n-1] != '\n' {
				want++ // repaired
			}
			if got := len(r.events()); got != want {
				t.Fatalf("%d bytes: %d leaves, want %d", n, got, want)
			}
		} else {
			r.append(l, Event{Kind: Opened, Recording: id(9)})
			if have, _ := os.ReadFile(file); !bytes.Equal(have, whole[LogSuffix][:n]) {
				t.Fatal("a tampered log was changed")
			}
		}
		r.close(l)
	}
}

// The other files cut at every length: nothing is lost, and the hashes are made
// anew.
func TestCutSideFiles(t *testing.T) {
	r := newRig(t)
	l := r.open()
	r.append(l, Event{Kind: Opened, Recording: id(1), Who: "w", Why: "y"})
	_, _ = l.Sign()
	r.append(l, Event{Kind: Opened, Recording: id(2), Who: "w", Why: "y"})
	name := l.Health().Tree
	r.close(l)
	whole := r.snapshot(name)
	for _, suffix := range []string{HashSuffix, CheckpointSuffix, DetailSuffix} {
		for n := range len(whole[suffix]) + 1 {
			r.restore(name, whole)
			if err := os.WriteFile(filepath.Join(r.dir, Dir, name+suffix), whole[suffix][:n], 0o600); err != nil {
				t.Fatal(err)
			}
			l := r.open()
			if h := l.Health(); h.Damage != nil {
				t.Fatalf("%s cut to %d: %v", suffix, n, h.Damage)
			}
			r.append(l, Event{Kind: Opened, Recording: id(3), Who: "w", Why: "y"})
			r.close(l)
			r.close(r.open())
			if suffix == HashSuffix {
				have, _ := os.ReadFile(filepath.Join(r.dir, Dir, name+suffix))
				if !bytes.HasPrefix(have, whole[suffix]) {
					t.Fatalf("hashes are not made anew from %d", n)
				}
			}
			if _, _, bad, err := r.key.Stored(r.root, name); len(bad) > 0 || err != nil {
				t.Fatal(suffix, n, bad, err)
			}
		}
	}
}

func (r *rig) snapshot(name string) map[string][]byte {
	out := map[string][]byte{}
	for _, suffix := range []string{LogSuffix, HashSuffix, CheckpointSuffix, DetailSuffix} {
		out[suffix], _ = os.ReadFile(filepath.Join(r.dir, Dir, name+suffix))
	}
	return out
}

func (r *rig) restore(name string, files map[string][]byte) {
	entries, _ := os.ReadDir(filepath.Join(r.dir, Dir))
	for _, e := range entries {
		_ = os.Remove(filepath.Join(r.dir, Dir, e.Name()))
	}
	for suffix, data := range files {
		if err := os.WriteFile(filepath.Join(r.dir, Dir, name+suffix), data, 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
}

// A disk that fails: the file is given up, accesses fail, notes wait, and all
// goes on in a new tree.
func TestWriteFails(t *testing.T) {
	r := newRig(t)
	l := r.open()
	r.append(l, Event{Kind: Made, Recording: id(1)})
	l.io.Lock()
	_ = l.tree.log.Close()
	l.io.Unlock()
	if err := os.Chmod(filepath.Join(r.dir, Dir), 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 { // root writes anyway
		if err := l.Append(Event{Kind: Opened, Recording: id(2)}); !errors.Is(err, ErrUnwritten) {
			t.Fatal(err)
		}
		if l.Health().Error == nil {
			t.Error("not told")
		}
	}
	l.Note(Event{Kind: Finished, Recording: id(1)})
	if err := os.Chmod(filepath.Join(r.dir, Dir), 0o700); err != nil {
		t.Fatal(err)
	}
	r.append(l, Event{Kind: Opened, Recording: id(3)})
	_ = l.Close() // the file that was closed above is told
	names, _ := Trees(r.root)
	got := r.events()
	if len(names) != 2 || got[2].Result != "a write failed" || got[len(got)-1].Recording != id(3) {
		t.Fatalf("%v %+v", names, got)
	}
	found := false
	for _, e := range got {
		found = found || e.Kind == Finished
	}
	if !found {
		t.Error("a note was lost")
	}
}

func TestForget(t *testing.T) {
	r := newRig(t)
	l := r.open()
	one, two := id(1), id(2)
	r.append(l, Event{Kind: Opened, Recording: one, Who: "jane", Why: "one"})
	r.append(l, Event{Kind: Opened, Recording: two, Who: "jane", Why: "two"})
	if err := l.Forget(one); err != nil {
		t.Fatal(err)
	}
	r.append(l, Event{Kind: Opened, Recording: two, Who: "jane", Why: "three"})
	name := l.Health().Tree
	r.close(l)
	got, err := Details(r.root, name, r.box, func(n int, err error) { t.Error(n, err) })
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	for _, d := range got {
		if d.Why == "one" {
			t.Error("not forgotten")
		}
	}
	if len(r.events()) != 4 {
		t.Error("a leaf is gone")
	}
}

func TestNothingPersonalInTheFiles(t *testing.T) {
	r := newRig(t)
	l := r.open()
	planted := []string{"02088257050", "+442079460123", "Jane Planted", "complaint of Mr Planted"}
	for _, p := range planted {
		r.append(l, Event{Kind: Opened, Recording: id(1), Actor: "uid:1000/export", Who: p, Why: p})
	}
	r.close(l)
	err := filepath.WalkDir(filepath.Join(r.dir, Dir), func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		for _, p := range planted {
			if bytes.Contains(data, []byte(p)) {
				t.Errorf("%s holds %q", name, p)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCheckpointInTime(t *testing.T) {
	r := newRig(t)
	o := r.options()
	o.Every = 50 * time.Millisecond
	l, err := Open(o, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close(l)
	newest := func() int64 {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.sent) == 0 {
			return 0
		}
		return r.sent[len(r.sent)-1].N
	}
	for n := range 3 {
		l.Note(Event{Kind: Made, Recording: id(n)})
		until(t, func() bool { return newest() == int64(n+2) })
	}
	r.append(l, Event{Kind: Exported, Recording: id(1)}) // at once
	if newest() != 5 {
		t.Errorf("checkpoint at %d", newest())
	}
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("not in time")
		}
	}
}

// sameAsJSON says by the general decoder whether a leaf is what this package
// writes.
func sameAsJSON(leaf []byte) bool {
	var e Event
	if json.Unmarshal(leaf, &e) != nil || e.N < 0 || e.Count < 0 || e.At.Location() != time.UTC {
		return false
	}
	for _, c := range leaf {
		if c < ' ' || c > '~' || strings.ContainsRune(`\<>&`, rune(c)) {
			return false
		}
	}
	again, err := e.leaf()
	return err == nil && bytes.Equal(again, leaf)
}

func TestParseLeaf(t *testing.T) {
	at := time.Date(2026, 11, 23, 17, 0, 0, 120e6, time.UTC)
	hash := strings.Repeat("0a", 32)
	for _, e := range []Event{
		{At: at, Kind: Started},
		{N: 17, At: at.Truncate(time.Second), Kind: Refused, Actor: "uid:1000/export", Result: "not found, no", Count: 5},
		{N: 1 << 40, At: at, Kind: Opened, Recording: id(3), Actor: "web:x", Result: "x", Hash: hash, Count: 1, Detail: hash, Prev: "000001-2026-11 3 " + "+/A="},
	} {
		leaf, err := e.leaf()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseLeaf(leaf); err != nil || got != e {
			t.Errorf("%s: %+v %v", leaf, got, err)
		}
		for i := range leaf { // no byte may be missing, and none be another
			less := append(bytes.Clone(leaf[:i]), leaf[i+1:]...)
			other := bytes.Clone(leaf)
			other[i] ^= 0x10
			for _, x := range [][]byte{less, other, leaf[:i]} {
				if _, err := ParseLeaf(x); (err == nil) != sameAsJSON(x) {
					t.Errorf("%s: %v", x, err)
				}
			}
		}
	}
}

// A log is opened behind its newest checkpoint, whatever its size and however
// much follows, and its root is what it is when every leaf is read.
func TestOpenedBehindTheCheckpoint(t *testing.T) {
	r := newRig(t)
	l := r.open()
	for n := range 40 {
		r.append(l, Event{Kind: Made, Recording: id(n)})
		if n%3 == 0 {
			if _, err := l.Sign(); err != nil {
				t.Fatal(err)
			}
		}
		name := l.tree.name
		list, _, _, err := r.key.Stored(r.root, name)
		if err != nil {
			t.Fatal(err)
		}
		quick, full := &tree{root: r.root, name: name, signed: list[len(list)-1]}, &tree{root: r.root, name: name}
		for _, x := range []*tree{quick, full} {
			if _, err := x.scan(); err != nil {
				t.Fatal(err)
			}
		}
		want, _ := full.front.Root()
		if got, err := quick.front.Root(); err != nil || got != want || quick.front.N() != int64(n+2) || quick.last != Made {
			t.Fatalf("%d leaves: root %s, want %s, %v", n+2, got, want, err)
		}
	}
	r.close(l)
}

// What was changed far behind the newest checkpoint does not keep a log from
// being opened, and stays as it is, for Verify.
func TestOpenedThoughChanged(t *testing.T) {
	for _, part := range []string{LogSuffix, HashSuffix} {
		r := newRig(t)
		l := r.open()
		name := ""
		for n := range 20 {
			r.append(l, Event{Kind: Made, Recording: id(n)})
			name = l.tree.name
		}
		r.close(l)
		file := filepath.Join(r.dir, Dir, name+part)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		data[tlog.HashSize+1] ^= 1 // of the second leaf
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		l = r.open()
		r.append(l, Event{Kind: Made, Recording: id(99)})
		if h := l.Health(); h.Damage != nil || l.tree.name != name || h.Leaves != 22 {
			t.Errorf("%s: %+v", part, h)
		}
		r.close(l)
		again, err := os.ReadFile(file)
		if err != nil || len(again) <= len(data) || !bytes.Equal(again[:len(data)], data) {
			t.Errorf("%s was changed: %v", part, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	e := Event{At: time.UnixMilli(0).UTC(), Kind: Made}
	leaf, _ := e.leaf()
	f.Add(appendLine(nil, leaf))
	f.Add(appendLine(appendLine(nil, leaf), leaf)[:100])
	f.Add([]byte("00000000 {}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(bytes.NewReader(data))
		var again []byte
		for {
			leaf, err := r.Next()
			if err != nil {
				break
			}
			again = appendLine(again, leaf)
			e, err := ParseLeaf(leaf)
			if sameAsJSON(leaf) != (err == nil) {
				t.Fatalf("%q: %v", leaf, err)
			}
			if err == nil {
				if back, err := e.leaf(); err != nil || !bytes.Equal(back, leaf) {
					t.Fatalf("%q %q %v", back, leaf, err)
				}
			}
		}
		if r.Offset() != int64(len(again)) || !bytes.Equal(data[:r.Offset()], again) {
			t.Fatalf("%d bytes read as %d", r.Offset(), len(again))
		}
		_ = noteSize(data)
	})
}
