// Package rig runs siprecd as its users run it, in processes of their own, and
// drives and judges it from outside.
//
//	Server: siprecd init, serve ◄── UDP: SIP, RTP ── Caller: siprecd call
//	   │ /readyz, /status; list, verify, export          │ report
//	   ▼                                                 ▼
//	data folder ─► manifests ─────────► Judge ─► faults, in words
//
// Promises: a recording passes only when its signed manifest counts every
// packet that its caller sent, as received and in time; `siprecd list` shows it
// as finished and not interrupted; `siprecd verify` finds every byte; and
// samples, exported and decoded by ffmpeg, hold both parties' speech. All
// processes that it starts are waited for.
package rig

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"siprecd/cmd/bench/proc"
	"siprecd/recorder"
)

// MediaPorts are below the system's own range, where clients' sockets are.
const MediaPorts = "10000-19999"

// Server is one siprecd with a data folder of its own.
type Server struct {
	Bin, Dir  string
	SIP, HTTP string // host:port
	sets      []string
	log       *os.File
	cmd       *exec.Cmd
	done      chan error
}

// New makes a data folder with `siprecd init`. sets are configuration keys as
// on the command line.
func New(ctx context.Context, bin, dir string, sets ...string) (*Server, error) {
	s := &Server{Bin: bin, Dir: dir}
	if out, err := exec.CommandContext(ctx, bin, "init", "--dir", dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("siprecd init: %w: %s", err, out)
	}
	var err error
	if s.SIP, err = freePort(); err == nil {
		s.HTTP, err = freePort()
	}
	if err != nil {
		return nil, err
	}
	s.sets = append([]string{
		"sip.listen=[udp://" + s.SIP + "]", "http.listen=" + s.HTTP, "media.ports=" + MediaPorts,
	}, sets...)
	return s, nil
}

// freePort is an address on the loopback that is free for UDP and TCP.
func freePort() (string, error) {
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", fmt.Errorf("find a free port: %w", err)
		}
		addr := l.Addr().String()
		p, err := net.ListenPacket("udp", addr)
		_ = l.Close() // nothing was accepted
		if err == nil {
			_ = p.Close() // nothing was read
			return addr, nil
		}
	}
	return "", errors.New("find a free port: none is free for UDP and TCP")
}

// ConfigFile is the configuration's path.
func (s *Server) ConfigFile() string { return filepath.Join(s.Dir, "siprecd.yaml") }

// args are a command's, with this server's configuration.
func (s *Server) args(command string, rest ...string) []string {
	out := []string{command, "--config", s.ConfigFile()}
	for _, v := range s.sets {
		out = append(out, "--set", v)
	}
	return append(out, rest...)
}

// Start runs the server and waits until /readyz is 200; it returns how long
// that took.
func (s *Server) Start(ctx context.Context, within time.Duration) (time.Duration, error) {
	var err error
	if s.log, err = os.OpenFile(s.Dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return 0, fmt.Errorf("open the server's log: %w", err)
	}
	s.cmd = exec.CommandContext(ctx, s.Bin, s.args("serve")...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return 0, errors.Join(fmt.Errorf("start the server: %w", err), s.log.Close())
	}
	s.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan<- error) { done <- cmd.Wait() }(s.cmd, s.done)
	err = Await(ctx, within, 5*time.Millisecond, func() bool {
		select {
		case err := <-s.done:
			s.done <- fmt.Errorf("the server ended: %w", errors.Join(err, errors.New(s.tail())))
			return true
		default:
			return s.get("/readyz") == http.StatusOK
		}
	})
	took := time.Since(began)
	if err == nil && len(s.done) > 0 {
		err = <-s.done
		s.done <- err
	}
	if err != nil {
		s.Kill()
		return 0, fmt.Errorf("wait for the server to be ready: %w", err)
	}
	return took, nil
}

// tail is the end of the log, where the reason stands.
func (s *Server) tail() string {
	b, err := os.ReadFile(s.log.Name())
	if err != nil {
		return ""
	}
	return string(b[max(0, len(b)-600):])
}

// get is the status code of one HTTP path, 0 when nobody answers.
func (s *Server) get(path string) int {
	res, err := http.Get("http://" + s.HTTP + path)
	if err != nil {
		return 0
	}
	_ = res.Body.Close() // not read
	return res.StatusCode
}

// PID is the server's process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Stop ends the server in an orderly way and waits for it.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

// Kill ends it at once, as kill -9 does.
func (s *Server) Kill() { _ = s.end(syscall.SIGKILL) }

func (s *Server) end(sig os.Signal) error {
	if s.cmd == nil {
		return nil
	}
	_ = s.cmd.Process.Signal(sig) // it may have ended
	err := <-s.done
	s.cmd = nil
	return errors.Join(err, s.log.Close())
}

// Status is what /status says.
func (s *Server) Status() (st recorder.Status, err error) {
	res, err := http.Get("http://" + s.HTTP + "/status")
	if err != nil {
		return st, fmt.Errorf("get status: %w", err)
	}
	body, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return st, fmt.Errorf("get status: %w", err)
	}
	return st, json.Unmarshal(body, &st)
}

// AwaitLive waits until so many calls are live.
func (s *Server) AwaitLive(ctx context.Context, calls int, within time.Duration) error {
	live := 0
	err := Await(ctx, within, 250*time.Millisecond, func() bool {
		st, err := s.Status()
		live = st.Recordings.Live
		return err == nil && live == calls
	})
	if err != nil {
		return fmt.Errorf("%d calls are live, not %d: %w", live, calls, err)
	}
	return nil
}

// Run runs another command of the binary on this folder; its stdout.
func (s *Server) Run(ctx context.Context, command string, rest ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, s.Bin, s.args(command, rest...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("siprecd %s: %w: %s", command, err, strings.TrimSpace(errs.String()))
	}
	return out.Bytes(), nil
}

// Count runs a command, counts the lines that it writes, and says how much
// memory it had at most while it wrote.
func (s *Server) Count(ctx context.Context, command string, rest ...string) (lines int, peak int64, err error) {
	cmd := exec.CommandContext(ctx, s.Bin, s.args(command, rest...)...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return 0, 0, fmt.Errorf("siprecd %s: %w", command, err)
	}
	for sc, next := bufio.NewScanner(out), 1; sc.Scan(); {
		if lines++; lines == next {
			next += 1000
			if m, err := proc.MemoryOf(cmd.Process.Pid); err == nil { // it may have ended: what it wrote is still to be read
				peak = max(peak, m.Peak)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		return lines, peak, fmt.Errorf("siprecd %s: %w", command, err)
	}
	return lines, peak, nil
}

// Await polls a condition until it holds.
func Await(ctx context.Context, within, every time.Duration, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

// Pause lets time pass.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
