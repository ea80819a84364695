package theft

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
	"siprecd/store"
	"siprecd/store/fill"
)

// busy is E3b: recordings are erased one after the other, so that the databases
// are compacted all the time, while 200 calls are live and new ones come.
func busy(l *rig.Lab) error {
	boxes, live, rate := 100_000, 200, 20.0
	if l.Rounds < 5 {
		boxes, live, rate = 3000, 5, 5
	}
	s, rows, err := full(l, boxes)
	if err != nil {
		return err
	}
	legs := []siprectest.Leg{{Name: "A", Audio: audio.Tone(440, -18)}, {Name: "B", Audio: audio.Tone(1000, -18)}}
	long := s.Place(siprectest.Options{Calls: live, Rate: 20, Duration: time.Hour, Legs: legs, SharePorts: true})
	if err := l.Await("all are up", time.Minute, func() bool { n, _ := s.Metric("srs_sessions_active"); return int(n) >= live }); err != nil {
		return err
	}
	quiet, err := siprectest.Run(l, siprectest.Options{Target: "udp://" + s.UDP, Calls: int(rate) * 3, Rate: rate, Duration: 200 * time.Millisecond, Legs: legs, Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(l)
	defer cancel()
	var during siprectest.Report
	done := make(chan error, 1)
	go func() {
		var err error
		during, err = siprectest.Run(ctx, siprectest.Options{Target: "udp://" + s.UDP, Calls: 100_000, Rate: rate, Duration: 200 * time.Millisecond, Legs: legs, Timeout: 10 * time.Second})
		done <- err
	}()
	if err := l.Await("calls come", time.Minute, func() bool { n, _ := s.Metric("srs_sessions_active"); return int(n) > live }); err != nil {
		return err
	}
	began, longest := time.Now(), time.Duration(0)
	for _, r := range rows {
		one := time.Now()
		if _, err := s.Do("erase", r.ID, "--reason", "x", "--yes"); err != nil {
			return err
		}
		longest = max(longest, time.Since(one))
	}
	l.Logf("%d erasures took %v", len(rows), time.Since(began))
	cancel()
	if err := <-done; err != nil {
		return err
	}
	report, err := long.Stop()
	if err != nil {
		return err
	}
	text, _ := json.Marshal(quiet.Totals.Setup)
	l.Logf("admission before: %s", text)
	text, _ = json.Marshal(during.Totals.Setup)
	l.Logf("admission meanwhile, %d calls: %s", during.Totals.Calls, text)
	l.Count("live calls lost", lost(report), 0)
	l.Within("admission while compacting, 99 of 100", time.Duration(during.Totals.Setup.P99*float64(time.Second)), 150*time.Millisecond)
	l.Within(fmt.Sprintf("longest erasure among %d keyboxes", boxes), longest, 5*time.Second)
	return nil
}

// lost is how many calls that were taken did not come to a good end.
func lost(r siprectest.Report) (n int) {
	for _, c := range r.Calls {
		if c.Code/100 == 2 && !c.OK() {
			n++
		}
	}
	return n
}

// full is a server that has many keyboxes, and some recordings that are real.
func full(l *rig.Lab, boxes int) (*rig.Server, []store.Row, error) {
	s, err := l.Server()
	if err != nil {
		return nil, nil, err
	}
	if err := fillFolder(l, s.Dir, boxes); err != nil {
		return nil, nil, err
	}
	if _, err := s.Start(); err != nil {
		return nil, nil, err
	}
	rows, err := made(l, s, l.Rounds)
	return s, rows, err
}

// made places short calls and gives their rows, without those that were filled in.
func made(l *rig.Lab, s *rig.Server, n int) ([]store.Row, error) {
	since := time.Now().Add(-time.Second)
	legs := []siprectest.Leg{{Name: "A", Audio: audio.Tone(440, -18)}, {Name: "B", Audio: audio.Tone(1000, -18)}}
	if _, err := siprectest.Run(l, siprectest.Options{Target: "udp://" + s.UDP, Calls: n, Concurrent: 10, Duration: 300 * time.Millisecond, Legs: legs, Timeout: 10 * time.Second}); err != nil {
		return nil, err
	}
	var rows []store.Row
	err := l.Await("the calls are finished", 30*time.Second, func() bool {
		rows, _ = s.List("--state", "finished", "--from", since.UTC().Format(time.RFC3339))
		return len(rows) >= n
	})
	return rows[:min(n, len(rows))], err
}

// fillFolder fills a folder's databases, long ago.
func fillFolder(l *rig.Lab, dir string, n int) error {
	now := time.Now()
	return fill.Run(l, fill.Options{
		Dir: dir, Count: n, From: now.AddDate(0, 0, -300), To: now.AddDate(0, 0, -1), Callers: 1000,
		Lines:     []fill.Line{{Name: "Building control", Number: "02088256020"}},
		Normalise: func(s string) string { return s }, Logger: slog.New(slog.DiscardHandler),
	})
}

func hexID(id string) ([]byte, error) { return hex.DecodeString(strings.ReplaceAll(id, "-", "")) }
