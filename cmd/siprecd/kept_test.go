package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"siprecd/cmd/siprecd/config"
	"siprecd/media/ogg"
	"siprecd/recorder"
	"siprecd/recorder/web"
	"siprecd/store"
	"siprecd/store/policy"
)

// shelf is a data folder with recordings in it; nobody serves it.
type shelf struct {
	t   *testing.T
	dir string
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{t, filepath.Join(t.TempDir(), "data")}
	if code, _, stderr := s.program("init", "--dir", s.dir); code != 0 {
		t.Fatal(stderr)
	}
	return s
}

// program runs siprecd in this process.
func (s *shelf) program(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	var out, errs bytes.Buffer
	code = run(s.t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// on runs a command on the folder.
func (s *shelf) on(command string, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	return s.program(append([]string{command, "--config", filepath.Join(s.dir, "siprecd.yaml")}, args...)...)
}

// open opens the folder as the server does.
func (s *shelf) open() *store.Store {
	s.t.Helper()
	cfg, _, err := config.Load(filepath.Join(s.dir, "siprecd.yaml"), nil, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	rules, err := policy.New(cfg.Policy)
	if err != nil {
		s.t.Fatal(err)
	}
	kept, err := store.Open(s.t.Context(), store.Options{
		Dir: s.dir, Segment: time.Second, Normalise: rules.Normalise, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return kept
}

func (s *shelf) close(kept *store.Store) {
	s.t.Helper()
	if err := kept.Close(context.WithoutCancel(s.t.Context())); err != nil {
		s.t.Fatal(err)
	}
}

const preSkip = 312

// record makes one recording of n packets of 20 ms and finishes it; each
// packet holds its number.
func (s *shelf) record(kept *store.Store, line string, n int) string {
	s.t.Helper()
	d := store.Details{Caller: "sip:+442079460123@sbc.example;user=phone", Called: "+442088257050", Agent: "a\x1b[2Jgent", Numbers: []string{"+442079460123"}}
	r, err := kept.Begin(s.t.Context(), store.Admission{
		Line: line, Started: time.Now(), Channels: 2, Rate: 8000, PreSkip: preSkip, Details: d,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range n {
		r.WritePackets([][]byte{packet(i)})
	}
	err = r.Finish(s.t.Context(), store.Closing{
		Ended: time.Now(), Samples: int64(n)*960 - preSkip - 100, Cause: "bye", Details: d,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, func() bool {
		row, err := kept.Get(r.ID())
		return err == nil && row.State == store.Finished
	})
	return r.ID()
}

// packet is a CELT packet of 20 ms, stereo, that holds a number.
func packet(n int) []byte {
	return []byte{31<<3 | 4, byte(n >> 8), byte(n)}
}

// numbers reads an Opus file back: the packets' numbers, and how much plays.
func numbers(t *testing.T, data []byte) (got []int, total int64) {
	t.Helper()
	in, err := ogg.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if in.Head().PreSkip != preSkip {
		t.Errorf("pre-skip %d", in.Head().PreSkip)
	}
	for {
		p, err := in.Next()
		if errors.Is(err, io.EOF) {
			return got, in.Total()
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, int(p.Data[1])<<8|int(p.Data[2]))
	}
}

// wantWhole checks that a file is the whole recording of n packets.
func wantWhole(t *testing.T, data []byte, n int) {
	t.Helper()
	got, total := numbers(t, data)
	for i, v := range got {
		if v != i {
			t.Fatalf("packet %d is number %d", i, v)
		}
	}
	if want := int64(n)*960 - preSkip - 100; len(got) != n || total != want {
		t.Errorf("%d packets, %d samples; want %d, %d", len(got), total, n, want)
	}
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	deadline, tick := time.After(10*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not happen in time")
		}
	}
}

func TestListWithAndWithoutServer(t *testing.T) {
	s := newShelf(t)
	kept := s.open()
	first := s.record(kept, "council tax", 60)
	second := s.record(kept, "parks", 10)
	check := func(how string) {
		t.Helper()
		code, stdout, stderr := s.on("list", "--json")
		if code != 0 {
			t.Fatalf("%s: exit %d: %s", how, code, stderr)
		}
		var rows []store.Row
		for line := range strings.Lines(stdout) {
			var r store.Row
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, r)
		}
		if len(rows) != 2 || rows[0].ID != second || rows[1].ID != first || rows[1].Line != "council tax" {
			t.Fatalf("%s: not the two, newest first: %+v", how, rows)
		}
		for args, want := range map[string]int{
			"--line=parks": 1, "--number=020 7946 0123": 2, "--number=020 7946 0999": 0, "--state=live": 0,
			"--from=1h": 2, "--to=1h": 0, "--limit=1": 1, "--limit=0": 2, "--to=2020-01-01": 0,
		} {
			_, stdout, _ := s.on("list", "--json", args)
			if n := strings.Count(stdout, "\n"); n != want {
				t.Errorf("%s: list %s: %d rows, want %d", how, args, n, want)
			}
		}
	}
	check("while it is open elsewhere")
	s.close(kept)
	check("while nobody has it open")
}

func TestListTable(t *testing.T) {
	s := newShelf(t)
	if code, stdout, stderr := s.on("list"); code != 0 || stdout != "" || stderr != "no recordings\n" {
		t.Errorf("empty: %d %q %q", code, stdout, stderr)
	}
	if code, _, stderr := s.on("verify"); code != 0 || !strings.Contains(stderr, "nothing has been recorded") {
		t.Errorf("empty: %d %q", code, stderr)
	}
	kept := s.open()
	id := s.record(kept, "council tax", 60)
	s.close(kept)
	code, stdout, _ := s.on("list")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if code != 0 || len(lines) != 2 {
		t.Fatalf("exit %d: %q", code, stdout)
	}
	for _, want := range []string{id, "council tax", "finished", "0:01", " +442079460123 ", "a\uFFFD[2Jgent"} {
		if !strings.Contains(lines[1], want) {
			t.Errorf("%q lacks %q", lines[1], want)
		}
	}
	if strings.Index(lines[0], "LINE") != strings.Index(lines[1], "council tax") {
		t.Errorf("columns are not aligned:\n%s", stdout)
	}
	for _, bad := range [][]string{{"--limit=-1"}, {"--from=yesterday"}, {"--state=dead"}} {
		if code, _, _ := s.on("list", bad...); code != 2 {
			t.Errorf("list %v: exit %d, want 2", bad, code)
		}
	}
}

func TestExport(t *testing.T) {
	s := newShelf(t)
	kept := s.open()
	id := s.record(kept, "council tax", 130) // three segments
	out := filepath.Join(t.TempDir(), "call.opus")
	code, _, stderr := s.on("export", id[:13], "-o", out)
	if code != 0 || !strings.Contains(stderr, "0:03, stereo (left caller, right line), council tax") {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	s.close(kept)
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	wantWhole(t, data, 130)
	if info, _ := os.Stat(out); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v: others can hear it", info.Mode())
	}
	if code, _, stderr := s.on("export", id, "-o", out); code != 2 || !strings.Contains(stderr, "--force") {
		t.Errorf("a file was replaced: exit %d: %s", code, stderr)
	}
	if code, _, stderr := s.on("export", id, "-o", out, "--force"); code != 0 {
		t.Errorf("--force: exit %d: %s", code, stderr)
	}
	code, stdout, _ := s.on("export", id, "-o", "-")
	if code != 0 {
		t.Errorf("to stdout: exit %d", code)
	}
	wantWhole(t, []byte(stdout), 130)
}

func TestExportRefusals(t *testing.T) {
	s := newShelf(t)
	kept := s.open()
	id := s.record(kept, "parks", 10)
	s.record(kept, "parks", 10)
	r, err := kept.Begin(t.Context(), store.Admission{Line: "parks", Started: time.Now(), Channels: 2, Rate: 8000, PreSkip: preSkip})
	if err != nil {
		t.Fatal(err)
	}
	other := newShelf(t)
	dir := t.TempDir()
	out := filepath.Join(dir, "call.opus")
	for _, tt := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{id[:4], "-o", out}, 1, "more than one"},
		{[]string{"ffff", "-o", out}, 1, "no recording"},
		{[]string{r.ID(), "-o", out}, 1, "still live"},
		{[]string{id, "-o", out, "-i", filepath.Join(other.dir, "keys", "console.key")}, 1, "does not open"},
		{[]string{id, "-o", out, "-i", filepath.Join(dir, "none.key")}, 1, "none.key"},
		{[]string{id, "-o", dir}, 2, "folder"},
		{[]string{id, "-o", filepath.Join(dir, "no", "such", "call.opus")}, 1, "no such"},
		{[]string{id, "-o", "-", "--sealed"}, 2, "folder"},
		{[]string{id, "-o", s.dir, "--sealed"}, 2, "not empty"},
		{[]string{id}, 2, "output"},
	} {
		code, _, stderr := s.on("export", tt.args...)
		if code != tt.code || !strings.Contains(stderr, tt.say) {
			t.Errorf("export %v: exit %d: %s", tt.args, code, stderr)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("a refusal left %v behind", entries)
	}
	s.close(kept)
}

func TestSealedExportAndDecrypt(t *testing.T) {
	s := newShelf(t)
	kept := s.open()
	id := s.record(kept, "council tax", 130)
	second := s.record(kept, "parks", 10)
	s.close(kept)
	dir := filepath.Join(t.TempDir(), "sealed")
	foreign := filepath.Join(t.TempDir(), "foreign")
	for id, dir := range map[string]string{id: dir, second: foreign} {
		if code, _, stderr := s.on("export", id, "--sealed", "-o", dir); code != 0 {
			t.Fatalf("exit %d: %s", code, stderr)
		}
	}
	key := filepath.Join(t.TempDir(), "console.key")
	pub := filepath.Join(t.TempDir(), "manifest.pub")
	for to, from := range map[string]string{key: "console.key", pub: "manifest.pub"} {
		if err := os.Rename(filepath.Join(s.dir, "keys", from), to); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(s.dir); err != nil { // another machine
		t.Fatal(err)
	}
	segment := func(n string) string { return filepath.Join(dir, "00000"+n+".opus.age") }
	box := filepath.Join(dir, "keybox.age")
	for _, tt := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{dir}, 0, "0:03, segments: 3"},
		{[]string{dir, "--signed-by", pub}, 0, "wrote"},
		{[]string{"--keybox", box, segment("0"), segment("1"), segment("2")}, 0, "segments: 3"},
		{[]string{segment("0")}, 2, "--keybox"},
		{[]string{"--keybox", box, segment("0"), segment("2")}, 2, "does not follow"},
		{[]string{"--keybox", box, segment("1"), segment("0")}, 2, "does not follow"},
		{[]string{"--keybox", filepath.Join(foreign, "keybox.age"), segment("0")}, 1, "000000"},
		{[]string{"--keybox", filepath.Join(foreign, "keybox.age"), dir}, 1, "not the keybox"},
		{[]string{t.TempDir()}, 1, "not a sealed export"},
		{[]string{filepath.Join(dir, "none")}, 1, "none"},
		{[]string{dir, "-i", filepath.Join(dir, "none.key")}, 1, "none.key"},
	} {
		out := filepath.Join(t.TempDir(), "call.opus")
		args := append([]string{"decrypt", "-o", out, "-i", key}, tt.args...)
		code, _, stderr := s.program(args...)
		if code != tt.code || !strings.Contains(stderr, tt.say) {
			t.Errorf("decrypt %v: exit %d: %s", tt.args, code, stderr)
		}
		data, err := os.ReadFile(out)
		if (err == nil) != (tt.code == 0) {
			t.Errorf("decrypt %v: exit %d, file: %v", tt.args, code, err)
		}
		if err == nil {
			wantWhole(t, data, 130)
		}
	}
	damage(t, segment("1"))
	out := filepath.Join(t.TempDir(), "call.opus")
	if code, _, stderr := s.program("decrypt", dir, "-o", out, "-i", key); code != 1 || !strings.Contains(stderr, "000001.opus.age: damaged") {
		t.Errorf("damaged: exit %d: %s", code, stderr)
	}
	damage(t, filepath.Join(dir, "manifest.json"))
	if code, _, stderr := s.program("decrypt", dir, "-o", out, "-i", key, "--signed-by", pub); code != 1 || !strings.Contains(stderr, "signature") {
		t.Errorf("manifest changed: exit %d: %s", code, stderr)
	}
}

// damage changes one byte in the middle of a file.
func damage(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyCommand(t *testing.T) {
	s := newShelf(t)
	kept := s.open()
	good, bad := s.record(kept, "parks", 10), s.record(kept, "parks", 10)
	s.close(kept)
	code, stdout, stderr := s.on("verify")
	if code != 0 || stdout != "" || !strings.Contains(stderr, "2 finished recording(s), no fault") {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	segments, err := filepath.Glob(filepath.Join(s.dir, "recordings", "*", "*", "*", bad, "*.opus.age"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("%v %v", segments, err)
	}
	damage(t, segments[0])
	code, stdout, stderr = s.on("verify")
	if code != 1 || strings.Count(stdout, "\n") != 1 || !strings.Contains(stdout, bad) || !strings.Contains(stderr, "1 fault(s)") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if code, stdout, _ := s.on("verify", good); code != 0 || stdout != "" {
		t.Errorf("the good one: exit %d: %s", code, stdout)
	}
	code, stdout, _ = s.on("verify", bad, "--json")
	var f fault
	if err := json.Unmarshal([]byte(stdout), &f); code != 1 || err != nil || f.Recording != bad || f.Error == "" {
		t.Errorf("exit %d: %q: %v", code, stdout, err)
	}
	if code, _, _ := s.on("verify", "ffff"); code != 1 {
		t.Errorf("no such recording: exit %d", code)
	}
}

// statusReel is a recorder for tail: one status after the other.
type statusReel struct{ states chan recorder.Status }

func (s statusReel) Status() recorder.Status { return <-s.states }
func (s statusReel) Ready() []recorder.Check { return nil }

func TestTail(t *testing.T) {
	dir, err := os.MkdirTemp("", "tail") // short: a socket's address has little room
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &shelf{t, filepath.Join(dir, "d")}
	if code, _, stderr := s.program("init", "--dir", s.dir); code != 0 {
		t.Fatal(stderr)
	}
	if code, _, stderr := s.on("tail"); code != 1 || !strings.Contains(stderr, "no server is running") {
		t.Errorf("without a server: exit %d: %s", code, stderr)
	}
	ln, err := web.ListenControl(t.Context(), filepath.Join(s.dir, web.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	src := statusReel{make(chan recorder.Status, 2)}
	src.states <- recorder.Status{OK: true, Sentence: "All is recorded."}
	src.states <- recorder.Status{OK: false, Sentence: "Not all is recorded."}
	close(src.states)
	srv := web.NewHTTPServer(web.New(web.Options{Source: src}).Control())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	out := &stopAt{word: "problem   Not all is recorded.", stop: cancel}
	args := []string{"tail", "--config", filepath.Join(s.dir, "siprecd.yaml")}
	defer cancel()
	var errs bytes.Buffer
	if code := run(ctx, args, strings.NewReader(""), out, &errs); code != 0 {
		t.Errorf("exit %d: %s", code, &errs)
	}
	if !strings.Contains(out.String(), "status   ok        All is recorded.\n") || !strings.Contains(out.String(), out.word) {
		t.Errorf("said %q", out)
	}
	srv.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// stopAt ends the program once it has said a word.
type stopAt struct {
	said bytes.Buffer // not embedded: its WriteString would go past Write
	word string
	stop context.CancelFunc
}

func (s *stopAt) String() string { return s.said.String() }

func (s *stopAt) Write(p []byte) (int, error) {
	n, err := s.said.Write(p)
	if strings.Contains(s.String(), s.word) {
		s.stop()
	}
	return n, err
}
