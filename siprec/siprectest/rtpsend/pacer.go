// Package rtpsend sends the RTP of many G.711 streams at their time, and breaks
// it on purpose: loss, reordering, duplicates, gaps, jumps, drifting clocks,
// DTMF events and foreign payload types.
//
//	Pacer ── a wheel of 5 ms slots, one goroutine ──► Stream.step ──► socket
//	                                                     │
//	            Config, Impair, seed ────────────────────┘
//
// Promises: the same seed and place give the same losses, duplicates and swaps,
// and each of the three does not change what the others pick; sending a packet
// allocates nothing; timestamps follow the stream's own clock whether or not a
// packet is sent.
//
// Caveats: a packet leaves up to one tick (5 ms) after its time, and later
// when the machine is late; Pacer.Lag tells.
package rtpsend

import (
	"sync"
	"time"
)

// tick is the pacer's grid, slots its wheel: a stream that is due later than
// one turn (320 ms) is looked at once a turn.
const (
	tick  = 5 * time.Millisecond
	slots = 64
)

// Pacer sends the packets of all streams at their time, from one goroutine. A
// goroutine or timer for each stream would cost more than the packets do. It
// stands still while it has no streams.
//
// Its mutex guards the paced state of every stream. A tick holds it for as
// long as the tick's packets take to send.
type Pacer struct {
	epoch time.Time
	quit  chan struct{}
	wake  chan struct{} // capacity 1: the first stream came
	done  sync.WaitGroup

	mu    sync.Mutex
	wheel [slots][]*Stream
	spare []*Stream
	turn  int64 // ticks done since epoch
	live  int
	lag   time.Duration // the most that a packet was late, beyond its tick

	outlets []*outlet // sockets that streams share; flushed with every tick
}

// NewPacer starts a pacer. Stop it.
func NewPacer() *Pacer {
	p := &Pacer{epoch: time.Now(), quit: make(chan struct{}), wake: make(chan struct{}, 1)}
	p.done.Go(p.run)
	return p
}

// Stop ends the goroutine and waits for it. Streams end where they are,
// and sockets that streams share are closed.
func (p *Pacer) Stop() {
	close(p.quit)
	p.done.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.wheel {
		for _, s := range p.wheel[i] {
			s.finish()
		}
		p.wheel[i] = nil
	}
	for _, o := range p.outlets {
		o.flush()
		_ = o.conn.Close() // nothing is buffered in a UDP socket of ours
	}
}

// Lag is the most that a packet was late, beyond its tick.
func (p *Pacer) Lag() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lag
}

// Failed counts the packets which the system refused on shared sockets: they
// are in no stream's Stats.
func (p *Pacer) Failed() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.outlets {
		n += o.failed
	}
	return n
}

// now is the time since the pacer's epoch.
func (p *Pacer) now() time.Duration { return time.Since(p.epoch) }

// Start starts streams at the same moment.
func (p *Pacer) Start(streams ...*Stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.live == 0 { // the wheel stood still
		p.turn = int64(now / tick)
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	for _, s := range streams {
		s.zero = now
		p.live++
		p.place(s)
	}
}

// place puts a stream into the slot of its due time.
func (p *Pacer) place(s *Stream) {
	at := max(int64(s.due()/tick), p.turn)
	p.wheel[at%slots] = append(p.wheel[at%slots], s)
}

func (p *Pacer) run() {
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for {
		var next <-chan time.Time
		if wait, live := p.advance(); live {
			timer.Reset(wait)
			next = timer.C
		}
		select {
		case <-next:
		case <-p.wake:
		case <-p.quit:
			return
		}
	}
}

// advance does every tick whose time has come, and says how long it is to the
// next; live is false when no stream is left.
func (p *Pacer) advance() (wait time.Duration, live bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for now := p.now(); p.live > 0 && time.Duration(p.turn+1)*tick <= now; p.turn++ {
		p.sweep(p.turn, now)
	}
	return time.Duration(p.turn+1)*tick - p.now(), p.live > 0
}

// sweep sends what is due within one tick.
func (p *Pacer) sweep(turn int64, now time.Duration) {
	due := p.wheel[turn%slots]
	p.wheel[turn%slots] = p.spare[:0]
	end := time.Duration(turn+1) * tick
	for _, s := range due {
		for !s.ended && s.due() < end {
			p.lag = max(p.lag, now-end)
			s.step()
		}
		if s.ended {
			p.live--
			s.finish()
			continue
		}
		at := int64(s.due() / tick)
		p.wheel[at%slots] = append(p.wheel[at%slots], s)
	}
	clear(due)
	p.spare = due
	for _, o := range p.outlets {
		o.flush()
	}
}
