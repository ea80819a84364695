package disk

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"siprecd/cmd/torture/calls"
	"siprecd/cmd/torture/crash"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
)

// Small makes an ext4 of its own and mounts it.
func Small(l *rig.Lab, size string) (string, error) {
	image, dir := filepath.Join(l.Dir, "small.img"), filepath.Join(l.Dir, "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	if err := crash.Guard(l, dir); err != nil {
		return "", err
	}
	for _, c := range [][]string{{"truncate", "-s", size, image}, {"mkfs.ext4", "-q", "-m", "0", image}, {"mount", "-o", "loop", image, dir}} {
		if _, err := l.Tool(c[0], c[1:]...); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// Fill leaves so many bytes free; release gives the space back.
func Fill(dir string, leave int64) (release func() error, err error) {
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	release = func() error { return os.Remove(name) }
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return release, err
	}
	if n := int64(st.Bavail)*st.Bsize - leave; n > 0 {
		if err := unix.Fallocate(int(f.Fd()), 0, 0, n); err != nil && leave > 0 {
			return release, err
		}
	}
	if leave > 0 {
		return release, nil
	}
	block := make([]byte, 4096)
	for { // to the last block
		if _, err := f.Write(block); err != nil {
			return release, nil
		}
	}
}

// full has live calls on a disk that runs full for less than a minute, for more,
// and below the reserve only.
func full(l *rig.Lab) error {
	dir, err := Small(l, "160M")
	if err != nil {
		return err
	}
	s, err := l.ServerIn(filepath.Join(dir, "data"), "store.segment=5s", "store.reserve=8MiB")
	if err != nil {
		return err
	}
	if _, err := s.Start(); err != nil {
		return err
	}
	if err := belowReserve(l, s, dir); err != nil {
		return err
	}
	holds, live := []time.Duration{45 * time.Second, 75 * time.Second}, 20
	if l.Rounds == 1 {
		holds, live = []time.Duration{3 * time.Second}, 4
	}
	for _, hold := range holds {
		if err := fullFor(l, s, dir, hold, live); err != nil {
			return fmt.Errorf("full for %v: %w", hold, err)
		}
	}
	if code := s.Stop(unix.SIGTERM); code != 0 {
		return fmt.Errorf("stopped with %d", code)
	}
	return calls.Verify(l, s.Dir)
}

// belowReserve leaves less than the reserve: new calls are refused at once, and
// taken again as soon as there is room.
func belowReserve(l *rig.Lab, s *rig.Server, dir string) error {
	release, err := Fill(dir, 4<<20)
	if err != nil {
		return err
	}
	if err := l.Await("the refusal of new calls", 5*time.Second, func() bool { return s.Get("/readyz") == http.StatusServiceUnavailable }); err != nil {
		return err
	}
	code, took := try(l, l, s)
	l.Count("below the reserve: answer to a new call", code, 503)
	l.Within("below the reserve: refused within", took, maxRefusal)
	if err := release(); err != nil {
		return err
	}
	if err := l.Await("readiness", maxResume, func() bool { return s.Get("/readyz") == http.StatusOK }); err != nil {
		return err
	}
	return nil
}

// fullFor fills the disk to the last block under live calls.
func fullFor(l *rig.Lab, s *rig.Server, dir string, hold time.Duration, live int) error {
	ctx, cancel := context.WithCancel(l)
	defer cancel()
	began := time.Now()
	lasting := hold + 12*time.Second
	done := calls.Place(ctx, l, s, siprectest.Options{Calls: live, Rate: 20, Duration: lasting})
	if err := l.Await("live calls with audio on disk", 20*time.Second, func() bool { return calls.Stored(s, 2*time.Second) }); err != nil {
		return err
	}
	release, err := Fill(dir, 0)
	if err != nil {
		return err
	}
	filled := time.Now()
	if err := l.Await("an alarm", 5*time.Second, func() bool { return s.Get("/readyz") == http.StatusServiceUnavailable }); err != nil {
		return err
	}
	name := fmt.Sprintf("full for %v", hold)
	code, took := try(l, l, s)
	l.Count(name+": answer to a new call", code, 503)
	l.Within(name+": refused within", took, maxRefusal)
	pause := time.NewTimer(time.Until(filled.Add(hold)))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-l.Done():
	}
	if err := release(); err != nil {
		return err
	}
	freed := time.Now()
	err = l.Await("all waiting audio on disk", 20*time.Second, func() bool { return s.Get("/readyz") == http.StatusOK && waiting(s) < l.Ease(time.Second).Seconds() })
	if err != nil {
		return err
	}
	l.Within(name+": recording again within", time.Since(freed), maxResume)
	rep := <-done
	l.Count(name+": calls that came to their end", rep.Totals.Completed, live)
	if err := l.Await("all recordings finished", 10*time.Second, func() bool { return finished(l, s, began, live) }); err != nil {
		return err
	}
	var g ledger
	if err := g.read(l, s, began, lasting-time.Second); err != nil {
		return err
	}
	g.figures(l, name, live)
	if hold < time.Minute {
		l.AtMost(name+": most lost of a call", g.gap, 0)
	} else {
		l.AtMost(name+": most lost of a call", g.gap, hold-time.Minute+2*time.Second)
		l.Figure(name+": the ledger has gaps", g.gap.String(), "> 0", g.gap > 0)
	}
	return nil
}

// waiting is how old the oldest audio is that is not on disk, in seconds.
func waiting(s *rig.Server) float64 {
	st, err := s.Status()
	j, ok := st["journal"].(map[string]any)
	age, _ := j["age_seconds"].(float64)
	if err != nil || !ok {
		return 1e9
	}
	return age
}

// finished says that so many recordings, begun from an instant on, are.
func finished(l *rig.Lab, s *rig.Server, from time.Time, want int) bool {
	rows, err := calls.List(l, s, from)
	if err != nil {
		return false
	}
	n := 0
	for _, r := range rows {
		if r.State == "finished" {
			n++
		}
	}
	return n == len(rows) && n >= want
}
