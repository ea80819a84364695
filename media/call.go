package media

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"siprecd/media/leg"
	"siprecd/media/secure"
	"siprecd/media/udp"
)

// Call is one call being recorded. Its methods may be called from any
// goroutine but not from within its Sink. They hand their work to the worker
// that owns the call and wait for it, a few milliseconds at most.
type Call struct {
	eng   *Engine
	w     *worker
	start time.Duration // of the timeline, on the engine's clock

	// Owned by the worker.
	core    *core
	streams []*Stream
	swept   time.Duration  // when the sockets were last emptied
	ending  []*association // handshakes closed with the call, to be waited for
	broken  bool           // a panic has ended it, see guarded

	mu      sync.Mutex // guards what follows
	stats   []StreamStats
	summary Summary
	done    bool
	fault   string // why it is broken
}

// Stream is one media line of a call: a bound port and what is heard on it.
type Stream struct {
	call  *Call
	port  int
	sock  *udp.Socket // owned by the worker; nil once removed
	track *leg.Track
	rtcp  *rtcpPort     // owned by the worker; nil: it could not be had
	assoc *association  // its handshake, owned by the worker; nil: none
	siege siege         // owned by the worker
	begun chan struct{} // closed once the call's worker has it, or never will
}

// NewCall starts a call's timeline at cfg.Start, which should be near now.
// Ports are bound as streams are added.
func (e *Engine) NewCall(cfg CallConfig) (*Call, error) {
	start := e.since(cfg.Start)
	if d := e.now() - start; d > time.Minute || d < -time.Minute {
		return nil, fmt.Errorf("media: the call's start is %v away from now", d)
	}
	k, err := newCore(cfg, e.cfg.Depth, e.cfg.Batch)
	if err != nil {
		return nil, err
	}
	w := e.choose()
	c := &Call{eng: e, w: w, start: start, core: k, swept: e.now()}
	if !w.do(func() { w.calls = append(w.calls, c) }) {
		return nil, ErrClosed
	}
	w.load.Add(1)
	e.calls.Add(1)
	return c, nil
}

// Add binds a port and begins to listen; from then on packets are recorded. A
// stream may be added at any time. ErrNoPorts: the range is used up;
// ErrClosed: the call has finished.
func (c *Call) Add(cfg StreamConfig) (*Stream, error) {
	sock, err := c.eng.bind()
	if err != nil {
		if errors.Is(err, ErrNoPorts) {
			return nil, err
		}
		return nil, fmt.Errorf("media: bind a port: %w", err)
	}
	s := &Stream{call: c, port: sock.Port, sock: sock, rtcp: c.eng.openControl(sock.Port, rand.Uint32()), begun: make(chan struct{})}
	defer close(s.begun)
	ok := false
	c.w.do(func() {
		if ok = !c.finished(); ok {
			s.listen(cfg, nil)
		}
	})
	if !ok {
		s.rtcp.close()
		c.eng.release(sock)
		return nil, ErrClosed
	}
	c.eng.streams.Add(1)
	return s, nil
}

// listen begins to record a stream, on the worker of its call. guard is what has
// opened it until now, if another call had it. It returns what associate does.
func (s *Stream) listen(cfg StreamConfig, guard *secure.Guard) *association {
	c := s.call
	s.track = c.core.add(cfg, leg.Place{
		Added: c.eng.now() - c.start, Port: s.port, Allow: c.eng.cfg.Allow, Pool: &c.w.pool,
		Control: s.control, Guard: guard,
	})
	c.streams = append(c.streams, s)
	old := s.associate(cfg)
	c.publish()
	return old
}

// Port is the local port to answer with.
func (s *Stream) Port() int { return s.port }

// Update puts a newly agreed configuration in force at once. What was heard
// and counted stays.
func (s *Stream) Update(cfg StreamConfig) {
	c := s.call
	var old *association
	c.w.do(func() {
		if !c.finished() {
			c.drain(s)
			s.relent()
			s.track.Configure(cfg, c.eng.now()-c.start)
			old = s.associate(cfg)
			c.publish()
		}
	})
	old.wait()
}

// Remove closes the stream's port. What was heard until now stays in the
// recording, and its counts stay in Stats and in the summary.
func (s *Stream) Remove() {
	c := s.call
	var old *association
	c.w.do(func() {
		if s.sock != nil {
			c.drain(s)
			s.track.End(c.eng.now() - c.start)
			old = s.associate(StreamConfig{})
			c.shut(s)
			c.publish()
		}
	})
	old.wait()
}

// Stats returns what was counted so far, one entry a stream in the order they
// were added, as of the last sweep.
func (c *Call) Stats() []StreamStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]StreamStats(nil), c.stats...)
}

// Finish ends the call at the given instant: it empties the sockets, encodes
// the rest, hands it to the sink, closes the ports and frees the memory. It
// returns when that is done. Calling it again returns the same summary.
//
// The timeline is as long as the time from start to at, or up to 60 ms longer
// when received audio reaches beyond; it is never shorter than what the sink
// already has.
func (c *Call) Finish(at time.Time) Summary {
	end := c.eng.since(at) - c.start
	var ending []*association
	c.w.do(func() {
		c.w.finish(c, end)
		ending, c.ending = c.ending, nil
	})
	for _, a := range ending {
		a.wait()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.summary
}

// Hasten has the call swept every HastySweep instead of every sweep, or no more:
// for a call that somebody listens to. What it records is the same; it reaches
// the Sink a frame at a time, and costs more.
func (c *Call) Hasten(on bool) {
	c.w.do(func() {
		if !c.finished() {
			c.w.hasten(c, on)
		}
	})
}

// finished is asked on the worker only.
func (c *Call) finished() bool { return c.core == nil }

// publish copies the counts to where Stats reads them.
func (c *Call) publish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats = c.stats[:0]
	for _, s := range c.streams {
		c.stats = append(c.stats, *s.track.Stats())
	}
}

// shut closes a stream's port.
func (c *Call) shut(s *Stream) {
	if s.sock != nil {
		s.rtcp.close()
		c.eng.release(s.sock)
		s.sock = nil
		c.eng.streams.Add(-1)
	}
}
