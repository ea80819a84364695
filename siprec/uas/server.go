package uas

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/wire"
)

// Server listens, admits, and keeps the dialogs. Make one with NewServer, run
// it with Serve.
type Server struct {
	cfg   Config
	log   *slog.Logger
	time  timing
	stack *wire.Stack

	ctx      context.Context // of Serve; handlers inherit it
	draining atomic.Bool
	closed   chan struct{} // no more work is taken on

	mu      sync.Mutex
	shut    bool // guards work: no Add after Wait
	work    sync.WaitGroup
	dialogs map[dialogKey]*Dialog
	initial map[inviteKey]*Dialog       // by the INVITE that made them
	early   map[inviteKey]chan struct{} // CANCEL or BYE that came before its INVITE
	idle    chan struct{}               // closed when a drained server has no dialog left
}

// NewServer checks the configuration and binds every address, so that one
// that is in use is an error here. Nothing is answered before Serve.
func NewServer(cfg Config) (*Server, error) {
	if cfg.Accept == nil {
		return nil, errors.New("sip: nobody to accept calls")
	}
	s := &Server{
		cfg: cfg, log: cfg.Logger, time: standardTiming(), closed: make(chan struct{}),
		dialogs: make(map[dialogKey]*Dialog), initial: make(map[inviteKey]*Dialog),
		early: make(map[inviteKey]chan struct{}),
	}
	cfg.Known = func(id, local, remote string) bool { return s.find(dialogKey{id, local, remote}) != nil }
	var err error
	s.stack, err = wire.New(cfg.Config, s.observe, s.onRequest)
	return s, err
}

// Addrs returns the bound addresses, as udp://127.0.0.1:5060.
func (s *Server) Addrs() []string { return s.stack.Addrs() }

// Counters returns how often something was refused or dropped, by reason.
func (s *Server) Counters() map[string]uint64 { return s.stack.Counters() }

// Count adds one to a counter that Counters returns. reason is a constant of
// the code: never text from a message.
func (s *Server) Count(reason string) { s.stack.Count(reason) }

// Serve answers until ctx ends, then ends what is left as Shutdown does, for
// at most three seconds, and returns when everything it started has finished.
// It may be called once.
func (s *Server) Serve(ctx context.Context) error {
	s.ctx = ctx
	failed := s.stack.Start()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	// What did not answer within the time is gone with its socket.
	_ = s.Shutdown(last)
	s.mu.Lock()
	s.shut = true
	close(s.closed)
	s.mu.Unlock()
	s.work.Wait()
	s.stack.Close()
	return err
}

// Close releases the sockets of a server that Serve was never called for.
func (s *Server) Close() { s.stack.Close() }

// Drain makes the server refuse new calls, and OPTIONS, with 503 and
// Retry-After. Calls that are up go on. It cannot be undone.
func (s *Server) Drain() { s.draining.Store(true) }

// Shutdown drains, ends every session with a BYE that carries a Reason, and
// waits until the handler's Close has returned for each, or ctx ends. The
// server goes on answering with 503 and 481 until Serve's context ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	s.mu.Lock()
	if s.idle == nil {
		s.idle = make(chan struct{})
		if len(s.dialogs) == 0 {
			close(s.idle)
		}
	}
	idle := s.idle
	for _, d := range s.dialogs {
		d.hangup("shutdown", "recording server shuts down")
	}
	s.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sip: shut down: %w", ctx.Err())
	}
}

// begin claims a place among the running work; false when the server stops.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		return false
	}
	s.work.Add(1)
	return true
}

func (s *Server) shuttingDown() *Refusal {
	return &Refusal{Code: 503, Reason: "Shutting Down", RetryAfter: s.time.retry}
}

// ready says whether a new call can be taken.
func (s *Server) ready(to string) *Refusal {
	if s.draining.Load() {
		s.Count("draining" + to)
		return s.shuttingDown()
	}
	if s.cfg.Ready == nil {
		return nil
	}
	err := s.cfg.Ready()
	if err == nil {
		return nil
	}
	s.Count("not-ready" + to)
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return &Refusal{Code: 503, Reason: "Service Unavailable", RetryAfter: s.time.retry}
}

// transportOf is the transport of a request, in lower case.
func transportOf(req *sip.Request) string { return strings.ToLower(req.Transport()) }
