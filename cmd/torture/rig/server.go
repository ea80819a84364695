package rig

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"siprecd/store"
)

// Server is one siprecd with a folder and ports of its own. Those methods that
// start and end it belong to one goroutine; the others may be called from any.
type Server struct {
	Dir            string // the data folder
	UDP, TCP, HTTP string // host:port
	Sets           []string
	Env            []string // besides the environment
	Wrap           []string // a command that runs it: prlimit, ip netns exec ...

	lab  *Lab
	out  *output
	port int    // the first of the claim
	give func() // ends the claim

	mu   sync.Mutex
	proc *process // the latest; nil: none was started, or it was stopped
}

// process is one life of a server.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // read after done
}

// Server makes a data folder with siprecd init. sets are values for --set; they
// come after those that give it its own ports.
func (l *Lab) Server(sets ...string) (*Server, error) {
	l.mu.Lock()
	dir := filepath.Join(l.Dir, fmt.Sprintf("data%d", len(l.servers)))
	l.mu.Unlock()
	return l.ServerIn(dir, sets...)
}

// ServerIn is Server with a data folder that the caller chooses, on a file
// system of its own, say. An existing one is used as it is.
func (l *Lab) ServerIn(dir string, sets ...string) (*Server, error) {
	s := &Server{lab: l, Dir: dir, out: &output{}}
	if _, err := os.Stat(filepath.Join(dir, "siprecd.yaml")); err != nil {
		if out, err := exec.CommandContext(l, l.Bin, "init", "--dir", dir).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("siprecd init: %w: %s", err, out)
		}
	}
	low, high, give, err := l.claim()
	if err != nil {
		return nil, err
	}
	s.port, s.give = low, give
	s.UDP = fmt.Sprint("127.0.0.1:", low+sipPort)
	s.TCP, s.HTTP = s.UDP, fmt.Sprint("127.0.0.1:", low+webPort)
	s.Sets = append([]string{
		"sip.listen=[udp://" + s.UDP + ", tcp://" + s.TCP + "]",
		"http.listen=" + s.HTTP,
		fmt.Sprintf("media.ports=%d-%d", low+headPorts, high),
		"store.reserve=1MiB",
	}, sets...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return nil, errors.New("the row is over")
	}
	l.servers = append(l.servers, s)
	return s, nil
}

// Spare is a port for a client of this server, with no server on it: n from 0
// to 4. The next port is free as well.
func (s *Server) Spare(n int) int { return s.port + sparePort + 2*n }

// Args are a command's arguments with this server's configuration.
func (s *Server) Args(command string, args ...string) []string {
	out := []string{}
	out = append(out, strings.Fields(command)...)
	out = append(out, "--config", filepath.Join(s.Dir, "siprecd.yaml"))
	for _, v := range s.Sets {
		out = append(out, "--set", v)
	}
	return append(out, args...)
}

// Start runs the server and waits until it is ready; how long that took.
func (s *Server) Start(flags ...string) (time.Duration, error) {
	began := time.Now()
	if err := s.Launch(flags...); err != nil {
		return 0, err
	}
	err := s.lab.Await("the server is ready", 30*time.Second, func() bool {
		return s.Get("/readyz") == http.StatusOK || s.Ended()
	})
	if p := s.process(); err == nil && s.Ended() {
		err = fmt.Errorf("the server ended: %w", p.err)
	}
	return time.Since(began), err
}

// Launch runs the server and does not wait.
func (s *Server) Launch(flags ...string) error {
	argv := append(append([]string{}, s.Wrap...), s.lab.Bin)
	argv = append(argv, s.Args("serve", flags...)...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Stdout, cmd.Stderr = s.out, s.out
	s.lab.mu.Lock()
	over := s.lab.over
	s.lab.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if over {
		return errors.New("the row is over")
	}
	if err := cmd.Start(); err != nil {
		s.proc = nil
		return err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	s.proc = p
	go func() {
		p.err = cmd.Wait()
		if p.err == nil {
			p.err = errors.New("exit status 0")
		}
		close(p.done)
	}()
	return nil
}

func (s *Server) process() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

// Pid is the process that was started, which Wrap may have put a shell or the
// like around; 0 when none runs.
func (s *Server) Pid() int {
	p := s.process()
	if p == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Ended says that no process runs: none was started, or it has ended by itself
// or by a signal.
func (s *Server) Ended() bool {
	p := s.process()
	if p == nil {
		return true
	}
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Signal sends a signal and does not wait.
func (s *Server) Signal(sig syscall.Signal) error {
	p := s.process()
	if p == nil {
		return errors.New("the server does not run")
	}
	return p.cmd.Process.Signal(sig)
}

// Exit waits until the server has ended by itself or by a signal, and gives its
// exit code; -1 for one that a signal killed.
func (s *Server) Exit(limit time.Duration) (int, error) {
	p := s.process()
	if p == nil {
		return 0, errors.New("the server does not run")
	}
	if err := s.lab.Await("the server ends", limit, s.Ended); err != nil {
		return 0, err
	}
	return p.cmd.ProcessState.ExitCode(), nil
}

// Stop ends the server with a signal and waits for it, a minute at most; its
// exit code.
func (s *Server) Stop(sig syscall.Signal) int {
	p := s.process()
	if p == nil {
		return 0
	}
	_ = p.cmd.Process.Signal(sig) // it may have ended by itself
	late := time.NewTimer(stopLimit)
	defer late.Stop()
	select {
	case <-p.done:
	case <-late.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc = nil
	return p.cmd.ProcessState.ExitCode()
}

// stopLimit is when a server that does not end is killed.
const stopLimit = time.Minute

// Kill ends the server at once, and waits.
func (s *Server) Kill() { s.Stop(syscall.SIGKILL) }

// Retire ends the server for good: its ports are for the next one.
func (s *Server) Retire() {
	s.Kill()
	s.give()
}

// Output is what the server has written so far, in all its lives.
func (s *Server) Output() string { return s.out.String() }

// Get is the status code of one HTTP path, 0 when nobody answers.
func (s *Server) Get(path string) int {
	code, _ := s.Fetch(path)
	return code
}

// Fetch is the status code and the body of one HTTP path.
func (s *Server) Fetch(path string) (int, []byte) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + s.HTTP + path)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body) // a body that breaks off is judged by who reads it
	return res.StatusCode, b
}

// Status is /status as JSON.
func (s *Server) Status() (map[string]any, error) {
	_, b := s.Fetch("/status?format=json")
	var v map[string]any
	return v, json.Unmarshal(b, &v)
}

// Do runs a command of the binary on this server's folder; its stdout.
func (s *Server) Do(command string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(s.lab, s.lab.Bin, s.Args(command, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("siprecd %s: %w: %s%s", command, err, &errs, &out)
	}
	return out.String(), nil
}

// List is what `siprecd list --json` says.
func (s *Server) List(args ...string) ([]store.Row, error) {
	text, err := s.Do("list", append([]string{"--json"}, args...)...)
	if err != nil {
		return nil, err
	}
	var rows []store.Row
	sc := bufio.NewScanner(strings.NewReader(text))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var r store.Row
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("list --json: %w in %s", err, sc.Text())
		}
		rows = append(rows, r)
	}
	return rows, sc.Err()
}

// Export writes a recording to a file of the lab and gives its path.
func (s *Server) Export(id string) (string, error) {
	path := filepath.Join(s.lab.Dir, id+".opus")
	_ = os.Remove(path) // of an earlier round
	_, err := s.Do("export", id, "-o", path)
	return path, err
}

// output is written by a process while others read it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
