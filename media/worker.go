package media

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"siprecd/media/leg"
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
	at      int           // the next of them in the sweep that is going on
	hasty   []*Call       // those of them that are swept more often
	quick   *time.Ticker  // for these; stopped while there is none
	first   time.Duration // when the first sweep is: the workers take turns
	discard *udp.Socket
	rx      *udp.Receiver
	scratch *scratch
	pool    leg.Pool // of its tracks

	wake    chan struct{}
	waiting atomic.Bool // something is in the mailbox
	mu      sync.Mutex
	box     []func()
	closed  bool

	load   atomic.Int64 // calls given to this worker
	began  atomic.Int64 // when the latest sweep did, ns on the engine's clock
	late   atomic.Int64 // how much later than planned that was, ns
	busy   atomic.Int64 // thousandths
	worked atomic.Int64 // ns since Open
}

func newWorker(e *Engine, first time.Duration) *worker {
	w := &worker{
		eng:     e,
		first:   first,
		quick:   time.NewTicker(HastySweep),
		rx:      udp.NewReceiver(),
		scratch: newScratch(int(e.cfg.Batch / frameTime)),
		wake:    make(chan struct{}, 1),
	}
	w.quick.Stop()
	w.began.Store(int64(e.now()))
	return w
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
	tick := time.NewTicker(w.first)
	defer tick.Stop()
	defer w.quick.Stop()
	plan := plan{due: w.eng.now() + w.first}
	for {
		var begin time.Duration
		select {
		case <-w.eng.quit:
			w.stop()
			return
		case <-w.wake:
			begin = w.eng.now()
			w.commands()
		case <-w.quick.C:
			begin = w.eng.now()
			w.sweepHasty()
		case <-tick.C:
			begin = w.eng.now()
			if plan.sweeps == 0 {
				tick.Reset(w.eng.cfg.Sweep)
			}
			w.measure(&plan, begin)
			w.sweep()
		}
		w.worked.Add(int64(w.eng.now() - begin))
	}
}

// plan is what a worker's sweeps are held against.
type plan struct {
	sweeps int
	due    time.Duration // when the next one is
	began  time.Duration // when the latest did
	worked int64         // and how much had been worked until then
}

// measure notes how late a sweep is that begins now, and keeps a short average
// of the share of its time that the worker works.
func (w *worker) measure(p *plan, now time.Duration) {
	worked := w.worked.Load()
	if p.sweeps > 0 {
		share := min(1000, (worked-p.worked)*1000/max(1, int64(now-p.began)))
		w.busy.Store((w.busy.Load() + share) / 2)
	}
	w.late.Store(int64(max(0, now-p.due)))
	w.began.Store(int64(now))
	p.sweeps++
	p.began, p.worked, p.due = now, worked, now+w.eng.cfg.Sweep
}

// lateness is how much later than planned the latest sweep began, or the next
// one is by now.
func (w *worker) lateness(now time.Duration) time.Duration {
	return max(time.Duration(w.late.Load()), now-time.Duration(w.began.Load())-w.eng.cfg.Sweep)
}

// sweep empties all sockets and encodes what is complete.
func (w *worker) sweep() {
	for w.at = 0; w.at < len(w.calls); {
		w.attend()
		if w.at < len(w.calls) {
			c := w.calls[w.at]
			w.at++
			w.visit(c)
		}
	}
	if w.discard != nil {
		for range maxBatches {
			if w.rx.Read(w.discard) < udp.Batch {
				break
			}
		}
	}
}

// attend serves, between two calls, who cannot wait for the end of a sweep:
// commands, calls that are listened to, and the rest of the process.
func (w *worker) attend() {
	if w.waiting.Load() {
		w.commands()
	}
	select {
	case <-w.quick.C:
		w.sweepHasty()
	default:
	}
	runtime.Gosched()
}

func (w *worker) sweepHasty() {
	for _, c := range w.hasty {
		w.visit(c)
	}
}

// visit takes one call through the whole pipeline.
func (w *worker) visit(c *Call) {
	read := c.drainAll()
	c.guarded(func() {
		c.core.setCeiling(int(w.eng.ceiling.Load()))
		c.core.advance(read-c.start, w.scratch)
	})
	c.publish()
}

// hasten begins or ceases to sweep a call more often.
func (w *worker) hasten(c *Call, on bool) {
	w.hasty = slices.DeleteFunc(w.hasty, func(o *Call) bool { return o == c })
	if on {
		w.hasty = append(w.hasty, c)
	}
	if len(w.hasty) == 0 {
		w.quick.Stop()
	} else {
		w.quick.Reset(HastySweep)
	}
}

// remove forgets a call. The sweep that is going on misses none of the others.
func (w *worker) remove(c *Call) {
	w.hasten(c, false)
	if i := slices.Index(w.calls, c); i >= 0 {
		w.calls = slices.Delete(w.calls, i, i+1)
		if i < w.at {
			w.at--
		}
	}
	w.load.Add(-1)
	w.eng.calls.Add(-1)
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
	var sum Summary
	c.guarded(func() { sum = c.core.finish(end, read-c.start, w.scratch) })
	if c.broken {
		sum = c.core.wreck()
	}
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
	w.remove(c)
}

// drainAll empties the call's sockets and returns a time up to which everything
// that had arrived has been read: the moment before. The call is played up to
// then and no further, so that a worker that is held up loses nothing.
func (c *Call) drainAll() time.Duration {
	now := c.eng.now()
	for _, s := range c.streams {
		c.drain(s)
		c.guarded(func() { c.report(s) })
	}
	c.swept = now
	return now
}

// drain empties one socket into the stream's ring.
func (c *Call) drain(s *Stream) {
	if s.sock == nil {
		return
	}
	c.guarded(func() { c.take(s) })
	if c.broken {
		c.waste(s)
	}
}

// take reads what waits in one socket.
func (c *Call) take(s *Stream) {
	defer func() { s.defend(c.eng.now()) }()
	for range maxBatches {
		n := c.w.rx.Read(s.sock)
		if n == 0 {
			return
		}
		now := c.clock()
		for i := range n {
			p := c.w.rx.Packet(i)
			if p.Dropped != 0 {
				s.track.Dropped(p.Dropped)
			}
			s.track.Push(p.Data, p.From, now.arrival(p.Stamp)-c.start)
			s.siege.note(p.From, s.track.Sender(), now.now)
		}
		if n < udp.Batch {
			return
		}
	}
}

// moment is a time on both clocks, by which the kernel's stamps are put on the
// engine's.
type moment struct {
	earliest, now time.Duration // on the engine's clock
	wall          int64
}

func (c *Call) clock() moment {
	at := time.Now()
	return moment{c.swept, at.Sub(c.eng.base), at.UnixNano()}
}

// arrival is when a packet came: the kernel's time stamp, held between the
// previous sweep and now so that a step of the wall clock moves nothing.
func (m moment) arrival(stamp int64) time.Duration {
	if stamp == 0 {
		return m.now
	}
	return min(m.now, max(m.earliest, m.now-time.Duration(m.wall-stamp)))
}
