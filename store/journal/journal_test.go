package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"siprecd/store/seal"
)

func host(t testing.TB) *seal.Host {
	t.Helper()
	dir := t.TempDir()
	if _, err := seal.InitKeys(dir); err != nil {
		t.Fatal(err)
	}
	h, err := seal.LoadHost(dir)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func start(t testing.TB, dir string, h *seal.Host, change ...func(*Options)) *Journal {
	t.Helper()
	o := Options{Dir: dir, Host: h, Tick: 5 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&o)
	}
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func flush(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func packet(n int) []byte { return fmt.Appendf(nil, "packet %d", n) }

func write(s *Stream, from, to int) {
	for n := from; n < to; n++ {
		s.Write([][]byte{packet(n)})
	}
}

func check(t testing.TB, j *Journal, g Segment, from, to int) {
	t.Helper()
	c, err := j.Read(g, 10)
	if err != nil || c.Damaged != 0 || c.First != from || len(c.Packets) != to-from {
		t.Fatalf("segment %d: %d packets from %d, %d damaged, %v; want %d to %d", g.Seq, len(c.Packets), c.First, c.Damaged, err, from, to)
	}
	for i, p := range c.Packets {
		if !bytes.Equal(p, packet(from+i)) {
			t.Fatalf("packet %d is %q", from+i, p)
		}
	}
}

// TestSegments checks cutting, pre-roll, reading back and a restart.
func TestSegments(t *testing.T) {
	dir, h := t.TempDir(), host(t)
	var mu sync.Mutex
	var cuts []Segment
	j := start(t, dir, h, func(o *Options) {
		o.Cut = func(s Segment) { mu.Lock(); cuts = append(cuts, s); mu.Unlock() }
	})
	s := j.Stream([16]byte{1}, 10)
	buf := packet(0)
	s.Write([][]byte{buf})
	buf[0] = 'X' // the journal must have its own copy
	write(s, 1, 7)
	flush(t, j)
	write(s, 7, 25)
	flush(t, j)
	all := func(j *Journal) {
		t.Helper()
		check(t, j, Segment{[16]byte{1}, 0}, 0, 10)
		check(t, j, Segment{[16]byte{1}, 1}, 6, 20)
		check(t, j, Segment{[16]byte{1}, 2}, 16, 25)
	}
	all(j)
	mu.Lock()
	if len(cuts) != 2 || cuts[0].Seq != 0 || cuts[1].Seq != 1 {
		t.Errorf("cuts %v", cuts)
	}
	mu.Unlock()
	if n := s.Close(); n != 25 {
		t.Errorf("%d packets", n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = start(t, dir, h)
	if len(j.Segments()) != 3 {
		t.Errorf("segments %v", j.Segments())
	}
	all(j)
	j.Release(j.Segments()...)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(dir + "/*"); len(left) != 1 || filepath.Base(left[0]) != ListFile {
		t.Errorf("left: %v", left)
	}
	if err := j.Flush(t.Context()); err == nil {
		t.Error("flush of a closed journal")
	}
}

// TestGenerations checks that files are begun anew and deleted as segments are
// released, and not before.
func TestGenerations(t *testing.T) {
	dir, h := t.TempDir(), host(t)
	j := start(t, dir, h, func(o *Options) { o.Generation = 20 * time.Millisecond })
	a, b := j.Stream([16]byte{1}, 1000), j.Stream([16]byte{2}, 1000)
	files := func() int { list, _ := filepath.Glob(dir + "/journal-*.db"); return len(list) }
	wait := time.NewTicker(25 * time.Millisecond)
	defer wait.Stop()
	for i := range 4 {
		write(a, i, i+1)
		if i == 0 {
			write(b, 0, 1)
		}
		flush(t, j)
		<-wait.C
	}
	if n := files(); n < 3 {
		t.Errorf("%d files", n)
	}
	j.Release(Segment{[16]byte{1}, 0})
	until(t, func() bool { flush(t, j); return files() == 1 })
	check(t, j, Segment{[16]byte{2}, 0}, 0, 1)
	j.Release(Segment{[16]byte{2}, 0})
	until(t, func() bool { flush(t, j); return files() == 0 })
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func until(t testing.TB, ok func() bool) {
	t.Helper()
	tick, end := time.NewTicker(5*time.Millisecond), time.NewTimer(time.Minute)
	defer tick.Stop()
	defer end.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatal("condition not reached")
		}
	}
}

// TestBound keeps the disk away for longer than memory may hold: packets are
// left out and counted, Write does not block, and the timeline stays true.
func TestBound(t *testing.T) {
	dir, h := t.TempDir(), host(t)
	j := start(t, dir, h, func(o *Options) { o.Tick = time.Hour })
	s := j.Stream([16]byte{1}, 100000)
	write(s, 0, MaxWait+500)
	if st := j.Stats(); st.Missed != 500 || st.Pending == 0 || st.Oldest.IsZero() {
		t.Errorf("stats %+v", st)
	}
	flush(t, j)
	write(s, MaxWait+500, MaxWait+510)
	flush(t, j)
	c, err := j.Read(Segment{[16]byte{1}, 0}, 100000)
	if err != nil || len(c.Packets) != MaxWait+510 {
		t.Fatal(len(c.Packets), err)
	}
	for n, p := range c.Packets {
		missing := n >= MaxWait && n < MaxWait+500
		if missing != (p == nil) || !missing && !bytes.Equal(p, packet(n)) {
			t.Fatalf("packet %d: %q", n, p)
		}
	}
	if st := j.Stats(); st.Pending != 0 || !st.Oldest.IsZero() {
		t.Errorf("stats %+v", st)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = j.Flush(ctx) // must return
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedFile puts a file aside that is none, and goes on.
func TestDamagedFile(t *testing.T) {
	dir, h := t.TempDir(), host(t)
	if err := os.WriteFile(dir+"/journal-3.db", bytes.Repeat([]byte("x"), 20000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/journal-4.db.new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	j := start(t, dir, h)
	s := j.Stream([16]byte{1}, 10)
	write(s, 0, 3)
	flush(t, j)
	check(t, j, Segment{[16]byte{1}, 0}, 0, 3)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(dir + "/*")
	if len(names) != 3 || filepath.Base(names[0]) != "damaged-journal-3.db" {
		t.Errorf("files %v", names)
	}
}

// FuzzEntries reads foreign bytes as a tick's value and as an entry.
func FuzzEntries(f *testing.F) {
	f.Add(append(appendHeader(nil, Segment{Seq: 1}, 7, 3), 1, 2, 3))
	f.Add(binary.AppendUvarint(nil, 1<<60))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = eachEntry(data, func(e entry) {
			if e.offset < headerSize || e.length < 0 || e.offset+e.length > len(data) {
				t.Fatalf("entry out of bounds: %+v of %d", e, len(data))
			}
		})
		packets, err := split(data)
		if err == nil {
			var n int
			for _, p := range packets {
				n += len(p)
			}
			if n > len(data) {
				t.Fatalf("%d bytes of packets in %d", n, len(data))
			}
		}
	})
}

// TestList takes journal files away from a run that was cut off, each in turn,
// the newest too: the list names the one that is missing.
func TestList(t *testing.T) {
	dir, h := t.TempDir(), host(t)
	j := start(t, dir, h, func(o *Options) { o.Generation = time.Nanosecond })
	s := j.Stream([16]byte{1}, 1000)
	for i := range 3 {
		write(s, i, i+1)
		flush(t, j)
	}
	j.Release(Segment{[16]byte{2}, 0}) // nothing of ours
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	missing := func() (list []string) {
		CheckList(dir, h, func(file string, err error) { list = append(list, file) })
		return list
	}
	names, _ := filepath.Glob(dir + "/*")
	if len(names) != 4 || len(missing()) != 0 {
		t.Fatalf("files %v, missing %v", names, missing())
	}
	for _, name := range names {
		if err := os.Rename(name, name+".away"); err != nil {
			t.Fatal(err)
		}
		if list := missing(); len(list) != 1 || list[0] != filepath.Base(name) {
			t.Errorf("%s removed: missing %v", name, list)
		}
		if err := os.Rename(name+".away", name); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(names[2]); err != nil {
		t.Fatal(err)
	}
	j = start(t, dir, h) // says it in the log, and the list is true again
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if list := missing(); len(list) != 0 {
		t.Errorf("missing after the next start: %v", list)
	}
}

// lines collects a log.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(p))
	return len(p), nil
}

func (l *lines) count(word string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.all {
		if strings.Contains(s, word) {
			n++
		}
	}
	return n
}

// TestTroubleIsSaidOnce lets every commit fail for many ticks: one line when
// it begins and one when it is over, although each try names another file.
func TestTroubleIsSaidOnce(t *testing.T) {
	dir, h := filepath.Join(t.TempDir(), "journal"), host(t)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	j := start(t, dir, h, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	s := j.Stream([16]byte{1}, 1000)
	write(s, 0, 1)
	until(t, func() bool { return log.count("level=ERROR") == 1 })
	for range 20 {
		if err := j.FlushWithin(10*time.Millisecond, nil); err == nil {
			t.Fatal("flush without a folder")
		}
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	flush(t, j)
	check(t, j, Segment{[16]byte{1}, 0}, 0, 1)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if fails, over := log.count("level=ERROR"), log.count("journal commits again"); fails != 1 || over != 1 {
		t.Errorf("%d errors, %d ends: %q", fails, over, log.all)
	}
}

// TestEnd reads what is left of a damaged segment.
func TestEnd(t *testing.T) {
	dir, h := t.TempDir(), host(t)
	j := start(t, dir, h, func(o *Options) { o.Tick = time.Hour })
	s := j.Stream([16]byte{1}, 10)
	write(s, 0, 12)
	flush(t, j)
	write(s, 12, 14)
	flush(t, j)
	write(s, 14, 16)
	flush(t, j)
	last := Segment{[16]byte{1}, 1}
	j.mu.Lock()
	for i := range j.index[last] {
		j.index[last][i].length-- // does not open
	}
	j.mu.Unlock()
	if c, err := j.Read(last, 10); err != nil || c.Damaged != 3 || c.End != 15 || len(c.Packets) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	j.mu.Lock()
	j.index[last][2].first = 1 << 30
	j.mu.Unlock()
	if c, err := j.Read(last, 10); err != nil || c.End != 13 {
		t.Errorf("a mad header is believed: %+v, %v", c, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestHung lets the commit goroutine hang, as in a disk that does not answer:
// who flushes returns when his time is over.
func TestHung(t *testing.T) {
	release := make(chan struct{})
	j := start(t, t.TempDir(), host(t), func(o *Options) { o.Cut = func(Segment) { <-release } })
	write(j.Stream([16]byte{1}, 1), 0, 1)
	until(t, func() bool { return j.Stats().Commits == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	stop := make(chan struct{})
	close(stop)
	if err := j.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("flush: %v", err)
	}
	if err := j.FlushWithin(time.Hour, stop); err == nil {
		t.Error("flushed")
	}
	close(release)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
