package media

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"siprecd/media/secure"
	"siprecd/media/udp"
)

// Errors a caller branches on.
var (
	// ErrNoPorts says that every port of the range is in use.
	ErrNoPorts = errors.New("media: no free port")
	// ErrClosed says that the engine or the call takes nothing more.
	ErrClosed = errors.New("media: closed")
)

// Defaults of Config, and the longest that audio may wait before it is encoded:
// with a journal that commits within 80 ms the loss at a crash stays under one
// second.
const (
	DefaultSweep = 520 * time.Millisecond
	DefaultDepth = 200 * time.Millisecond
	DefaultBatch = 520 * time.Millisecond
	MaxLatency   = 750 * time.Millisecond
)

// HastySweep is how often a call is swept that somebody listens to.
const HastySweep = 20 * time.Millisecond

// frameTime is the length of one encoded packet.
const frameTime = 20 * time.Millisecond

// Engine owns the media ports and the workers that empty them. Its methods may
// be called from any goroutine, but not from within a Sink.
type Engine struct {
	cfg     Config
	base    time.Time // origin of the engine's monotonic clock
	ports   *udp.Ports
	workers []*worker
	discard *udp.Socket
	wg      sync.WaitGroup
	quit    chan struct{}
	shown   func() (*secure.Identity, error) // our certificate, made once

	mu     sync.Mutex
	closed bool

	calls   atomic.Int64
	streams atomic.Int64
	ceiling atomic.Int64 // greatest complexity that calls are encoded with
	broken  atomic.Int64 // calls that a panic has ended, since Open
}

// Load is how busy the engine is.
type Load struct {
	Late       time.Duration // how much later than planned the slowest worker sweeps
	Busy       float64       // share of its time that the busiest worker spent working, 0 to 1, over its last few sweeps
	Worked     time.Duration // how long the workers have worked since Open, all together
	Workers    int
	Sweep      time.Duration // how often they sweep
	PortsUsed  int
	PortsTotal int
	Calls      int
	Streams    int
	Broken     int // calls since Open whose handling failed, see Call.Broken
}

// Open checks the configuration, binds the discard port and starts the
// workers. The error names the setting that is wrong.
func Open(cfg Config) (*Engine, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	e := &Engine{
		cfg:   cfg,
		base:  time.Now(),
		ports: udp.NewPorts(cfg.PortMin, cfg.PortMax),
		quit:  make(chan struct{}),
		shown: sync.OnceValues(secure.NewIdentity),
	}
	s, err := e.bind()
	if err != nil {
		return nil, fmt.Errorf("media: bind a port of %d-%d on %v: %w", cfg.PortMin, cfg.PortMax, cfg.Address, err)
	}
	e.discard = s
	e.ceiling.Store(maxComplexity)
	for i := range cfg.Workers {
		e.workers = append(e.workers, newWorker(e, cfg.Sweep*time.Duration(i+1)/time.Duration(cfg.Workers)))
	}
	e.workers[0].discard = s
	for _, w := range e.workers {
		e.wg.Go(w.run)
	}
	return e, nil
}

// complete fills in defaults and refuses what cannot work.
func (c *Config) complete() error {
	if !c.Address.IsValid() {
		return errors.New("media: no address to bind to")
	}
	if c.PortMin < 1 || c.PortMax > 65535 || c.PortMin > c.PortMax {
		return fmt.Errorf("media: port range %d-%d is not within 1-65535", c.PortMin, c.PortMax)
	}
	if n := udp.Even(c.PortMin, c.PortMax); n < 2 {
		return fmt.Errorf("media: port range %d-%d holds %d even ports, at least 2 are needed", c.PortMin, c.PortMax, n)
	}
	if c.Workers < 0 {
		return fmt.Errorf("media: %d workers", c.Workers)
	}
	if c.Workers == 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	return c.completeTimes()
}

