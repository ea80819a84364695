package media

import (
	"net/netip"
	"time"
)

// A flood on a stream's port: so many packets of others in one sweep, while the
// sender that is heard goes on. From then on the kernel drops all others'
// packets at once, or they would fill the socket's buffer between two sweeps and
// the sender's with them. When it falls silent everyone may speak again, for it
// may have moved.
const (
	manyForeign = 256
	siegeQuiet  = time.Second
)

// siege is a stream's memory of who sends to it, owned by the worker.
type siege struct {
	shut    bool          // others are dropped by the kernel
	own     time.Duration // when the sender was last read
	foreign int           // packets of others in this sweep
}

// note counts one packet.
func (g *siege) note(from, sender netip.AddrPort, now time.Duration) {
	if from == sender {
		g.own = now
	} else {
		g.foreign++
	}
}

// defend opens or closes a stream's socket to others, at the end of a sweep.
// Where the system cannot do it, the socket stays open.
func (s *Stream) defend(now time.Duration) {
	g := &s.siege
	sender := s.track.Sender()
	heard := sender.IsValid() && g.own > 0 && now-g.own < siegeQuiet
	switch {
	case g.shut && !heard:
		s.relent()
	case !g.shut && heard && g.foreign >= manyForeign:
		from := []netip.AddrPort{sender}
		if at := s.track.Signalled(); at.IsValid() && at != sender {
			from = append(from, at)
		}
		g.shut = s.sock.Only(from...) == nil
	}
	g.foreign = 0
}

// relent lets everyone speak again.
func (s *Stream) relent() {
	if s.siege.shut && s.sock != nil {
		_ = s.sock.All()
	}
	s.siege = siege{}
}
