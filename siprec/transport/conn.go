package transport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// ErrFrame is returned by Read when the stream holds something whose end
// cannot be known, so that there is nothing to go on with.
var ErrFrame = errors.New("stream has no message boundary")

// conn gives out whole, screened messages only. Read is called by one
// goroutine, Write by many.
type conn struct {
	net.Conn
	owner *Listener
	ip    netip.Addr
	tls   *tls.Conn
	born  time.Time

	useful atomic.Bool // a message has passed the screen

	shaken bool   // handshake done, or none needed
	spoken bool   // something has arrived
	buf    []byte // read, not yet given out
	ready  int    // bytes of buf that belong to a message that passed
	crlf   int    // bytes of a keep-alive seen so far
	scan   int    // bytes of the message known not to hold its header's end
	late   time.Time
}

func (c *conn) Close() error {
	c.owner.release(c)
	return c.Conn.Close()
}

func (c *conn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.owner.cfg.Limits.Write)); err != nil {
		return 0, err
	}
	if see := c.owner.cfg.Watch.Message; see != nil {
		see(c, b, true)
	}
	return c.Conn.Write(b)
}

func (c *conn) Read(b []byte) (int, error) {
	if err := c.handshake(); err != nil {
		return 0, err
	}
	for c.ready == 0 {
		more, err := c.next()
		if err != nil {
			return 0, err
		}
		if !more {
			continue
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, c.buf[:c.ready])
	c.drop(n)
	c.ready -= n
	return n, nil
}

func (c *conn) handshake() error {
	if c.shaken || c.tls == nil {
		c.shaken = true
		return nil
	}
	if err := c.SetDeadline(c.born.Add(c.owner.cfg.Limits.Handshake)); err != nil {
		return err
	}
	err := c.tls.Handshake()
	failed := tlsReason(err)
	if see := c.owner.cfg.Watch.Handshake; see != nil {
		see(c, c.tls.ConnectionState(), failed)
	}
	if err != nil {
		c.owner.cfg.Count(failed)
		return fmt.Errorf("tls handshake: %w", err)
	}
	c.shaken = true
	return c.SetDeadline(time.Time{})
}

// next looks at what is buffered: it eats keep-alives, lets a whole message
// through or answers it, and asks for more bytes when there is none.
func (c *conn) next() (more bool, err error) {
	if err := c.keepAlive(); err != nil {
		return false, err
	}
	if len(c.buf) == 0 {
		return true, nil
	}
	size, err := c.frame()
	if err != nil || size > c.owner.cfg.Limits.Size {
		c.owner.cfg.Count("message-size")
		c.judge(c.buf)
		return false, ErrFrame
	}
	if size == 0 || size > len(c.buf) {
		return true, nil
	}
	c.scan, c.late = 0, time.Time{}
	if c.judge(c.buf[:size]) {
		c.useful.Store(true)
		c.ready = size
	} else {
		c.drop(size)
	}
	return false, nil
}

func (c *conn) judge(msg []byte) bool {
	if see := c.owner.cfg.Watch.Message; see != nil {
		see(c, msg, false)
	}
	reply, ok := c.owner.cfg.Screen(c.ip, msg)
	if len(reply) > 0 {
		// A peer that cannot be written to is noticed by the next read.
		_, _ = c.Write(reply)
	}
	return ok
}

// keepAlive eats CRLFs between messages and answers each pair.
func (c *conn) keepAlive() error {
	n := 0
	for n < len(c.buf) && (c.buf[n] == '\r' || c.buf[n] == '\n') {
		n++
		if c.crlf++; c.crlf == 4 {
			c.crlf = 0
			if _, err := c.Write([]byte("\r\n")); err != nil {
				return fmt.Errorf("answer keep-alive: %w", err)
			}
		}
	}
	c.drop(n)
	if len(c.buf) > 0 {
		c.crlf = 0
	}
	return nil
}

// frame returns the size of the message at the front of buf, 0 when its
// header section is not complete.
func (c *conn) frame() (int, error) {
	end := headerEnd(c.buf, c.scan)
	if end == 0 {
		c.scan = max(1, len(c.buf)-3)
		if len(c.buf) > maxHead {
			return 0, ErrFrame
		}
		return 0, nil
	}
	n, ok := contentLength(c.buf[:end])
	if !ok {
		return 0, ErrFrame
	}
	return end + n, nil
}

func headerEnd(b []byte, from int) int {
	b = b[from:]
	crlf, lf := bytes.Index(b, []byte("\r\n\r\n")), bytes.Index(b, []byte("\n\n"))
	switch {
	case crlf >= 0 && (lf < 0 || crlf < lf):
		return from + crlf + 4
	case lf >= 0:
		return from + lf + 2
	}
	return 0
}

// contentLength finds Content-Length or its compact form in a header section.
func contentLength(head []byte) (int, bool) {
	for line := range bytes.Lines(head) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		name = bytes.TrimSpace(name)
		if !bytes.EqualFold(name, []byte("content-length")) && !bytes.EqualFold(name, []byte("l")) {
			continue
		}
		n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 31)
		return int(n), err == nil
	}
	return 0, false
}

// fill reads more bytes under the deadline that fits the state.
func (c *conn) fill() error {
	lim := c.owner.cfg.Limits
	switch {
	case len(c.buf) > 0 && c.late.IsZero():
		c.late = time.Now().Add(lim.Message)
	case len(c.buf) == 0 && !c.spoken:
		c.late = c.born.Add(lim.First)
	case len(c.buf) == 0:
		c.late = time.Time{}
	}
	if err := c.SetReadDeadline(c.late); err != nil {
		return err
	}
	var chunk [8192]byte
	n, err := c.Conn.Read(chunk[:])
	if n > 0 {
		if !c.spoken {
			c.spoken, c.late = true, time.Time{}
		}
		c.buf = append(c.buf, chunk[:n]...)
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.owner.cfg.Count("message-timeout")
	}
	return err
}

// drop forgets n bytes at the front and gives back a large buffer once empty.
func (c *conn) drop(n int) {
	c.buf = c.buf[n:]
	if len(c.buf) == 0 {
		c.buf = nil
	}
}
