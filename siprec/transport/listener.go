// Package transport guards SIP stream connections before a SIP stack reads
// from them.
//
//	net.Listener ─► Listener ─► conn ─► whole, screened messages ─► SIP stack
//
// A SIP stack that reads a raw connection can be held up by a peer that sends
// a byte a second, and has to close the connection of five hundred calls when
// one message is broken. So the connection here reads whole messages itself,
// within an absolute deadline, shows each to a Screen, and hands on only those
// that pass; the others are answered and skipped.
//
// Promises: a peer that is not allowed never gets beyond accept; the caps on
// connections hold; a message that has begun is complete within
// Limits.Message or the connection is closed; an idle connection that has
// spoken once is never closed, and double CRLF is answered with CRLF (RFC 5626
// section 3.5.1). The package knows nothing of what the messages mean, and
// imports nothing of ours.
package transport

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// MaxMessage is how many bytes a message on a stream may have: metadata of a
// megabyte is refused, but the call that it comes with is recorded.
const MaxMessage = 1<<20 + 128<<10

// maxHead is how many bytes may come before a header section ends.
const maxHead = 64 << 10

// Limits bounds what peers may hold. Zero values mean the defaults.
type Limits struct {
	PerIP     int           // connections of one address; 64
	Total     int           // connections in all; 1024. One more takes the place of one that has brought no message yet
	Handshake time.Duration // to finish a TLS handshake; 5 s
	Message   time.Duration // from a message's first byte to its last; 5 s
	First     time.Duration // from accept to the first byte; 10 s
	Write     time.Duration // for one write; 5 s
	Size      int           // bytes of one message; MaxMessage
}

func (l Limits) withDefaults() Limits {
	def := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.Handshake, 5*time.Second)
	def(&l.Message, 5*time.Second)
	def(&l.First, 10*time.Second)
	def(&l.Write, 5*time.Second)
	if l.PerIP == 0 {
		l.PerIP = 64
	}
	if l.Total == 0 {
		l.Total = 1024
	}
	if l.Size == 0 {
		l.Size = MaxMessage
	}
	return l
}

// Config says whom to let in and how to judge messages.
type Config struct {
	Limits Limits
	TLS    *tls.Config // nil: plain TCP
	// Allow decides on a peer before anything is read from it.
	Allow func(netip.Addr) bool
	// Screen judges one whole message of a peer. A message that is not ok goes
	// no further; reply, when not empty, is sent back for it. The bytes are
	// only valid during the call. It must not panic.
	Screen func(from netip.Addr, msg []byte) (reply []byte, ok bool)
	// Count is told the reason of every refusal: peer-not-allowed,
	// too-many-connections, connection-displaced, message-timeout,
	// message-size, and for a TLS handshake those of tlsReason.
	Count func(reason string)
	// Watch sees what passes; its fields may be nil.
	Watch Watch
}

// Watch are functions that see what passes a Listener's connections. They are
// called on the goroutine that reads or writes, and must not block.
type Watch struct {
	// Message sees each whole message, in plain text, before Screen judges
	// it, and each write. The bytes are only valid during the call.
	Message func(c net.Conn, msg []byte, out bool)
	// Handshake sees each TLS handshake; failed is the reason that was
	// counted, "" when it did not fail.
	Handshake func(c net.Conn, st tls.ConnectionState, failed string)
	// Gone sees that a connection is closed.
	Gone func(c net.Conn)
}

// Listener accepts guarded connections. It is a net.Listener.
type Listener struct {
	net.Listener
	cfg  Config
	done chan struct{}

	mu    sync.Mutex
	shut  bool
	perIP map[netip.Addr]int
	conns map[*conn]struct{}
}

// Wrap guards the connections of ln.
func Wrap(ln net.Listener, cfg Config) *Listener {
	cfg.Limits = cfg.Limits.withDefaults()
	return &Listener{Listener: ln, cfg: cfg, done: make(chan struct{}),
		perIP: make(map[netip.Addr]int), conns: make(map[*conn]struct{})}
}

// Accept returns the next connection of an allowed peer. It returns an error
// only when the listener is closed: a passing one (too many open files) is
// waited out, for a SIP stack takes any error for the end.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || !l.pause() {
				return nil, err
			}
			continue
		}
		if c := l.admit(raw); c != nil {
			return c, nil
		}
		raw.Close()
	}
}

func (l *Listener) pause() bool {
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-l.done:
		return false
	case <-t.C:
		return true
	}
}

func (l *Listener) admit(raw net.Conn) *conn {
	ip := remoteIP(raw)
	if !l.cfg.Allow(ip) {
		l.cfg.Count("peer-not-allowed")
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		return nil
	}
	if l.perIP[ip] >= l.cfg.Limits.PerIP || len(l.conns) >= l.cfg.Limits.Total && !l.makeRoom() {
		l.cfg.Count("too-many-connections")
		return nil
	}
	c := &conn{Conn: raw, owner: l, ip: ip, born: time.Now()}
	if l.cfg.TLS != nil {
		c.tls = tls.Server(raw, l.cfg.TLS)
		c.Conn = c.tls
	}
	l.perIP[ip]++
	l.conns[c] = struct{}{}
	return c
}

// makeRoom closes the oldest connection that has brought no message yet: many
// that only hold a place must not keep out one that has something to say. The
// caller holds mu.
func (l *Listener) makeRoom() bool {
	var oldest *conn
	for c := range l.conns {
		if !c.useful.Load() && (oldest == nil || c.born.Before(oldest.born)) {
			oldest = c
		}
	}
	if oldest == nil {
		return false
	}
	l.cfg.Count("connection-displaced")
	l.leave(oldest)
	// Its reader notices, and closes it once more. Closing TLS may write.
	if raw, ok := oldest.Conn.(*tls.Conn); ok {
		raw.NetConn().Close()
	} else {
		oldest.Conn.Close()
	}
	return true
}

func (l *Listener) release(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leave(c)
}

// leave forgets a connection. The caller holds mu.
func (l *Listener) leave(c *conn) {
	if _, ok := l.conns[c]; !ok {
		return
	}
	delete(l.conns, c)
	if l.perIP[c.ip]--; l.perIP[c.ip] == 0 {
		delete(l.perIP, c.ip)
	}
	if gone := l.cfg.Watch.Gone; gone != nil {
		gone(c)
	}
}

// Close stops accepting. Accepted connections live on; see CloseAll.
func (l *Listener) Close() error {
	l.mu.Lock()
	if !l.shut {
		l.shut = true
		close(l.done)
	}
	l.mu.Unlock()
	return l.Listener.Close()
}

// CloseAll closes the listener and every connection it accepted.
func (l *Listener) CloseAll() {
	l.Close()
	l.mu.Lock()
	open := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		open = append(open, c)
	}
	l.mu.Unlock()
	for _, c := range open {
		c.Close()
	}
}

func remoteIP(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
