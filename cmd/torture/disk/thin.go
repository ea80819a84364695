package disk

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"siprecd/cmd/torture/calls"
	"siprecd/cmd/torture/crash"
	"siprecd/cmd/torture/fault"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
	"siprecd/store"
)

// thinStore makes an ext4 whose disk lies on another file system that is full:
// it promises room that it does not have, and writes fail below the file
// system. fail fills it, mend gives the room back.
func thinStore(l *rig.Lab) (dir string, fail, mend func() error, err error) {
	image, outer, dir := filepath.Join(l.Dir, "outer.img"), filepath.Join(l.Dir, "thin"), filepath.Join(l.Dir, "disk")
	for _, d := range []string{outer, dir} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return "", nil, nil, err
		}
	}
	if err := crash.Guard(l, dir, outer); err != nil {
		return "", nil, nil, err
	}
	inner := filepath.Join(outer, "disk.img")
	for _, c := range [][]string{
		{"truncate", "-s", "400M", image}, {"mkfs.ext4", "-q", "-m", "0", image}, {"mount", "-o", "loop", image, outer},
		{"truncate", "-s", "256M", inner},
		// What the inner file system needs for itself is there from the start.
		{"mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", inner},
		{"mount", "-o", "loop", inner, dir},
	} {
		if _, err := l.Tool(c[0], c[1:]...); err != nil {
			return "", nil, nil, err
		}
	}
	ballast := filepath.Join(outer, "ballast")
	fail = func() error { _, err := Fill(outer, 0); return err }
	mend = func() error { return os.Remove(ballast) }
	return dir, fail, mend, nil
}

// failing has live calls on a disk that begins to fail, and ends as a machine
// does whose disk had lied: killed, and mounted anew.
func failing(l *rig.Lab) error {
	dir, fail, mend, err := thinStore(l)
	if err != nil {
		return err
	}
	s, err := l.ServerIn(filepath.Join(dir, "data"), "store.segment=5s")
	if err != nil {
		return err
	}
	inj, err := fault.New(l, s)
	if err != nil {
		return err
	}
	if _, err := s.Start(); err != nil {
		return err
	}
	w := &writes{last: map[string]time.Time{}}
	inj.Judge(w.note)
	ctx, cancel := context.WithCancel(l)
	began := time.Now()
	done := calls.Place(ctx, l, s, siprectest.Options{Calls: 10, Rate: 20, Duration: time.Minute, Faults: siprectest.Faults{NoBye: true}})
	defer func() { cancel(); <-done }()
	if err := l.Await("live calls with audio on disk", 10*time.Second, func() bool { return calls.Stored(s, 2*time.Second) }); err != nil {
		return err
	}
	broken := newestJournal(s.Dir)
	told, err := failAndMend(l, s, fail, mend)
	if err != nil {
		return err
	}
	known := map[string]calls.Seen{}
	if err := calls.Look(s, known); err != nil {
		return err
	}
	s.Kill()
	refused := strings.Count(s.Output(), "input/output error") + strings.Count(s.Output(), "read-only file system") + strings.Count(s.Output(), "no space left")
	l.Figure("the disk failed", fmt.Sprint(refused > 0), "true", refused > 0)
	l.Count("writes to the journal file that had failed", w.after(broken, told), 0)
	if err := remount(l, dir); err != nil {
		return err
	}
	if _, err := s.Start(); err != nil {
		return err
	}
	return kept(l, s, known, began)
}

// failAndMend has the disk fail for a while; when the alarm came.
func failAndMend(l *rig.Lab, s *rig.Server, fail, mend func() error) (told time.Time, err error) {
	failed := time.Now()
	if err := fail(); err != nil {
		return time.Time{}, err
	}
	if err := l.Await("an alarm", 20*time.Second, func() bool { return s.Get("/readyz") == http.StatusServiceUnavailable }); err != nil {
		return time.Time{}, err
	}
	told = time.Now()
	l.Within("alarm within", told.Sub(failed), 5*time.Second)
	tell := time.NewTimer(4 * time.Second)
	defer tell.Stop()
	select {
	case <-tell.C:
	case <-l.Done():
	}
	if err := mend(); err != nil {
		return time.Time{}, err
	}
	mended := time.Now()
	if err := l.Await("all waiting audio on disk", 20*time.Second, func() bool { return s.Get("/readyz") == http.StatusOK && waiting(s) < 1 }); err != nil {
		return time.Time{}, err
	}
	l.Within("recording again within", time.Since(mended), maxResume)
	if err := l.Await("more audio on disk", 10*time.Second, func() bool { return calls.Stored(s, 10*time.Second) }); err != nil {
		return time.Time{}, err
	}
	return told, nil
}

// remount shows what the disk has, and not what is in memory.
func remount(l *rig.Lab, dir string) error {
	image := filepath.Join(l.Dir, "thin", "disk.img")
	if _, err := l.Tool("umount", dir); err != nil {
		return err
	}
	_, err := l.Tool("mount", "-o", "loop", image, dir)
	return err
}

// kept compares what was acknowledged with what is there.
func kept(l *rig.Lab, s *rig.Server, known map[string]calls.Seen, began time.Time) error {
	holder, err := calls.Identity(s.Dir)
	if err != nil {
		return err
	}
	st, err := calls.Open(l, s.Dir)
	if err != nil {
		return err
	}
	lost := 0
	var g ledger
	for row, err := range st.List(l, store.Query{From: began}) {
		if err != nil {
			return err
		}
		k, ok := known[row.ID]
		delete(known, row.ID)
		h, err := calls.Hear(l, st, row.ID, holder)
		if err != nil || ok && time.Duration(len(h.Packets)-h.Filled())*calls.Packet < k.Stored {
			lost++
			l.Logf("%s: %d packets, %d of them filled, %v was acknowledged: %v", row.ID, len(h.Packets), h.Filled(), k.Stored, err)
			continue
		}
		g.add(l, h, 0)
	}
	l.Count("recordings with acknowledged audio lost", lost+len(known), 0)
	g.figures(l, "after the kill", 10)
	if err := st.Close(l); err != nil {
		return err
	}
	if code := s.Stop(unix.SIGTERM); code != 0 {
		return fmt.Errorf("stopped with %d", code)
	}
	return calls.Verify(l, s.Dir)
}

// writes remembers when each file was last written.
type writes struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (w *writes) note(op fault.Op) fault.Answer {
	if op.Kind == fault.Write || op.Kind == fault.Sync {
		w.mu.Lock()
		w.last[op.Path] = time.Now()
		w.mu.Unlock()
	}
	return fault.Answer{}
}

// after says whether a file was written after an instant.
func (w *writes) after(file string, at time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last[file].After(at) {
		return 1
	}
	return 0
}

// newestJournal is the journal file that was begun last.
func newestJournal(dir string) string {
	names, _ := filepath.Glob(filepath.Join(dir, "journal", "journal-*.db"))
	newest, number := "", -1
	for _, name := range names {
		var n int
		if _, err := fmt.Sscanf(filepath.Base(name), "journal-%d.db", &n); err == nil && n > number && !strings.HasSuffix(name, ".new") {
			newest, number = "journal/"+filepath.Base(name), n
		}
	}
	return newest
}
