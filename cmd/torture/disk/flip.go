package disk

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"golang.org/x/sys/unix"

	"siprecd/cmd/torture/calls"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
	"siprecd/store"
)

// flips damages one file of a folder in each round: a bit is flipped, or the
// file is cut. Every other folder is one that was left by a kill.
func flips(l *rig.Lab) error {
	f := &flipper{lab: l, refused: map[string]int{}, place: l.Dir}
	if dir, err := os.MkdirTemp("/dev/shm", "siprecd-flips-"); err == nil { // thousands of starts: no disk need bear them
		f.place = dir
		l.Cleanup(func() { os.RemoveAll(dir) })
	}
	if err := f.prepare(); err != nil {
		return err
	}
	for round := range l.Rounds {
		if err := f.round(round); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	l.Count("damages after a clean stop that verify does not find", f.unseen, 0)
	l.Figure("damages after a kill found", fmt.Sprintf("%d of %d; the rest is in unused space", f.found, f.killed), "told", true)
	l.Count("starts that say nothing of why they refuse", f.mute, 0)
	l.Figure("starts refused for a database that cannot be read at all", fmt.Sprint(f.refused["catalog.db"]+f.refused["keys.db"]), "told", true)
	delete(f.refused, "catalog.db")
	delete(f.refused, "keys.db")
	l.Figure("starts refused for any other file", fmt.Sprint(len(f.refused)), "0", len(f.refused) == 0)
	l.Count("recordings not touched and not readable", f.unreadable, 0)
	l.Count("starts after the first that go another way", f.loops, 0)
	return nil
}

type flipper struct {
	lab    *rig.Lab
	place  string // where folders are damaged
	holder age.Identity
	bases  []string       // stopped clean, killed
	done   map[string]int // finished recordings of both: packets

	unseen, found, killed, mute, unreadable, loops int
	refused                                        map[string]int
}

// prepare makes the two folders.
func (f *flipper) prepare() error {
	l := f.lab
	s, err := l.Server("store.segment=5s")
	if err != nil {
		return err
	}
	if _, err := s.Start(); err != nil {
		return err
	}
	if f.holder, err = calls.Identity(s.Dir); err != nil {
		return err
	}
	rep := <-calls.Place(l, l, s, siprectest.Options{Calls: 6, Duration: 5500 * time.Millisecond})
	if rep.Totals.Completed != 6 {
		return fmt.Errorf("calls: %v", rep)
	}
	if err := l.Await("finished recordings", 10*time.Second, func() bool { return finished(l, s, time.Time{}, 6) }); err != nil {
		return err
	}
	f.done = map[string]int{}
	if err := f.note(s.Dir); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(l)
	done := calls.Place(ctx, l, s, siprectest.Options{Calls: 3, Duration: time.Minute, Faults: siprectest.Faults{NoBye: true}})
	if err := l.Await("live calls with audio on disk", 10*time.Second, func() bool { return calls.Stored(s, time.Second) }); err != nil {
		cancel()
		return err
	}
	s.Kill()
	cancel()
	<-done
	killed := filepath.Join(l.Dir, "killed")
	if err := copyFolder(s.Dir, killed); err != nil {
		return err
	}
	if _, err := s.Start(); err != nil {
		return err
	}
	if code := s.Stop(unix.SIGTERM); code != 0 {
		return fmt.Errorf("stopped with %d", code)
	}
	f.bases = []string{s.Dir, killed}
	return calls.Verify(l, s.Dir)
}

// note remembers what is finished.
func (f *flipper) note(dir string) error {
	st, err := calls.Open(f.lab, dir)
	if err != nil {
		return err
	}
	for row, err := range st.List(f.lab, store.Query{}) {
		if err != nil {
			return err
		}
		h, err := calls.Hear(f.lab, st, row.ID, f.holder)
		if err != nil {
			return err
		}
		f.done[row.ID] = len(h.Packets)
	}
	return st.Close(f.lab)
}

// copyFolder copies regular files.
func copyFolder(from, to string) error {
	return filepath.WalkDir(from, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, name)
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if !e.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o600)
	})
}

// victims are the files that are damaged: databases as often as all the rest.
func victims(dir string) (dbs, others []string, err error) {
	err = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		switch {
		case strings.HasSuffix(rel, ".db"):
			dbs = append(dbs, rel)
		case strings.HasPrefix(rel, "recordings/") || strings.HasPrefix(rel, "journal/"):
			others = append(others, rel)
		}
		return nil
	})
	return dbs, others, err
}

// damage flips a bit of a file or cuts it.
func damage(name string) (what string, err error) {
	data, err := os.ReadFile(name)
	if err != nil || len(data) == 0 {
		return "nothing", err
	}
	at := rand.IntN(len(data))
	if rand.IntN(3) == 0 {
		return fmt.Sprintf("cut at %d of %d", at, len(data)), os.Truncate(name, int64(at))
	}
	data[at] ^= 1 << rand.IntN(8)
	return fmt.Sprintf("bit flipped at %d of %d", at, len(data)), os.WriteFile(name, data, 0o600)
}

func (f *flipper) round(n int) error {
	base := f.bases[n%2]
	dir := filepath.Join(f.place, "hurt")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := copyFolder(base, dir); err != nil {
		return err
	}
	dbs, others, err := victims(dir)
	if err != nil {
		return err
	}
	from := dbs
	if n%4 >= 2 {
		from = others
	}
	file := from[rand.IntN(len(from))]
	what, err := damage(filepath.Join(dir, file))
	if err != nil {
		return err
	}
	f.verify(dir, file, what, n%2 == 1)
	f.start(dir, file, what)
	return nil
}

// verify says whether the damage is found and named.
func (f *flipper) verify(dir, file, what string, killed bool) {
	named := false
	err := store.Verify(f.lab, dir, slog.New(slog.DiscardHandler), func(x store.Finding) {
		named = named || x.File == file
	})
	switch {
	case killed:
		f.killed++
		if named {
			f.found++
		}
	case !named:
		f.unseen++
		f.lab.Logf("%s, %s: not found (%v)", file, what, err)
	}
}

// start opens the folder as the recorder does, twice, and reads what is not
// touched.
func (f *flipper) start(dir, file, what string) {
	for again := range 2 {
		st, err := store.Open(f.lab, store.Options{Dir: dir, Segment: 5 * time.Second, Tick: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			f.refused[filepath.Base(file)]++
			f.lab.Logf("%s, %s: start: %v", file, what, err)
			if !strings.Contains(err.Error(), filepath.Base(file)) {
				f.mute++
			}
			return
		}
		if again == 1 {
			f.read(st, file, what)
		}
		if err := st.Close(f.lab); err != nil {
			f.loops++
			f.lab.Logf("%s, %s: close: %v", file, what, err)
			return
		}
	}
}

func (f *flipper) read(st *store.Store, file, what string) {
	bad := 0
	var why error
	for _, id := range slices.Sorted(maps.Keys(f.done)) {
		if strings.Contains(file, id) {
			continue
		}
		h, err := calls.Hear(f.lab, st, id, f.holder)
		if err != nil || len(h.Packets) != f.done[id] {
			bad++
			why = err
		}
	}
	if bad > 0 {
		f.unreadable += bad
		f.lab.Logf("%s, %s: %d of %d recordings are not readable: %v", file, what, bad, len(f.done), why)
	}
}
