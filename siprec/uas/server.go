package uas

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/transport"
)

// Server listens, admits, and keeps the dialogs. Make one with NewServer, run
// it with Serve.
type Server struct {
	cfg    Config
	log    *slog.Logger
	time   timing
	parser *sip.Parser
	tp     *sip.TransportLayer
	tx     *sip.TransactionLayer

	udp     map[string]net.PacketConn // by local address, fixed after NewServer
	streams []stream

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
	counts  map[string]uint64
}

// stream is one tcp or tls listener.
type stream struct {
	network string
	ln      *transport.Listener
}

// tuneSipgo sets, once, what sipgo keeps in package variables. It refuses to
// send UDP messages of more than UDPMTUSize-200 bytes, and a 200 OK to an offer
// with several m-lines is longer than that: the peer would see silence. IP
// fragments such an answer instead. And it warns about its own connection
// reference counts through a logger that no option replaces; those lines mean
// nothing to anyone here.
var tuneSipgo = sync.OnceFunc(func() {
	sip.UDPMTUSize = 65000
	sip.SetDefaultLogger(slog.New(slog.DiscardHandler))
})

// NewServer checks the configuration and binds every address, so that one
// that is in use is an error here. Nothing is answered before Serve.
func NewServer(cfg Config) (*Server, error) {
	addrs, err := cfg.check()
	if err != nil {
		return nil, err
	}
	tuneSipgo()
	s := &Server{
		cfg: cfg, log: cfg.Logger, time: standardTiming(),
		parser: sip.NewParser(), udp: make(map[string]net.PacketConn), closed: make(chan struct{}),
		dialogs: make(map[dialogKey]*Dialog), initial: make(map[inviteKey]*Dialog),
		early: make(map[inviteKey]chan struct{}), counts: make(map[string]uint64),
	}
	for _, a := range addrs {
		if err := s.bind(a); err != nil {
			s.closeSockets()
			return nil, fmt.Errorf("sip: listen on %s://%s: %w", a.network, a.hostport, err)
		}
	}
	s.stack()
	return s, nil
}

func (s *Server) bind(a listenAddr) error {
	if a.network == "udp" {
		pc, err := net.ListenPacket("udp", a.hostport)
		if err != nil {
			return err
		}
		// Bursts of INVITEs of several kB each; the system may grant less.
		_ = pc.(*net.UDPConn).SetReadBuffer(1 << 20)
		s.udp[pc.LocalAddr().String()] = pc
		return nil
	}
	ln, err := net.Listen("tcp", a.hostport)
	if err != nil {
		return err
	}
	c := transport.Config{Allow: s.cfg.allowed, Count: s.Count,
		Screen: func(msg []byte) ([]byte, bool) { return s.screen(msg, true) }}
	if a.network == "tls" {
		c.TLS = s.cfg.TLS
	}
	s.streams = append(s.streams, stream{a.network, transport.Wrap(ln, c)})
	return nil
}

// stack builds sipgo's two lower layers. Its Server and Dialog types are not
// used: they know neither re-INVITE order nor retransmission (see the package
// comment). observe is registered first, so that it sees messages in the
// order of the wire, before sipgo gives each its own goroutine.
func (s *Server) stack() {
	quiet := slog.New(transport.Quiet(s.log.Handler(), 10*time.Second))
	s.tp = sip.NewTransportLayer(net.DefaultResolver, s.parser, s.cfg.TLS,
		sip.WithTransportLayerLogger(quiet), sip.WithTransportLayerReadFilter(s.filterUDP))
	s.tp.OnMessage(s.observe)
	s.tx = sip.NewTransactionLayer(s.tp, sip.WithTransactionLayerLogger(quiet),
		sip.WithTransactionLayerUnhandledResponseHandler(func(*sip.Response) { s.Count("stray-response") }))
	s.tx.OnRequest(s.onRequest)
}

// Addrs returns the bound addresses, as udp://127.0.0.1:5060.
func (s *Server) Addrs() []string {
	var out []string
	for a := range s.udp {
		out = append(out, "udp://"+a)
	}
	for _, st := range s.streams {
		out = append(out, st.network+"://"+st.ln.Addr().String())
	}
	return out
}

// Serve answers until ctx ends, then ends what is left as Shutdown does, for
// at most three seconds, and returns when everything it started has finished.
// It may be called once.
func (s *Server) Serve(ctx context.Context) error {
	s.ctx = ctx
	var listeners sync.WaitGroup
	failed := make(chan error, len(s.udp)+len(s.streams))
	start := func(name string, serve func() error) {
		listeners.Go(func() {
			err := serve()
			select {
			case <-s.closed:
			default:
				failed <- fmt.Errorf("sip: %s stopped: %w", name, errors.Join(err, errListener))
			}
		})
	}
	for addr, pc := range s.udp {
		start("udp://"+addr, func() error { return s.tp.ServeUDP(pc) })
	}
	for _, st := range s.streams {
		serve := s.tp.ServeTCP
		if st.network == "tls" {
			serve = s.tp.ServeTLS
		}
		start(st.network, func() error { return serve(st.ln) })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	// What did not answer within the time is gone with its socket.
	_ = s.Shutdown(last)
	s.stop()
	listeners.Wait()
	return err
}

var errListener = errors.New("the listener ended by itself")

// stop refuses further work, waits for what runs, and closes the sockets.
func (s *Server) stop() {
	s.mu.Lock()
	s.shut = true
	close(s.closed)
	s.mu.Unlock()
	s.work.Wait()
	s.tx.Close()
	s.closeSockets()
	_ = s.tp.Close()
}

func (s *Server) closeSockets() {
	for _, pc := range s.udp {
		pc.Close()
	}
	for _, st := range s.streams {
		st.ln.CloseAll()
	}
}

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

// Counters returns how often something was refused or dropped, by reason. The
// reasons are constants of the code, never text from a message.
func (s *Server) Counters() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// Count adds one to a counter that Counters returns. reason is a constant of
// the code: never text from a message.
func (s *Server) Count(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[reason]++
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

// ready says whether a new call can be taken.
func (s *Server) ready() *Refusal {
	if s.draining.Load() {
		s.Count("draining")
		return &Refusal{Code: 503, Reason: "Shutting Down", RetryAfter: s.time.retry}
	}
	if s.cfg.Ready == nil {
		return nil
	}
	err := s.cfg.Ready()
	if err == nil {
		return nil
	}
	s.Count("not-ready")
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return &Refusal{Code: 503, Reason: "Service Unavailable", RetryAfter: s.time.retry}
}

// transportOf is the transport of a request, in lower case.
func transportOf(req *sip.Request) string { return strings.ToLower(req.Transport()) }