// completeTimes does the same for the durations.
func (c *Config) completeTimes() error {
	if min(c.Sweep, c.Depth, c.Batch) < 0 {
		return errors.New("media: sweep, depth and batch must not be negative")
	}
	setDefault(&c.Sweep, DefaultSweep)
	setDefault(&c.Depth, DefaultDepth)
	setDefault(&c.Batch, DefaultBatch)
	if c.Batch%frameTime != 0 {
		return fmt.Errorf("media: batch %v is not a multiple of %v", c.Batch, frameTime)
	}
	if sum := c.Sweep + c.Depth + frameTime; sum > MaxLatency {
		return fmt.Errorf("media: sweep, depth and a frame add up to %v, more than %v", sum, MaxLatency)
	}
	return nil
}

func setDefault(d *time.Duration, v time.Duration) {
	if *d == 0 {
		*d = v
	}
}

// Close finishes what calls are still open, releases every port and waits for
// the workers. Calling it again does nothing.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	e.mu.Unlock()
	close(e.quit)
	e.wg.Wait()
	e.discard.Close()
	return nil
}

// DiscardPort is a bound port whose packets are thrown away unread: for
// sessions that are answered but not recorded.
func (e *Engine) DiscardPort() int { return e.discard.Port }

// Load reports how busy the engine is; cheap enough for every request.
func (e *Engine) Load() Load {
	used, total := e.ports.Count()
	l := Load{PortsUsed: used, PortsTotal: total, Calls: int(e.calls.Load()), Streams: int(e.streams.Load()), Broken: int(e.broken.Load()), Workers: len(e.workers), Sweep: e.cfg.Sweep}
	now := e.now()
	for _, w := range e.workers {
		l.Late = max(l.Late, w.lateness(now))
		l.Busy = max(l.Busy, float64(w.busy.Load())/1000)
		l.Worked += time.Duration(w.worked.Load())
	}
	return l
}

// SetComplexity limits the complexity of every call, live ones from their next
// batch on, to n, 0 to 10: a call is encoded with what it was configured with,
// or n if that is less. 10 takes the limit away. Nothing is lost or heard by
// the change but the quality that it stands for.
func (e *Engine) SetComplexity(n int) { e.ceiling.Store(int64(max(0, min(n, maxComplexity)))) }

// now is the time on the engine's monotonic clock.
func (e *Engine) now() time.Duration { return time.Since(e.base) }

// since puts an instant on the engine's clock: by the monotonic reading if it
// has one, else by the wall clock as it stands.
func (e *Engine) since(t time.Time) time.Duration {
	now := time.Now()
	return now.Sub(e.base) - now.Sub(t)
}

// few calls are one worker's: each sweep wakes the process and, through what it
// encodes, the disk, and two half as long cost more than one.
const few = 32

// choose is the first worker with few calls, or else that with the fewest.
func (e *Engine) choose() *worker {
	best := e.workers[0]
	for _, w := range e.workers {
		if w.load.Load() < few {
			return w
		}
		if w.load.Load() < best.load.Load() {
			best = w
		}
	}
	return best
}

// bind opens a socket on a free port. Ports that something else holds are
// skipped.
func (e *Engine) bind() (*udp.Socket, error) {
	_, total := e.ports.Count()
	var last error
	for range total {
		p, ok := e.ports.Take()
		if !ok {
			break
		}
		s, err := udp.Open(netip.AddrPortFrom(e.cfg.Address, uint16(p)))
		if err == nil {
			return s, nil
		}
		e.ports.Give(p)
		last = err
		if !udp.Busy(err) {
			return nil, err
		}
	}
	if last != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoPorts, last)
	}
	return nil, ErrNoPorts
}

// release closes a socket and returns its port to the end of the queue, so
// that stray packets of the old stream have died out when it is used again.
func (e *Engine) release(s *udp.Socket) {
	s.Close()
	e.ports.Give(s.Port)
}
