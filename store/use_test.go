package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func ids(t testing.TB, s *Store, q Query) (list []string) {
	t.Helper()
	for row, err := range s.List(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, row.ID)
	}
	return list
}

func TestList(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Tick = 5 * time.Millisecond })
	day := time.Date(2026, 3, 28, 23, 59, 59, 0, time.UTC)
	var made []string
	for i := range 6 {
		a := admission()
		a.Started = day.Add(time.Duration(i) * time.Second)
		a.Line = []string{"parks", "planning"}[i%2]
		a.Details = Details{Caller: fmt.Sprintf("+44 20 7946 000%d", i%3)}
		r, err := s.Begin(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, r.ID())
		if i < 5 {
			c := Closing{Ended: a.Started, Cause: "bye", Details: a.Details}
			if err := r.Finish(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		} else {
			feed(r, fake(50))
		}
	}
	check := func(s *Store) {
		t.Helper()
		for _, c := range []struct {
			q    Query
			want []int
		}{
			{Query{}, []int{5, 4, 3, 2, 1, 0}},
			{Query{Limit: 2}, []int{5, 4}},
			{Query{Line: "parks"}, []int{4, 2, 0}},
			{Query{Line: "nowhere"}, nil},
			{Query{Number: "020 7946 0001"}, []int{4, 1}},
			{Query{Number: "+442079460001", Line: "planning"}, []int{1}},
			{Query{State: Live}, []int{5}},
			{Query{State: Finished, Limit: 1}, []int{4}},
			{Query{From: day.Add(time.Second)}, []int{5, 4, 3, 2, 1}},
			{Query{To: day.Add(time.Second)}, []int{0}},
			{Query{From: day.Add(time.Second), To: day.Add(3 * time.Second), Line: "planning"}, []int{1}},
		} {
			var want []string
			for _, i := range c.want {
				want = append(want, made[i])
			}
			if got := ids(t, s, c.q); !slices.Equal(got, want) {
				t.Errorf("%+v: %v, want %v", c.q, got, want)
			}
		}
		if _, err := s.Get(made[0][:2]); !errors.Is(err, ErrAmbiguous) {
			t.Errorf("short prefix: %v", err)
		}
		for _, id := range []string{"", "zz", made[0] + "0", "ffffffff"} {
			if _, err := s.Get(id); !errors.Is(err, ErrNotFound) {
				t.Errorf("get %q: %v", id, err)
			}
		}
		if row, err := s.Get(strings.ToUpper(made[5])); err != nil || row.Duration != 1 {
			t.Errorf("live row: %+v, %v", row, err)
		}
		if _, err := s.Details(Access{Who: "x"}, made[0]); !errors.Is(err, ErrAccess) {
			t.Errorf("details without a reason: %v", err)
		}
		if _, err := s.Read(t.Context(), Access{Why: "x"}, made[0]); !errors.Is(err, ErrAccess) {
			t.Errorf("read without a name: %v", err)
		}
		if d, err := s.Details(someone, made[0]); err != nil || d.Caller != "+44 20 7946 0000" {
			t.Errorf("details %+v, %v", d, err)
		}
	}
	check(s)
	other := h.open(t, func(o *Options) { o.ReadOnly = true }) // asks the one that writes
	check(other)
	export(t, other, h, made[0])
	if _, err := other.Begin(t.Context(), admission()); !errors.Is(err, ErrReadOnly) {
		t.Errorf("begin: %v", err)
	}
	verifyClean(t, h)
	shut(t, other)
	shut(t, s)
	alone := h.open(t, func(o *Options) { o.ReadOnly = true }) // opens the files itself
	if got := ids(t, alone, Query{}); len(got) != 6 {
		t.Errorf("read-only list: %v", got)
	}
	shut(t, alone)
	if _, err := os.Stat(filepath.Join(h.dir, "closed.json")); err != nil {
		t.Errorf("reading removed the stamp: %v", err)
	}
}

func TestLocked(t *testing.T) {
	h := newHouse(t)
	s := h.open(t)
	start := time.Now()
	_, err := Open(t.Context(), Options{Dir: h.dir, Logger: h.log})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second open: %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("refused after %v", took)
	}
	r, err := s.Begin(t.Context(), admission()) // the first one is not harmed
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Finish(t.Context(), closing(0)); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	shut(t, h.open(t))
}

// TestMany runs 50 calls at once.
func TestMany(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Segment = time.Second; o.Tick = 20 * time.Millisecond })
	var work sync.WaitGroup
	for i := range 50 {
		work.Go(func() {
			want := fake(60 + 7*i%90)
			id := record(t, s, want)
			have, _ := export(t, s, h, id)
			samePackets(t, have, want)
		})
	}
	work.Wait()
	health := s.Health()
	if health.Live != 0 || health.Finished != 50 || health.Recordings != 50 || health.LastError != nil || health.DiskFree == 0 {
		t.Errorf("health %+v", health)
	}
	until(t, patience, "journal empty", func() bool {
		names, err := filepath.Glob(filepath.Join(h.dir, "journal", "journal-*.db"))
		return err == nil && len(names) == 0
	})
	shut(t, s)
	verifyClean(t, h)
}

