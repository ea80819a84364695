package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"siprecd/store"
)

// The tests in files named e2e_* run the real binary on real sockets and judge
// it with tools that were not written here: SIPp places calls, ffmpeg sends
// and decodes audio, opusinfo and age open the files.

// program is the binary under test, built once.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "siprecd-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "siprecd")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build siprecd: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// server is one running siprecd with a data folder of its own.
type server struct {
	t              *testing.T
	dir            string
	udp, tcp, http string // host:port
	sets           []string
	cmd            *exec.Cmd
	log            *syncBuffer
	done           chan error
}

// newServer makes a data folder; start runs the server on it.
func newServer(t *testing.T, sets ...string) *server {
	t.Helper()
	s := &server{t: t, dir: filepath.Join(t.TempDir(), "data")}
	siprecd(t, "init", "--dir", s.dir)
	sip, web := freePort(t), freePort(t)
	for web == sip {
		web = freePort(t)
	}
	s.udp, s.tcp, s.http = "127.0.0.1:"+sip, "127.0.0.1:"+sip, "127.0.0.1:"+web
	low := mediaPorts(t)
	s.sets = append([]string{
		"sip.listen=[udp://" + s.udp + ", tcp://" + s.tcp + "]",
		"http.listen=" + s.http,
		fmt.Sprintf("media.ports=%d-%d", low, low+199),
		"store.reserve=1MiB",
	}, sets...)
	return s
}

// args are a command's arguments with this server's configuration.
func (s *server) args(command string, args ...string) []string {
	out := []string{command, "--config", filepath.Join(s.dir, "siprecd.yaml")}
	for _, v := range s.sets {
		out = append(out, "--set", v)
	}
	return append(out, args...)
}

// start runs the server and waits until it is ready.
func (s *server) start(flags ...string) {
	s.t.Helper()
	s.launch(flags...)
	await(s.t, "the server to be ready", 60*time.Second, func() bool {
		select {
		case err := <-s.done:
			s.cmd = nil // nobody is left to be waited for
			s.t.Fatalf("the server ended: %v\n%s", err, s.log)
		default:
		}
		return s.get("/readyz") == http.StatusOK
	})
}

// launch runs the server.
func (s *server) launch(flags ...string) {
	s.t.Helper()
	s.cmd = exec.Command(program, s.args("serve", flags...)...)
	s.log = &syncBuffer{}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.done = make(chan error, 1)
	go func() { s.done <- s.cmd.Wait() }()
	s.t.Cleanup(func() {
		s.kill(syscall.SIGKILL)
		if s.t.Failed() {
			s.t.Logf("the server's log:\n%s", s.log)
		}
	})
}

// get is the status code of one HTTP path, 0 when nobody answers.
func (s *server) get(path string) int {
	res, err := http.Get("http://" + s.http + path)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// kill ends the server and waits for it.
func (s *server) kill(sig os.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	<-s.done
	s.cmd = nil
}

// run is a command of the binary on this server's folder; its stdout.
func (s *server) run(command string, args ...string) string {
	s.t.Helper()
	return siprecd(s.t, s.args(command, args...)...)
}

// list is what `siprecd list --json` says.
func (s *server) list(args ...string) []store.Row {
	s.t.Helper()
	var rows []store.Row
	sc := bufio.NewScanner(strings.NewReader(s.run("list", append([]string{"--json"}, args...)...)))
	for sc.Scan() {
		var r store.Row
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			s.t.Fatalf("list --json: %v in %s", err, sc.Text())
		}
		rows = append(rows, r)
	}
	return rows
}

// finished waits until n recordings are listed as finished, and returns them.
func (s *server) finished(n int) []store.Row {
	s.t.Helper()
	var rows []store.Row
	await(s.t, fmt.Sprintf("%d finished recordings", n), 60*time.Second, func() bool {
		rows = s.list("--state", "finished")
		return len(rows) >= n
	})
	if len(rows) != n {
		s.t.Fatalf("%d recordings are finished, want %d", len(rows), n)
	}
	return rows
}

// export writes a recording to a new file and gives its path.
func (s *server) export(id string) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), id+".opus")
	s.run("export", id, "-o", path)
	return path
}

// siprecd runs the binary, which must succeed, and gives its stdout.
func siprecd(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("siprecd %s: %v\n%s%s", strings.Join(args, " "), err, &out, &errs)
	}
	return out.String()
}

// tool runs an outsider, which must succeed, and gives its stdout.
func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &errs)
	}
	return out.Bytes()
}

// await polls a condition until it holds.
func await(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited %v for %s", within, what)
		case <-tick.C:
		}
	}
}

// lateness has a step done every so often and returns what ends that and tells
// how late a step was done at most. One that does nothing tells how busy the
// machine is, one that syncs a file how slow its disk.
func lateness(t *testing.T, every time.Duration, step func()) (end func() time.Duration) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	worst := make(chan time.Duration, 1)
	go func() {
		late := time.Duration(0)
		tick := time.NewTimer(every)
		defer tick.Stop()
		for began := time.Now(); ; began = time.Now() {
			select {
			case <-ctx.Done():
				worst <- late
				return
			case <-tick.C:
			}
			step()
			late = max(late, time.Since(began)-every)
			tick.Reset(every)
		}
	}()
	end = sync.OnceValue(func() time.Duration {
		stop()
		return <-worst
	})
	t.Cleanup(func() { end() })
	return end
}

// freePort is a port below the system's own range that is free for TCP and UDP,
// and that no other test gets while this one runs.
func freePort(t *testing.T) string {
	t.Helper()
	for port := 12000 + os.Getpid()%20*200; port < 20000; port += 20 { // SIPp takes some above its own
		claim, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1))
		if err != nil {
			continue
		}
		t.Cleanup(func() { claim.Close() })
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		p, err := net.ListenPacket("udp", addr)
		l.Close()
		if err != nil {
			continue
		}
		p.Close()
		return fmt.Sprint(port)
	}
	t.Fatal("no free port")
	return ""
}

// mediaPorts is the low end of 200 ports below the system's own range, a
// different one for every server of this run.
func mediaPorts(t *testing.T) int {
	t.Helper()
	for low := 20000 + os.Getpid()%40*200; low < 32000; low += 200 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", low+1))
		if err != nil {
			continue
		}
		t.Cleanup(func() { l.Close() }) // the claim on the block
		return low
	}
	t.Fatal("no free block of media ports")
	return 0
}

// syncBuffer is a bytes.Buffer that a process writes while a test reads.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
