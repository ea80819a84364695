package siprec

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"siprecd/siprec/peers"
	"siprecd/siprec/trace"
	"siprecd/siprec/uas"
	"siprecd/siprec/wire"
)

// Config is what a Server needs to be told.
type Config struct {
	// Listen holds addresses as udp://host:port, tcp://host:port or
	// tls://host:port. An empty host is every address of the machine; port 0
	// lets the system choose. Without a port, 5060 (tls: 5061) is taken.
	Listen []string
	// Peers are the networks that may speak to the server. Anyone else is
	// dropped before any state is made for them. It must not be empty.
	Peers []netip.Prefix
	// TLS is used for tls:// addresses and needed when there is one.
	TLS *tls.Config
	// UserAgent is the value of the Server header; "" leaves it out.
	UserAgent string
	// Ready says whether a new call can be taken now; nil always can. A
	// *Refusal becomes that response to INVITE and OPTIONS, any other error
	// a 503 with Retry-After. It must be quick and safe for parallel use.
	Ready func() error
	// Flood are the limits of what one client may ask for.
	Flood Flood
	// Logger must not be nil.
	Logger *slog.Logger
	// Handler must not be nil. When it has a method
	//	Receiving(*Session) bool
	// it is asked whether media still flows before a session is ended for
	// want of an ACK or a session refresh; a call that is heard is kept.
	Handler Handler
}

// receiver is the optional method of a Handler described at Config.Handler.
type receiver interface{ Receiving(*Session) bool }

// mediaTypes is what a 415 and the answer to OPTIONS say in Accept.
const mediaTypes = "application/sdp, application/rs-metadata+xml, application/rs-metadata, multipart/mixed"

// Server is a SIPREC session recording server's SIP side. Make one with
// NewServer, run it with Serve.
type Server struct {
	sip   *uas.Server
	trace *trace.Ring
	peers *peers.Table
}

// NewServer checks the configuration and binds every address, so that one
// that is in use is an error here. Nothing is answered before Serve.
func NewServer(cfg Config) (*Server, error) {
	if cfg.Handler == nil {
		return nil, errors.New("siprec: no handler")
	}
	if cfg.Logger == nil {
		return nil, errors.New("siprec: no logger")
	}
	log := cfg.Logger.With("component", "siprec")
	s := &Server{trace: trace.NewRing(trace.Limits{}), peers: peers.New()}
	accept := func(ctx context.Context, d *uas.Dialog, r *uas.Request) (uas.Call, uas.Reply, error) {
		c := &call{handler: cfg.Handler, ses: &Session{dialog: d, client: s.peers.Client(d.Peer())}, count: s.sip.Count}
		reply, err := c.open(ctx, r)
		if !c.opened {
			return nil, reply, err
		}
		s.peers.Opened(d.Peer().Addr())
		return c, reply, err
	}
	var err error
	s.sip, err = uas.NewServer(uas.Config{
		Config:    wire.Config{Listen: cfg.Listen, Peers: cfg.Peers, TLS: cfg.TLS, Flood: cfg.Flood, Logger: log, Observer: watcher{s.trace, s.peers}},
		UserAgent: cfg.UserAgent, MediaTypes: mediaTypes, Ready: cfg.Ready, Accept: accept})
	if err != nil {
		return nil, fmt.Errorf("siprec: %w", err)
	}
	return s, nil
}

// Addrs returns the bound addresses, as udp://127.0.0.1:5060.
func (s *Server) Addrs() []string { return s.sip.Addrs() }

// Serve answers until ctx ends, then ends what is left as Shutdown does, for
// at most three seconds, and returns when everything it started has finished.
// The error is nil unless a listener failed. It may be called once.
func (s *Server) Serve(ctx context.Context) error { return s.sip.Serve(ctx) }

// Close releases the sockets of a server that Serve was never called for.
func (s *Server) Close() { s.sip.Close() }

// Drain makes the server refuse new calls, and OPTIONS, with 503 and
// Retry-After. Calls that are up go on. It cannot be undone.
func (s *Server) Drain() { s.sip.Drain() }

// Shutdown drains, ends every session with a BYE that carries a Reason, and
// waits until Handler.Close has returned for each, or ctx ends. The server
// goes on answering with 503 and 481 until Serve's context ends.
func (s *Server) Shutdown(ctx context.Context) error { return s.sip.Shutdown(ctx) }

// Counters returns how often something was refused or dropped, by reason. The
// reasons are constants of the code, never text from a message.
func (s *Server) Counters() map[string]uint64 { return s.sip.Counters() }
