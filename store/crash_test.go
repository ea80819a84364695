package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"siprecd/store/disk"
	"siprecd/store/work"
)

// When set, the test binary is the recorder that gets killed.
const childEnv = "SIPRECD_STORE_CRASH_DIR"

// How many calls the child holds; also taken from the environment by hand, for
// a longer run: SIPRECD_STORE_CRASH_CALLS=200 go test -run Kill ./store/
const callsEnv = "SIPRECD_STORE_CRASH_CALLS"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := crashChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// numbered is packet n: it can be told apart from every other one.
func numbered(n int) []byte {
	p := bytes.Repeat([]byte{0x55}, 80)
	p[0] = 1<<3 | 4
	binary.BigEndian.PutUint32(p[1:], uint32(n))
	return p
}

// crashChild records calls without end and says what is durable: after each
// flush one line with id and packet count for every call.
func crashChild(dir string) error {
	calls := 8
	fmt.Sscan(os.Getenv(callsEnv), &calls)
	s, err := Open(context.Background(), Options{Dir: dir, Segment: time.Second, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	recs := make([]*Recording, calls)
	sent := make([]int, calls)
	t := time.NewTicker(20 * time.Millisecond)
	for n := 0; ; n++ {
		for i := range recs {
			if recs[i] == nil {
				if recs[i], err = s.Begin(context.Background(), admission()); err != nil {
					return err
				}
				sent[i] = 0
				fmt.Printf("begun %s\n", recs[i].ID())
			}
			for range 5 { // five times real time
				recs[i].WritePackets([][]byte{numbered(sent[i])})
				sent[i]++
			}
			if i == 0 {
				fmt.Printf("sent %s %d\n", recs[i].ID(), sent[i])
			}
			if n%97 == 90+i%7 {
				if err := recs[i].Finish(context.Background(), Closing{Ended: time.Now(), Samples: int64(sent[i])*960 - 312, Cause: "bye"}); err != nil {
					return err
				}
				fmt.Printf("finished %s %d\n", recs[i].ID(), sent[i])
				recs[i] = nil
			}
		}
		if n%10 == 0 {
			if err := s.journal.Flush(context.Background()); err != nil {
				return err
			}
			for i, r := range recs {
				if r != nil {
					fmt.Printf("acked %s %d\n", r.ID(), sent[i])
				}
			}
		}
		<-t.C
	}
}

// TestKill kills a recorder at random moments, again and again on the same
// folder, and checks that nothing acknowledged is lost and nothing is left live.
func TestKill(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	h := newHouse(t)
	total := 0
	for round := range rounds {
		k := killOne(t, h.dir, time.Duration(300+rand.IntN(1500))*time.Millisecond)
		start := time.Now()
		s := h.open(t)
		took := time.Since(start)
		total += s.Recovered()
		t.Logf("round %d: %d recordings, %d recovered in %v", round, len(k.acked), s.Recovered(), took)
		if took > 30*time.Second { // row A1 holds it against 3 s
			t.Errorf("ready after %v", took)
		}
		for id, n := range k.acked {
			have := checkKilled(t, s, h, id, n, k.finished[id])
			if sent := k.sent[id]; sent > 0 {
				lost := time.Duration(sent-have) * 4 * time.Millisecond // five times real time
				t.Logf("round %d: the newest call lost %v", round, lost)
				if lost > time.Second {
					t.Errorf("lost %v", lost)
				}
			}
		}
		for row, err := range s.List(t.Context(), Query{State: Live}) {
			t.Errorf("left live: %v %v", row.ID, err)
		}
		shut(t, s)
	}
	verifyClean(t, h)
	if total == 0 {
		t.Error("no round interrupted anything")
	}
}

// killed is what the child said of each call before it died.
type killed struct {
	acked, sent map[string]int
	finished    map[string]bool
}

func killOne(t *testing.T, dir string, after time.Duration) killed {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	k := killed{map[string]int{}, map[string]int{}, map[string]bool{}}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		n := 0
		if len(f) == 3 {
			fmt.Sscan(f[2], &n)
		}
		if len(f) < 2 || len(f[1]) != 36 {
			continue // cut by the kill
		}
		if f[0] != "begun" && len(f) < 3 {
			continue
		}
		if f[0] == "sent" {
			k.sent = map[string]int{f[1]: n} // only the newest counts: it may have been cut
			continue
		}
		k.acked[f[1]] = max(k.acked[f[1]], n)
		k.finished[f[1]] = k.finished[f[1]] || f[0] == "finished"
	}
	_ = cmd.Wait()
	if stderr.Len() > 0 {
		t.Fatalf("the child failed by itself: %s", stderr.Bytes())
	}
	return k
}

func checkKilled(t *testing.T, s *Store, h house, id string, acked int, finished bool) (packets int) {
	t.Helper()
	row, err := s.Get(id)
	if err != nil {
		t.Fatalf("%s was begun and is gone: %v", id, err)
	}
	if row.State != Finished || finished && row.Interrupted {
		t.Errorf("%s: %+v, finished before the kill: %v", id, row, finished)
	}
	have, _ := export(t, s, h, id)
	if acked > 0 && len(have) < acked {
		t.Errorf("%s: %d packets, %d were acknowledged", id, len(have), acked)
	}
	for n, p := range have {
		if row.Segments > 0 && !bytes.Equal(p, numbered(n)) {
			t.Fatalf("%s: packet %d is another one", id, n)
		}
	}
	return len(have)
}

// TestInterrupted closes the store with a call live: the next Open finishes it
// and says so.
func TestInterrupted(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Segment = time.Second })
	r, err := s.Begin(t.Context(), admission())
	if err != nil {
		t.Fatal(err)
	}
	silent, err := s.Begin(t.Context(), admission())
	if err != nil {
		t.Fatal(err)
	}
	want := fake(130)
	feed(r, want)
	r.Event("hold", "on hold")
	shut(t, s)
	verifyClean(t, h)

	s = h.open(t)
	if s.Recovered() != 2 {
		t.Errorf("recovered %d, want 2", s.Recovered())
	}
	have, _ := export(t, s, h, r.ID())
	samePackets(t, have, want)
	x, err := s.Read(t.Context(), someone, r.ID())
	if err != nil {
		t.Fatal(err)
	}
	m := x.Manifest
	if !m.Interrupted || m.Cause != "interrupted" || m.Samples != 130*960-312 || len(m.Segments) != 3 || len(m.Gaps) != 0 {
		t.Errorf("manifest %+v", m)
	}
	if want := m.Started.Add(time.Duration(m.Duration * float64(time.Second))); m.Ended.Sub(want).Abs() > time.Millisecond {
		t.Errorf("ended %v, want %v", m.Ended, want)
	}
	d, err := x.Details(h.escrow)
	if err != nil || len(d.History) != 1 || len(d.Documents) != 1 {
		t.Errorf("details %+v, %v", d, err)
	}
	row, err := s.Get(silent.ID())
	if err != nil || !row.Interrupted || row.Segments != 0 {
		t.Errorf("call without audio: %+v, %v", row, err)
	}
	shut(t, s)
	verifyClean(t, h)
}