// until polls a condition.
// patience is how long a slow disk may take for what takes an instant.
const patience = time.Minute

func until(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	tick, end := time.NewTicker(5*time.Millisecond), time.NewTimer(limit)
	defer tick.Stop()
	defer end.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatal("not within ", limit, ": ", what)
		}
	}
}

// flushInVain flushes a journal that cannot be written, until it says so.
func flushInVain(t *testing.T, s *Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.journal.Flush(ctx) }()
	until(t, patience, "the journal says that it fails", func() bool { return s.journal.Err() != nil })
	cancel()
	if err := <-done; err == nil {
		t.Error("flush to a full disk says it is durable")
	}
}

// breakFile makes writes to the open database whose name contains part fail
// with ENOSPC, really: its descriptor is replaced by /dev/full. The returned
// function puts it back.
func breakFile(t *testing.T, part string) (mend func()) {
	t.Helper()
	full, err := unix.Open("/dev/full", unix.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	for _, e := range fds {
		var fd int
		fmt.Sscan(e.Name(), &fd)
		name, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if !strings.Contains(name, part) || strings.HasSuffix(name, "(deleted)") {
			continue
		}
		saved, err := unix.Dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Dup2(full, fd); err != nil {
			t.Fatal(err)
		}
		return func() {
			// The store may have gone on in a new file and closed this one: its
			// number then is free, or another file's, which must not be hit.
			if now, _ := os.Readlink("/proc/self/fd/" + e.Name()); now == "/dev/full" {
				_ = unix.Dup2(saved, fd)
			}
			_ = unix.Close(saved)
			_ = unix.Close(full)
		}
	}
	t.Fatal("no open file ", part)
	return nil
}

// TestFailedJournal lets the journal file fail in mid-call: it is not written
// again, and nothing is lost.
func TestFailedJournal(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Tick = time.Hour })
	r, err := s.Begin(t.Context(), admission())
	if err != nil {
		t.Fatal(err)
	}
	want := fake(150)
	feed(r, want[:50])
	if err := s.journal.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	mend := breakFile(t, h.dir+"/journal/journal-1.db")
	feed(r, want[50:100])
	flushInVain(t, s)
	if _, err := s.Begin(t.Context(), admission()); err == nil {
		t.Error("a new call is admitted while the journal fails")
	}
	if health := s.Health(); health.LastError == nil || health.PendingBytes == 0 || health.JournalAge == 0 {
		t.Errorf("health %+v", health)
	}
	mend()
	feed(r, want[100:])
	if err := s.journal.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.dir + "/journal/journal-2.db"); err != nil {
		t.Errorf("no new file was begun: %v", err)
	}
	if health := s.Health(); health.LastError != nil || health.PendingBytes != 0 {
		t.Errorf("health afterwards %+v", health)
	}
	if err := r.Finish(t.Context(), closing(150)); err != nil {
		t.Fatal(err)
	}
	have, _ := export(t, s, h, r.ID())
	samePackets(t, have, want)
	shut(t, s)
	verifyClean(t, h)
}

// TestFailedCatalogue does it to the two other databases: Begin goes on in a new
// file at once, and all that was acknowledged is there.
func TestFailedCatalogue(t *testing.T) {
	for _, file := range []string{"catalog.db", "keys.db"} {
		t.Run(file, func(t *testing.T) {
			h := newHouse(t)
			s := h.open(t, func(o *Options) { o.Tick = 10 * time.Millisecond })
			before := record(t, s, fake(30))
			r, err := s.Begin(t.Context(), admission())
			if err != nil {
				t.Fatal(err)
			}
			mend := breakFile(t, h.dir+"/"+file)
			moved, err := s.Begin(t.Context(), admission()) // in a new file
			if err != nil {
				t.Fatalf("one failed write costs a call: %v", err)
			}
			if err := moved.Finish(t.Context(), closing(0)); err != nil {
				t.Error(err)
			}
			want := fake(40)
			feed(r, want)
			mend()
			until(t, patience, "admission works again", func() bool {
				r, err := s.Begin(t.Context(), admission())
				if err != nil {
					return false
				}
				return r.Finish(t.Context(), closing(0)) == nil
			})
			if err := r.Finish(t.Context(), closing(40)); err != nil {
				t.Fatal(err)
			}
			have, _ := export(t, s, h, r.ID())
			samePackets(t, have, want)
			if _, err := s.Get(before); err != nil {
				t.Error(err)
			}
			shut(t, s)
			verifyClean(t, h)
		})
	}
}
