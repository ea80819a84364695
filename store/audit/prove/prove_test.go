package prove

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"siprecd/store/audit"
	"siprecd/store/audit/merkle"
	"siprecd/store/disk"
	"siprecd/store/seal"
)

// rig is a folder with a log, which is closed.
type rig struct {
	t       testing.TB
	dir     string
	root    *os.Root
	key     *audit.Key
	box     *seal.Box
	outside []audit.Checkpoint // every checkpoint that left
	files   map[string][]byte
}

const leaves = 60

func newRig(t testing.TB, n int) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	if _, err := seal.InitKeys(r.dir); err != nil {
		t.Fatal(err)
	}
	host, err := seal.LoadHost(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	signer, _ := host.AuditSigner()
	if r.key, err = audit.NewKey(signer); err != nil {
		t.Fatal(err)
	}
	r.box, _ = host.Box(audit.DetailBox, nil)
	if r.root, err = os.OpenRoot(r.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.root.Close() })
	r.fill(n, 0)
	r.files = r.read()
	return r
}

func (r *rig) open(now func() time.Time) *audit.Log {
	r.t.Helper()
	l, err := audit.Open(audit.Options{Root: r.root, Key: r.key, Box: r.box, Tick: time.Hour, Every: time.Hour, Now: now,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Deliver: func(c audit.Checkpoint) { r.outside = append(r.outside, c) }}, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// fill writes n leaves, with a checkpoint after each tenth.
func (r *rig) fill(n, salt int) {
	r.t.Helper()
	l := r.open(nil)
	for i := range n - 1 { // and the tree's own first one
		l.Note(audit.Event{Kind: audit.Made, Recording: recording(i + salt)})
		if i%10 == 8 {
			if err := l.Append(audit.Event{Kind: audit.Exported, Recording: recording(i + salt), Who: "w", Why: "y"}); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		r.t.Fatal(err)
	}
}

func recording(n int) string {
	return disk.Name(disk.ID{0: 1, 6: 0x70, 8: 0x80, 12: byte(n >> 16), 13: byte(n >> 8), 15: byte(n)})
}

func (r *rig) read() map[string][]byte {
	out := map[string][]byte{}
	entries, _ := os.ReadDir(filepath.Join(r.dir, audit.Dir))
	for _, e := range entries {
		out[e.Name()], _ = os.ReadFile(filepath.Join(r.dir, audit.Dir, e.Name()))
	}
	return out
}

func (r *rig) write(files map[string][]byte) {
	r.t.Helper()
	_ = os.RemoveAll(filepath.Join(r.dir, audit.Dir))
	_ = os.Mkdir(filepath.Join(r.dir, audit.Dir), 0o700)
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(r.dir, audit.Dir, name), data, 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) tree() string {
	names, err := audit.Trees(r.root)
	if err != nil || len(names) == 0 {
		r.t.Fatal(names, err)
	}
	return names[0]
}

func (r *rig) verify(outside []byte) (Summary, []Fault) {
	r.t.Helper()
	var faults []Fault
	s, err := Verify(Options{Root: r.root, Key: r.key, Box: r.box, Outside: outside, Found: func(f Fault) { faults = append(faults, f) }})
	if err != nil {
		r.t.Fatal(err)
	}
	return s, faults
}

// newest is the newest checkpoint from outside.
func (r *rig) newest() audit.Checkpoint { return r.outside[len(r.outside)-1] }

func TestClean(t *testing.T) {
	r := newRig(t, leaves)
	var all []byte
	for _, c := range r.outside {
		all = append(append(all, c.Note...), '\n')
		all = append(all, "<109>1 2026-11-23T16:00:00Z host siprecd 1 audit - "+c.Line()+"\n"...)
	}
	s, faults := r.verify(all)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if s.Trees != 1 || s.Outside != 2*len(r.outside) || s.Stored < 5 || s.Leaves < leaves || len(s.Proven) == 0 {
		t.Fatalf("%+v", s)
	}
}

// hashesOf makes the hash file that fits a log.
func hashesOf(t testing.TB, log []byte) (out []byte) {
	t.Helper()
	var f merkle.Frontier
	for r := audit.NewReader(bytes.NewReader(log)); ; {
		leaf, err := r.Next()
		if err != nil {
			return out
		}
		for _, h := range f.Add(leaf) {
			out = append(out, h[:]...)
		}
	}
}

func line(leaf []byte) []byte {
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(leaf, crc32.MakeTable(crc32.Castagnoli)), leaf)
}

func renumber(leaf []byte, n int) []byte {
	e, err := audit.ParseLeaf(leaf)
	if err != nil {
		return leaf
	}
	return bytes.Replace(leaf, fmt.Appendf(nil, `{"n":%d,`, e.N), fmt.Appendf(nil, `{"n":%d,`, n), 1)
}

// tamper is a kind of change: it returns other lines, and what must be named.
type tamper struct {
	name  string
	kinds []string // any of them
	do    func(lines [][]byte, at int) [][]byte
}

func tampers() []tamper {
	clone := func(l [][]byte) [][]byte { return append([][]byte(nil), l...) }
	return []tamper{
		{"edit", []string{Edited}, func(l [][]byte, at int) [][]byte {
			l = clone(l)
			leaf := bytes.Replace(l[at][9:len(l[at])-1], []byte(`"at":"2`), []byte(`"at":"1`), 1)
			l[at] = line(leaf)
			return l
		}},
		{"flip", []string{Edited}, func(l [][]byte, at int) [][]byte {
			l = clone(l)
			l[at] = bytes.Clone(l[at])
			l[at][len(l[at])/2] ^= 1
			return l
		}},
		{"delete", []string{Deleted, Truncated}, func(l [][]byte, at int) [][]byte {
			return append(clone(l[:at]), l[at+1:]...)
		}},
		{"insert", []string{Inserted}, func(l [][]byte, at int) [][]byte {
			leaf := []byte(fmt.Sprintf(`{"n":%d,"at":"2026-11-01T00:00:00Z","kind":"opened"}`, at))
			return append(append(clone(l[:at]), line(leaf)), l[at:]...)
		}},
		{"copy", []string{Inserted}, func(l [][]byte, at int) [][]byte {
			return append(append(clone(l[:at]), l[(at+7)%len(l)]), l[at:]...)
		}},
		{"swap", []string{Swapped}, func(l [][]byte, at int) [][]byte {
			l = clone(l)
			o := (at + 5) % len(l)
			l[at], l[o] = l[o], l[at]
			return l
		}},
		{"truncate", []string{Truncated}, func(l [][]byte, at int) [][]byte { return clone(l[:at]) }},
	}
}

// Every kind of change, at every leaf, is found: with the hash file as it was
// it is named to the leaf, with a hash file made to fit between checkpoints,
// and with all stored checkpoints gone by the one from outside.
func TestTampering(t *testing.T) {
	r := newRig(t, leaves)
	name := r.tree()
	lines := bytes.SplitAfter(bytes.TrimSuffix(r.files[name+audit.LogSuffix], nil), []byte("\n"))
	lines = lines[:len(lines)-1]
	for _, x := range tampers() {
		t.Run(x.name, func(t *testing.T) {
			for at := range lines {
				changed := x.do(lines, at)
				for mode, prepare := range modes() {
					files := map[string][]byte{}
					for n, d := range r.files {
						files[n] = d
					}
					var log []byte
					for i, l := range changed {
						leaf, err := audit.NewReader(bytes.NewReader(l)).Next()
						if mode != "hashes kept" && err == nil { // and the leaves' own numbers are made to fit
							l = line(renumber(leaf, i))
						}
						log = append(log, l...)
					}
					files[name+audit.LogSuffix] = log
					prepare(t, name, files)
					r.write(files)
					_, faults := r.verify(r.newest().Note)
					judge(t, x, mode, at, faults)
				}
			}
		})
	}
	r.write(r.files)
	if _, faults := r.verify(r.newest().Note); len(faults) > 0 {
		t.Fatal("the rig itself is at fault", faults)
	}
}

func modes() map[string]func(t testing.TB, name string, files map[string][]byte) {
	fit := func(t testing.TB, name string, files map[string][]byte) {
		files[name+audit.HashSuffix] = hashesOf(t, files[name+audit.LogSuffix])
	}
	return map[string]func(t testing.TB, name string, files map[string][]byte){
		"hashes kept": func(testing.TB, string, map[string][]byte) {},
		"hashes fit":  fit,
		"no checkpoints": func(t testing.TB, name string, files map[string][]byte) {
			fit(t, name, files)
			delete(files, name+audit.CheckpointSuffix)
		},
	}
}

func judge(t *testing.T, x tamper, mode string, at int, faults []Fault) {
	t.Helper()
	if len(faults) == 0 {
		t.Fatalf("%s at %d, %s: not found", x.name, at, mode)
	}
	if mode != "hashes kept" {
		return
	}
	for _, f := range faults {
		for _, k := range x.kinds {
			if f.Kind == k && (f.Leaf == int64(at) || x.name == "swap") {
				return
			}
		}
	}
	t.Fatalf("%s at %d: not located: %v", x.name, at, faults)
}

// A log that was made anew with the host key holds in itself; the checkpoint
// from outside does not.
func TestRebuilt(t *testing.T) {
	r := newRig(t, leaves)
	before := r.newest()
	older := r.outside[1]
	if err := os.RemoveAll(filepath.Join(r.dir, audit.Dir)); err != nil {
		t.Fatal(err)
	}
	r.fill(leaves+20, 3)
	if _, faults := r.verify(nil); len(faults) > 0 {
		t.Fatal(faults)
	}
	for _, c := range []audit.Checkpoint{before, older} {
		_, faults := r.verify(c.Note)
		if len(faults) == 0 || faults[0].Kind != Rebuilt {
			t.Fatal(faults)
		}
	}
}

// Cut off below a checkpoint from outside, hashes and stored checkpoints
// included: only that checkpoint tells.
func TestCutOff(t *testing.T) {
	r := newRig(t, leaves)
	name := r.tree()
	notes := findNotes(r.files[name+audit.CheckpointSuffix])
	c, err := r.key.Read(notes[2])
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(r.files[name+audit.LogSuffix], []byte("\n"))[:c.N]
	log := bytes.Join(lines, nil)
	var kept []byte
	for _, n := range notes[:3] {
		kept = append(append(kept, n...), '\n')
	}
	files := map[string][]byte{name + audit.LogSuffix: log, name + audit.HashSuffix: hashesOf(t, log), name + audit.CheckpointSuffix: kept}
	r.write(files)
	if _, faults := r.verify(nil); len(faults) > 0 {
		t.Fatal(faults)
	}
	_, faults := r.verify(r.newest().Note)
	if len(faults) == 0 || faults[0].Kind != Truncated || faults[0].Leaf != c.N {
		t.Fatal(faults)
	}
}

func TestCheckpointsAreChecked(t *testing.T) {
	r := newRig(t, leaves)
	name := r.tree()
	whole := r.files[name+audit.CheckpointSuffix]
	for at := 0; at < len(whole)-1; at += 7 {
		files := map[string][]byte{}
		for n, d := range r.files {
			files[n] = d
		}
		bad := bytes.Clone(whole)
		bad[at] ^= 4
		files[name+audit.CheckpointSuffix] = bad
		r.write(files)
		if _, faults := r.verify(nil); len(faults) == 0 && at < len(whole)-240 {
			t.Fatalf("byte %d of %d: not found", at, len(whole))
		}
	}
	r.write(r.files)
	other := newRig(t, 3)
	if _, faults := r.verify(other.newest().Note); len(faults) != 1 || faults[0].Kind != Forged {
		t.Fatal(faults)
	}
	if _, faults := r.verify([]byte("nothing\n")); len(faults) != 1 || faults[0].Kind != Forged {
		t.Fatal(faults)
	}
}

// Months: a missing tree is found unless it expired.
func TestChain(t *testing.T) {
	r := &rig{t: t}
	*r = *newRig(t, 5)
	_ = os.RemoveAll(filepath.Join(r.dir, audit.Dir))
	r.outside = nil
	var months atomic.Int64 // the log looks at the clock by itself, too
	start := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	l := r.open(func() time.Time { return start.AddDate(0, int(months.Load()), 0) })
	for range 4 {
		for i := range 3 {
			if err := l.Append(audit.Event{Kind: audit.Made, Recording: recording(i)}); err != nil {
				t.Fatal(err)
			}
		}
		months.Add(1)
	}
	months.Add(-1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	names, _ := audit.Trees(r.root)
	files := r.read()
	if _, faults := r.verify(r.outside[0].Note); len(names) != 4 || len(faults) > 0 {
		t.Fatal(names, faults)
	}
	for _, gone := range names[:3] {
		less := map[string][]byte{}
		for n, d := range files {
			if !strings.HasPrefix(n, gone) {
				less[n] = d
			}
		}
		r.write(less)
		if _, faults := r.verify(nil); len(faults) != 1 || faults[0].Kind != Chain {
			t.Fatal(gone, faults)
		}
	}
	added := map[string][]byte{}
	for n, d := range files {
		added[n] = d
	}
	log := names[1] + audit.LogSuffix
	added[log] = append(bytes.Clone(files[log]), line([]byte(`{"n":4,"at":"2026-10-01T00:00:00Z","kind":"opened"}`))...)
	added[names[1]+audit.HashSuffix] = hashesOf(t, added[log])
	r.write(added)
	if _, faults := r.verify(nil); len(faults) != 1 || faults[0].Kind != Inserted {
		t.Fatal(faults)
	}
}

// Any hash beside the log that is another is found, with the leaf that it came
// with, and the log itself is not blamed.
func TestStoredHashes(t *testing.T) {
	r := newRig(t, 20)
	name := r.tree() + audit.HashSuffix
	for at := 3; at < len(r.files[name]); at += 32 {
		files := map[string][]byte{}
		for n, d := range r.files {
			files[n] = bytes.Clone(d)
		}
		files[name][at] ^= 1
		r.write(files)
		if _, faults := r.verify(r.newest().Note); len(faults) != 1 || faults[0].Kind != Damaged || faults[0].File != audit.Dir+"/"+name {
			t.Errorf("byte %d: %v", at, faults)
		}
	}
}

// Many changes at random, more than one at a time: never a clean verdict.
func TestManyChanges(t *testing.T) {
	r := newRig(t, leaves)
	name := r.tree()
	lines := bytes.SplitAfter(r.files[name+audit.LogSuffix], []byte("\n"))
	lines = lines[:len(lines)-1]
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		changed := lines
		for range 1 + rnd.IntN(3) {
			x := tampers()[rnd.IntN(7)]
			if len(changed) > 1 {
				changed = x.do(changed, rnd.IntN(len(changed)))
			}
		}
		log := bytes.Join(changed, nil)
		if bytes.Equal(log, r.files[name+audit.LogSuffix]) {
			continue
		}
		files := map[string][]byte{}
		for n, d := range r.files {
			files[n] = d
		}
		files[name+audit.LogSuffix] = log
		if rnd.IntN(2) == 0 {
			files[name+audit.HashSuffix] = hashesOf(t, log)
		}
		r.write(files)
		if _, faults := r.verify(r.newest().Note); len(faults) == 0 {
			t.Fatal("not found")
		}
	}
}

func FuzzNotes(f *testing.F) {
	f.Add([]byte("a\nb\nc\n\n— x y\n"))
	f.Add([]byte("<109>1 checkpoint note=YQo= \n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, n := range findNotes(data) {
			if len(n) == 0 {
				t.Fatal("an empty note")
			}
		}
	})
}

// many is a log of 200,000 leaves, which is a busy month.
func many(b *testing.B) *rig {
	r := newRig(b, 10)
	_ = os.RemoveAll(filepath.Join(r.dir, audit.Dir))
	l := r.open(nil)
	for i := range 200_000 {
		l.Note(audit.Event{Kind: audit.Made, Recording: recording(i)})
		if i%10_000 == 9_999 {
			if err := l.Append(audit.Event{Kind: audit.Opened}); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	return r
}

func BenchmarkVerify200k(b *testing.B) {
	r := many(b)
	for b.Loop() {
		if s, faults := r.verify(nil); len(faults) > 0 || s.Leaves < 200_000 {
			b.Fatal(faults, s)
		}
	}
}

// BenchmarkOpen200k is what a command pays that books one event alone; rebuild_ms
// is without the stored hashes, which are made anew.
func BenchmarkOpen200k(b *testing.B) {
	r := many(b)
	for b.Loop() {
		if err := r.open(nil).Close(); err != nil {
			b.Fatal(err)
		}
	}
	hashes := filepath.Join(r.dir, audit.Dir, r.tree()+audit.HashSuffix)
	b.StopTimer()
	start := time.Now()
	if err := os.Remove(hashes); err != nil {
		b.Fatal(err)
	}
	if err := r.open(nil).Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(start).Milliseconds()), "rebuild_ms")
}

// BenchmarkAppend is what one access waits for.
func BenchmarkAppend(b *testing.B) {
	r := newRig(b, 10)
	l := r.open(nil)
	for b.Loop() {
		if err := l.Append(audit.Event{Kind: audit.Opened, Recording: recording(1), Who: "w", Why: "y"}); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}
