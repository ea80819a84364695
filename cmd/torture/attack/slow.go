package attack

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"siprecd/cmd/torture/foe"
	"siprecd/cmd/torture/rig"
)

// patience is how long a connection may stay that is never done.
const patience = 15 * time.Second

// slow opens connections that send half a foe.Request, or a byte a second, or half
// a handshake: all are closed in time, and a call is answered meanwhile.
func slow(l *rig.Lab) error {
	s, secure, err := withTLS(l)
	if err != nil {
		return err
	}
	calm, err := s.Usage()
	if err != nil {
		return err
	}
	h := &herd{l: l, source: -1}
	for range l.Rounds {
		h.add(s.TCP, []byte("INVITE sip:rec@example.org SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9"), 0)
	}
	for range max(1, l.Rounds/4) {
		h.add(s.TCP, []byte("INVITE sip:"), time.Second)
	}
	for range max(1, l.Rounds/10) {
		h.add(secure, []byte{22, 3, 1}, 0)
	}
	setup, failed := busyCalls(l, s)
	closed, worst := h.wait()
	l.Count("connections that were closed", closed, h.opened)
	l.AtMost("the longest of them stayed", worst, patience+2*time.Second*time.Duration(tolerance(l)))
	l.Count("calls over a new connection that failed meanwhile", failed, 0)
	l.AtMost("the slowest of them was answered", slices.Max(setup), 500*time.Millisecond*time.Duration(tolerance(l)))
	err = l.Await("the descriptors are free again", 10*time.Second, func() bool {
		u, err := s.Usage()
		return err == nil && u.Files <= calm.Files+8
	})
	l.Figure("descriptors are given back", fmt.Sprint(err == nil), "true", err == nil)
	return nil
}

// tolerance is by how much a measurement of time may be worse in the short
// form, which runs on a machine that is busy with other tests.
func tolerance(l *rig.Lab) int {
	if l.Rounds < 1000 {
		return 8
	}
	return 1
}

// busyCalls places a call over a new TCP connection every now and then.
func busyCalls(l *rig.Lab, s *rig.Server) (setup []time.Duration, failed int) {
	setup = []time.Duration{0}
	for range 10 {
		began := time.Now()
		p, err := foe.Dial("tcp", "", s.TCP, nil)
		if err != nil {
			failed++
			continue
		}
		r := p.Invite("", nil)
		a, err := p.Call(r, 10*time.Second)
		if err != nil || a.Code() != 200 {
			l.Logf("a call got %d, %v", a.Code(), err)
			failed++
		} else {
			setup = append(setup, time.Since(began))
			_ = p.Ack(r, a)
			_, _ = p.Bye(r, a)
		}
		p.Close()
		foe.Wait(l, 200*time.Millisecond)
	}
	return setup, failed
}

// herd are connections that are never done.
type herd struct {
	l      *rig.Lab
	source int // of the latest; so many share one
	shared int
	opened int

	wg     sync.WaitGroup
	mu     sync.Mutex
	closed int
	worst  time.Duration
}

// perSource is how many connections one address opens.
const perSource = 32

// add opens one, sends its beginning, and drips if asked to.
func (h *herd) add(to string, begin []byte, drip time.Duration) {
	if h.shared%perSource == 0 {
		h.source++
	}
	h.shared++
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(foe.Source(h.source))}, Timeout: 5 * time.Second}
	c, err := d.Dial("tcp", to)
	h.opened++
	began := time.Now()
	if err != nil {
		h.left(began) // turned away at once
		return
	}
	_, _ = c.Write(begin) // it may be closed already
	h.wg.Go(func() {
		defer c.Close()
		if drip > 0 {
			h.wg.Go(func() { trickle(c, drip) })
		}
		if err := c.SetReadDeadline(began.Add(2 * patience)); err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, os.ErrDeadlineExceeded) {
			h.left(began)
		}
	})
}

// trickle writes a byte every so often until that fails.
func trickle(c net.Conn, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for range tick.C {
		if _, err := c.Write([]byte("r")); err != nil {
			return
		}
	}
}

func (h *herd) left(began time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed++
	h.worst = max(h.worst, time.Since(began))
}

func (h *herd) wait() (closed int, worst time.Duration) {
	h.wg.Wait()
	return h.closed, h.worst
}

// withTLS is a server that speaks TLS too, and where.
func withTLS(l *rig.Lab, sets ...string) (*rig.Server, string, error) {
	cert, key, err := rig.Certificate(l.Dir, time.Now().Add(90*24*time.Hour))
	if err != nil {
		return nil, "", err
	}
	s, err := l.Server(append(sets, "sip.tls.certificate="+cert, "sip.tls.key="+key)...)
	if err != nil {
		return nil, "", err
	}
	at := fmt.Sprint("127.0.0.1:", s.Spare(0))
	s.Sets = append(s.Sets, fmt.Sprintf("sip.listen=[udp://%s, tcp://%s, tls://%s]", s.UDP, s.TCP, at))
	_, err = s.Start()
	return s, at, err
}

// anyone is a client that checks no certificate.
func anyone() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