// TestDamagedJournal flips a byte in a frame: the rest is kept, the hole is
// filled and named.
func TestDamagedJournal(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Tick = time.Hour })
	r, err := s.Begin(t.Context(), admission())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		feed(r, fake(50))
		if err := s.journal.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	shut(t, s)
	names, err := filepath.Glob(h.dir + "/journal/journal-*.db")
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	file := names[0]
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := disk.ParseName(r.ID())
	about := binary.BigEndian.AppendUint32(append(id[:], 0, 0, 0, 0), 50)
	at := bytes.Index(data, about)
	if at < 0 {
		t.Fatal("second frame not found")
	}
	data[at+200] ^= 1
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var found []Finding
	if err := Verify(t.Context(), h.dir, h.log, func(f Finding) { found = append(found, f) }); err != nil {
		t.Fatal(err)
	}
	named := false
	for _, f := range found {
		named = named || f.Recording == r.ID() && strings.HasPrefix(f.File, "journal/")
	}
	if !named {
		t.Errorf("findings do not name file and recording: %v", found)
	}
	s = h.open(t)
	x, err := s.Read(t.Context(), someone, r.ID())
	if err != nil {
		t.Fatal(err)
	}
	if g := x.Manifest.Gaps; len(g) != 1 || g[0].Packets != 50 || x.Manifest.Samples != 150*960-312 {
		text, _ := json.Marshal(x.Manifest)
		t.Errorf("manifest %s", text)
	}
	shut(t, s)
}

// hold is a job that keeps one of the pool's goroutines until release is closed.
func hold(release <-chan struct{}) work.Job {
	return work.Job{What: "hold", Urgent: true, Run: func() error { <-release; return nil }}
}
