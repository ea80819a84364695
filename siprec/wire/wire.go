// Package wire holds a SIP server's sockets and sipgo's two lower layers, and
// keeps from them what they cannot bear.
//
//	udp ─► filterUDP ──────────┐ allow-list
//	tcp, tls ─► transport.Listener ┤ allow-list, caps, deadlines, whole messages
//	                           └► screen: 400 for what cannot be read, 503 for
//	                              floods (package flood), with nothing kept
//	                              └► sipgo's transport layer
//	                                 ├► observe, in the order of the wire
//	                                 └► sipgo's transaction layer ─► handle
//
// Promises: a peer that is not allowed makes no state; what sipgo cannot read,
// or would answer with header lines of the sender's making, is answered 400
// and goes no further; sipgo's own log lines come without bodies, numbers or
// floods. Everything refused is counted.
//
// Caveat: sipgo's limits for UDP and its logger for reference counts are
// package variables, which the first Stack of a process sets.
package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/flood"
	"siprecd/siprec/transport"
)

// Stack is a set of bound sockets with sipgo's layers above them.
type Stack struct {
	TP *sip.TransportLayer
	TX *sip.TransactionLayer

	cfg     Config
	log     *slog.Logger
	quiet   *slog.Logger // for what peers can cause at will
	parser  *sip.Parser
	gate    *flood.Gate
	udp     map[string]net.PacketConn // by local address, fixed after New
	streams []stream
	closing chan struct{}
	sending sync.RWMutex // held while a request of ours is on its way to a socket
	reading sync.RWMutex // held while a datagram is on its way from a socket
	closed  sync.Once
	serving sync.WaitGroup

	mu     sync.Mutex
	counts map[string]uint64
	heard  [2]map[source]struct{} // who sent something of late; see bury
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

// New checks the configuration and binds every address, so that one that is in
// use is an error here. Nothing is read before Start. observe is called with
// each message in the order of the wire, on the goroutine that reads the
// socket; handle with each new transaction, in a goroutine of its own.
func New(cfg Config, observe sip.MessageHandler, handle sip.TransactionRequestHandler) (*Stack, error) {
	addrs, err := cfg.check()
	if err != nil {
		return nil, err
	}
	tuneSipgo()
	quiet := slog.New(transport.Quiet(cfg.Logger.Handler(), 10*time.Second))
	s := &Stack{cfg: cfg, log: cfg.Logger, quiet: quiet, parser: newParser(), gate: flood.New(cfg.Flood), udp: make(map[string]net.PacketConn),
		closing: make(chan struct{}), counts: make(map[string]uint64)}
	for _, a := range addrs {
		if err := s.bind(a); err != nil {
			s.closeSockets()
			return nil, fmt.Errorf("sip: listen on %s://%s: %w", a.network, a.hostport, err)
		}
	}
	s.TP = sip.NewTransportLayer(net.DefaultResolver, s.parser, cfg.TLS,
		sip.WithTransportLayerLogger(quiet), sip.WithTransportLayerReadFilter(s.filterUDP))
	// First of the two, so that it sees messages before sipgo gives each its
	// own goroutine.
	s.TP.OnMessage(func(m sip.Message) {
		defer s.recover()
		observe(m)
	})
	s.TX = sip.NewTransactionLayer(s.TP, sip.WithTransactionLayerLogger(quiet),
		sip.WithTransactionLayerUnhandledResponseHandler(func(*sip.Response) { s.Count("stray-response") }))
	s.TX.OnRequest(handle)
	return s, nil
}

func (s *Stack) bind(a listenAddr) error {
	if a.network == "udp" {
		pc, err := net.ListenPacket("udp", a.hostport)
		if err != nil {
			return err
		}
		// Bursts of INVITEs of several kB each; the system may grant less.
		_ = pc.(*net.UDPConn).SetReadBuffer(4 << 20)
		s.udp[pc.LocalAddr().String()] = &tapped{PacketConn: pc, stack: s}
		return nil
	}
	ln, err := net.Listen("tcp", a.hostport)
	if err != nil {
		return err
	}
	c := transport.Config{Allow: s.admit, Count: s.Count, Watch: s.watch(a.network),
		Screen: func(from netip.Addr, msg []byte) ([]byte, bool) { return s.screen(from, msg, true) }}
	if a.network == "tls" {
		c.TLS = s.cfg.TLS
	}
	s.streams = append(s.streams, stream{a.network, transport.Wrap(ln, c)})
	return nil
}

// admit is Allowed with a word in the log: a forgotten entry in the allow-list
// is the first thing that goes wrong at a new site.
func (s *Stack) admit(a netip.Addr) bool {
	ok := s.Allowed(a)
	if !ok {
		s.stranger(a)
		s.quiet.Warn("a peer that is not on the allow-list was dropped", "raddr", a.String())
	}
	return ok
}

// Addrs returns the bound addresses, as udp://127.0.0.1:5060.
func (s *Stack) Addrs() []string {
	var out []string
	for a := range s.udp {
		out = append(out, "udp://"+a)
	}
	for _, st := range s.streams {
		out = append(out, st.network+"://"+st.ln.Addr().String())
	}
	return out
}

// Start begins to read. The channel gets an error for every listener that ends
// before Close.
func (s *Stack) Start() <-chan error {
	failed := make(chan error, len(s.udp)+len(s.streams))
	start := func(name string, serve func() error) {
		s.serving.Go(func() {
			err := serve()
			select {
			case <-s.closing:
			default:
				failed <- fmt.Errorf("sip: %s stopped: %w", name, errors.Join(errListener, err))
			}
		})
	}
	for addr, pc := range s.udp {
		start("udp://"+addr, func() error { return s.TP.ServeUDP(pc) })
	}
	for _, st := range s.streams {
		serve := s.TP.ServeTCP
		if st.network == "tls" {
			serve = s.TP.ServeTLS
		}
		start(st.network, func() error { return serve(st.ln) })
	}
	return failed
}

var errListener = errors.New("the listener ended by itself")

// Close ends every transaction, closes every socket, and waits for those who
// read from them. Only the first call does anything.
func (s *Stack) Close() { s.closed.Do(s.close) }

// Request sends a request of ours. After Close it is refused: sipgo would open
// a socket of its own for it, which nobody closes.
func (s *Stack) Request(ctx context.Context, req *sip.Request) (*sip.ClientTx, error) {
	s.sending.RLock()
	defer s.sending.RUnlock()
	select {
	case <-s.closing:
		return nil, net.ErrClosed
	default:
		return s.TX.Request(ctx, req)
	}
}

// Write sends a message outside of a transaction, an ACK of ours; see Request.
func (s *Stack) Write(m sip.Message) error {
	s.sending.RLock()
	defer s.sending.RUnlock()
	select {
	case <-s.closing:
		return net.ErrClosed
	default:
		return s.TP.WriteMsg(m)
	}
}

func (s *Stack) close() {
	s.sending.Lock()
	close(s.closing)
	s.sending.Unlock()
	s.TX.Close()
	for _, network := range []string{"tcp", "tls"} {
		_ = s.TP.Pool(network).Clear() // closes those that we dialled
	}
	s.reading.Lock() // who reads would put a live connection into a grave
	s.bury()
	s.reading.Unlock()
	s.closeSockets()
	s.serving.Wait()
}

func (s *Stack) closeSockets() {
	for _, pc := range s.udp {
		pc.Close()
	}
	for _, st := range s.streams {
		st.ln.CloseAll()
	}
}

// Counters returns how often something was refused or dropped, by reason.
func (s *Stack) Counters() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// Count adds one to a counter. reason is a constant of the code: never text
// from a message.
func (s *Stack) Count(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[reason]++
}

// newParser reads messages as long as the listeners let through.
func newParser() *sip.Parser {
	p := sip.NewParser()
	p.MaxMessageLength = transport.MaxMessage
	return p
}
