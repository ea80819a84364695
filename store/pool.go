package store

import (
	"log/slog"
	"sync"
	"time"
)

// pool runs jobs on a few goroutines, urgent ones first. A job that fails is
// tried again after a second, for ever: what it does must be done.
type pool struct {
	log  *slog.Logger
	work sync.WaitGroup

	mu     sync.Mutex
	more   *sync.Cond
	urgent []job
	normal []job
	timers map[*time.Timer]struct{}
	closed bool
}

// job does one thing; what is for the log and holds no personal data.
type job struct {
	what   string
	id     string
	urgent bool
	run    func() error
}

func newPool(size int, log *slog.Logger) *pool {
	p := &pool{log: log, timers: map[*time.Timer]struct{}{}}
	p.more = sync.NewCond(&p.mu)
	for range size {
		p.work.Go(p.serve)
	}
	return p
}

// submit queues a job. It never blocks.
func (p *pool) submit(j job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j.urgent {
		p.urgent = append(p.urgent, j)
	} else {
		p.normal = append(p.normal, j)
	}
	p.more.Signal()
}

func (p *pool) serve() {
	for {
		j, ok := p.next()
		if !ok {
			return
		}
		if err := j.run(); err != nil {
			p.log.Error("cannot "+j.what+"; will be tried again", "id", j.id, "err", err)
			p.later(j)
		}
	}
}

func (p *pool) next() (j job, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.urgent)+len(p.normal) == 0 && !p.closed {
		p.more.Wait()
	}
	if p.closed {
		return j, false
	}
	from := &p.urgent
	if len(*from) == 0 {
		from = &p.normal
	}
	j = (*from)[0]
	*from = (*from)[1:]
	return j, true
}

func (p *pool) later(j job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(time.Second, func() {
		p.mu.Lock()
		delete(p.timers, t)
		p.mu.Unlock()
		p.submit(j)
	})
	p.timers[t] = struct{}{}
}

// backlog says how many jobs wait.
func (p *pool) backlog() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.urgent) + len(p.normal) + len(p.timers)
}

// close ends the goroutines after the jobs they are at. What is queued stays
// undone: the journal still has it, and the next Open does it.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for t := range p.timers {
		t.Stop()
	}
	p.more.Broadcast()
	p.mu.Unlock()
	p.work.Wait()
}
