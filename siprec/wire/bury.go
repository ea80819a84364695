package wire

import (
	"net"

	"github.com/emiago/sipgo/sip"
)

// source is where a message came from.
type source struct{ network, addr string }

// maxHeard bounds each half of Stack.heard.
const maxHeard = 4096

// hear notes where a message came from; the oldest are forgotten. It says
// whether the message may go on: none does once the sockets are closing.
func (s *Stack) hear(network string, from net.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closing:
		return false
	default:
	}
	if len(s.heard[0]) >= maxHeard || s.heard[0] == nil {
		s.heard[0], s.heard[1] = make(map[source]struct{}), s.heard[0]
	}
	s.heard[0][source{network, from.String()}] = struct{}{}
	return true
}

// bury puts a dead connection in the place of every one that a message came
// from. sipgo handles each request in a goroutine that nobody can wait for;
// one that runs only after its socket has closed would otherwise open a socket
// of its own for the answer, which nobody closes.
func (s *Stack) bury() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, half := range s.heard {
		for from := range half {
			s.TP.Pool(from.network).Add(from.addr, grave{})
		}
	}
}

// grave is a connection that nothing leaves from.
type grave struct{}

// LocalAddr implements sip.Connection.
func (grave) LocalAddr() net.Addr { return &net.UDPAddr{} }

// WriteMsg implements sip.Connection.
func (grave) WriteMsg(sip.Message) error { return net.ErrClosed }

// Ref implements sip.Connection.
func (grave) Ref(int) int { return 1 }

// TryClose implements sip.Connection.
func (grave) TryClose() (int, error) { return 1, nil }

// Close implements sip.Connection.
func (grave) Close() error { return nil }
