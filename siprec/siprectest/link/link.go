// Package link is the SIP socket of a recording client: what sipgo's client
// transactions write to, over UDP, TCP or TLS.
//
//	Call ── Begin ──► sip.ClientTx ── WriteMsg ──► Link ──► socket
//	  ▲                    ▲                        │
//	  └── Requests, Strays ┴──── deliver ◄── read ──┘
//
// Promises: every message that arrives is handed to its transaction, or to the
// client; when the connection is lost, whatever waits for an answer ends with
// the reason; Close waits for the reader. Its methods are safe for parallel
// use.
//
// Caveat: a stream that was lost is dialled again at the next Begin, not
// before.
package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/emiago/sipgo/sip"
)

const (
	maxMessage   = 65535            // the largest datagram that is read
	writeTimeout = 10 * time.Second // for a stream whose other side does not read
)

// errGone is why a transaction ended whose socket went away.
var errGone = errors.New("connection lost")

// Config says where a Link goes and who hears what arrives.
type Config struct {
	Network  string // udp, tcp or tls
	Dial     func(context.Context) (net.Conn, error)
	Requests func(*sip.Request)
	Strays   func(*sip.Response) // responses to no transaction
}

// Link is the SIP socket of a client: a connected UDP socket, or a TCP or TLS
// connection that is dialled again when the other side has closed it. It is
// the connection (sip.Connection) that sipgo's transactions write to.
type Link struct {
	Config
	quiet *slog.Logger // for sipgo, which logs whole messages

	mu     sync.Mutex
	conn   net.Conn // nil: lost or closed
	local  netip.AddrPort
	remote netip.AddrPort
	closed bool
	cause  error // why the last connection was lost
	txs    map[string]*sip.ClientTx
	wg     sync.WaitGroup // readers and deliveries
}

// New returns a Link that is not connected yet. Close it.
func New(c Config) *Link {
	return &Link{Config: c, quiet: slog.New(slog.DiscardHandler), txs: make(map[string]*sip.ClientTx)}
}

// Connect makes sure that there is a connection.
func (l *Link) Connect(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	if l.conn != nil {
		return nil
	}
	conn, err := l.Dial(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	l.conn = conn
	l.local, l.remote = addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr())
	l.wg.Go(func() { l.read(conn) })
	return nil
}

func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// read hands over what arrives until the connection is lost. A datagram that
// does not parse is dropped; a stream that does not parse is given up.
func (l *Link) read(conn net.Conn) {
	parser := sip.NewParser()
	stream := parser.NewSIPStream()
	defer stream.Close()
	buf := make([]byte, maxMessage)
	for {
		n, err := conn.Read(buf)
		if err == nil && l.Network == "udp" {
			if msg, err := parser.ParseSIP(buf[:n]); err == nil {
				l.deliver(msg)
			}
			continue
		}
		if err == nil {
			err = stream.ParseSIPStream(buf[:n], l.deliver)
			if err == nil || errors.Is(err, sip.ErrParseSipPartial) {
				continue
			}
		}
		if l.Network == "udp" && errors.Is(err, syscall.ECONNREFUSED) {
			l.fail(err) // nothing listens there now; the socket stays good
			continue
		}
		l.lose(conn, err)
		return
	}
}

// lose drops a connection, and with it whatever waits for an answer.
func (l *Link) lose(conn net.Conn, err error) {
	_ = conn.Close()
	l.mu.Lock()
	if l.conn == conn {
		l.conn = nil
	}
	l.mu.Unlock()
	l.fail(err)
}

// fail ends all transactions: no answer can come any more.
func (l *Link) fail(err error) {
	l.mu.Lock()
	l.cause = err
	txs := make([]*sip.ClientTx, 0, len(l.txs))
	for _, tx := range l.txs {
		txs = append(txs, tx)
	}
	l.mu.Unlock()
	for _, tx := range txs {
		tx.Terminate()
	}
}

// Lost says why transactions ended without an answer.
func (l *Link) Lost() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause == nil {
		return errGone
	}
	return fmt.Errorf("%w: %w", errGone, l.cause)
}

// deliver hands a message to its transaction or to the client. It runs apart
// from the reader because a transaction can hold its caller up.
func (l *Link) deliver(msg sip.Message) {
	msg.SetTransport(strings.ToUpper(l.Network))
	l.wg.Go(func() {
		switch m := msg.(type) {
		case *sip.Request:
			l.Requests(m)
		case *sip.Response:
			key, err := sip.ClientTxKeyMake(m)
			if err != nil {
				return
			}
			l.mu.Lock()
			tx := l.txs[key]
			l.mu.Unlock()
			if tx == nil {
				l.Strays(m)
				return
			}
			tx.Receive(m)
		}
	})
}

// Begin starts a client transaction.
func (l *Link) Begin(ctx context.Context, req *sip.Request) (*sip.ClientTx, error) {
	if err := l.Connect(ctx); err != nil {
		return nil, err
	}
	key, err := sip.ClientTxKeyMake(req)
	if err != nil {
		return nil, fmt.Errorf("start transaction: %w", err)
	}
	tx := sip.NewClientTx(key, req, l, l.quiet)
	tx.OnTerminate(func(string, error) {
		l.mu.Lock()
		delete(l.txs, key)
		l.mu.Unlock()
	})
	l.mu.Lock()
	l.txs[key] = tx
	l.mu.Unlock()
	if err := tx.Init(); err != nil {
		tx.Terminate()
		return nil, fmt.Errorf("send %s: %w", req.Method, err)
	}
	return tx, nil
}

// Send sends bytes as they are: for UDP one datagram.
func (l *Link) Send(b []byte) error {
	l.mu.Lock()
	conn := l.conn
	l.mu.Unlock()
	if conn == nil {
		return l.Lost()
	}
	if l.Network != "udp" {
		_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // Write says if it is closed
	}
	_, err := conn.Write(b) // net.Conn writes whole, one writer at a time
	if errors.Is(err, syscall.ECONNREFUSED) {
		_, err = conn.Write(b) // that was about an earlier datagram; this one was not sent
	}
	return err
}

// WriteMsg implements sip.Connection.
func (l *Link) WriteMsg(msg sip.Message) error {
	var b bytes.Buffer
	msg.StringWrite(&b)
	return l.Send(b.Bytes())
}

// LocalAddr implements sip.Connection.
func (l *Link) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(l.Addr()) }

// Addr is our address.
func (l *Link) Addr() netip.AddrPort {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.local
}

// Remote is the other side's address.
func (l *Link) Remote() netip.AddrPort {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.remote
}

// Ref implements sip.Connection. Transactions do not own the link.
func (l *Link) Ref(int) int { return 1 }

// TryClose implements sip.Connection; it closes nothing.
func (l *Link) TryClose() (int, error) { return 1, nil }

// Close ends all transactions and waits for the reader.
func (l *Link) Close() error {
	l.mu.Lock()
	conn := l.conn
	l.conn, l.closed = nil, true
	l.mu.Unlock()
	var err error
	if conn != nil {
		err = conn.Close()
	}
	l.fail(net.ErrClosed)
	l.wg.Wait()
	return err
}
