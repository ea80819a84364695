package media

import (
	"sync"
	"sync/atomic"
	"time"

	"siprecd/media/udp"
)

// maxBatches bounds what one sweep reads from one socket, so that a flood on
// one port holds up the others no longer than that.
const maxBatches = 64

// worker owns a share of the calls: it empties their sockets, and decodes and
// encodes them, in one goroutine. Everything that changes a call reaches it as
// a function in its mailbox.
type worker struct {
	eng     *Engine
	calls   []*Call
	discard *udp.Socket
	rx      *udp.Receiver
	scratch *scratch

	wake    chan struct{}
	waiting atomic.Bool // something is in the mailbox
	mu      sync.Mutex
	box     []func()
	closed  bool

	load atomic.Int64 // calls given to this worker
	late atomic.Int64 // ns
	busy atomic.Int64 // thousandths
}

func newWorker(e *Engine) *worker {
	return &worker{
		eng:     e,
		rx:      udp.NewReceiver(),
		scratch: newScratch(int(e.cfg.Batch / frameTime)),
		wake:    make(chan struct{}, 1),
	}
}

// do runs f on the worker and waits for it; false if the worker has stopped.
func (w *worker) do(f func()) bool {
	done := make(chan struct{})
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return false
	}
	w.box = append(w.box, func() { f(); close(done) })
	w.waiting.Store(true)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	<-done
	return true
}

// commands runs what is in the mailbox.
func (w *worker) commands() {
	w.mu.Lock()
	box := w.box
	w.box = nil
	w.waiting.Store(false)
	w.mu.Unlock()
	for _, f := range box {
		f()
	}
}

func (w *worker) run() {
	tick := time.NewTicker(w.eng.cfg.Sweep)
	defer tick.Stop()
	last := w.eng.now()
	for {
		select {
		case <-w.eng.quit:
			w.stop()
			return
		case <-w.wake:
			w.commands()
		case <-tick.C:
			begin := w.eng.now()
			w.late.Store(int64(max(0, begin-last-w.eng.cfg.Sweep)))
			last = begin
			w.sweep()
			w.measure(w.eng.now() - begin)
		}
	}
}

// measure keeps a running average of the share of time spent in sweeps.
func (w *worker) measure(took time.Duration) {
	share := min(1000, int64(took)*1000/int64(w.eng.cfg.Sweep))
	w.busy.Store((w.busy.Load()*7 + share) / 8)
}

// sweep empties all sockets and encodes what is due. Commands are served
// between two calls, so that nobody waits for a whole sweep.
func (w *worker) sweep() {
	for i := 0; i < len(w.calls); i++ {
		if w.waiting.Load() {
			w.commands()
			if i >= len(w.calls) {
				break
			}
		}
		c := w.calls[i]
		read := c.drainAll()
		c.core.advance(read-c.start, w.scratch)
		c.publish()
	}
	if w.discard != nil {
		for range maxBatches {
			if w.rx.Read(w.discard) < udp.Batch {
				break
			}
		}
	}
}

// stop serves the last commands and finishes what calls are left.
func (w *worker) stop() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.commands()
	for len(w.calls) > 0 {
		c := w.calls[0]
		w.finish(c, w.eng.now()-c.start)
	}
}

// finish ends a call at the given time since its start.
func (w *worker) finish(c *Call, end time.Duration) {
	if c.finished() {
		return
	}
	read := c.drainAll()
	sum := c.core.finish(end, read-c.start, w.scratch)
	for _, s := range c.streams {
		if a := s.associate(StreamConfig{}); a != nil {
			c.ending = append(c.ending, a)
		}
		c.shut(s)
	}
	c.publish()
	c.mu.Lock()
	c.summary, c.done = sum, true
	c.mu.Unlock()
	c.core, c.streams = nil, nil
	for i := range w.calls {
		if w.calls[i] == c {
			w.calls[i] = w.calls[len(w.calls)-1]
			w.calls[len(w.calls)-1] = nil
			w.calls = w.calls[:len(w.calls)-1]
			break
		}
	}
	w.load.Add(-1)
	w.eng.calls.Add(-1)
}

// drainAll empties the call's sockets and returns a time up to which everything
// that had arrived has been read: the moment before. The call is played up to
// then and no further, so that a worker that is held up loses nothing.
func (c *Call) drainAll() time.Duration {
	now := c.eng.now()
	for _, s := range c.streams {
		c.drain(s)
		c.report(s)
	}
	c.swept = now
	return now
}

// drain empties one socket into the stream's ring. A packet's arrival is the
// kernel's time stamp, held between the previous sweep and now so that a step
// of the wall clock moves nothing.
func (c *Call) drain(s *Stream) {
	if s.sock == nil {
		return
	}
	for range maxBatches {
		n := c.w.rx.Read(s.sock)
		at := time.Now()
		now := at.Sub(c.eng.base)
		wall := at.UnixNano()
		for i := range n {
			p := c.w.rx.Packet(i)
			arrival := now
			if p.Stamp != 0 {
				arrival = min(now, max(c.swept, now-time.Duration(wall-p.Stamp)))
			}
			if p.Dropped != 0 {
				s.track.Dropped(p.Dropped)
			}
			s.track.Push(p.Data, p.From, arrival-c.start)
		}
		if n < udp.Batch {
			return
		}
	}
}
