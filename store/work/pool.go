// Package work runs the store's slow jobs, sealing and finishing, on a few
// goroutines of their own, so that no caller waits for the disk.
package work

import (
	"log/slog"
	"sync"
	"time"
)

// Pool runs jobs on a few goroutines, urgent ones first. A job that fails is
// tried again after a second, for ever: what it does must be done.
type Pool struct {
	log  *slog.Logger
	work sync.WaitGroup

	mu     sync.Mutex
	more   *sync.Cond
	urgent []Job
	normal []Job
	timers map[*time.Timer]struct{}
	closed bool
}

// Job does one thing; What is for the log and holds no personal data.
type Job struct {
	What   string
	ID     string // of the recording
	Urgent bool
	Run    func() error

	tries int
}

// New starts a pool of so many goroutines.
func New(size int, log *slog.Logger) *Pool {
	p := &Pool{log: log, timers: map[*time.Timer]struct{}{}}
	p.more = sync.NewCond(&p.mu)
	for range size {
		p.work.Go(p.serve)
	}
	return p
}

// Submit queues a job. It never blocks.
func (p *Pool) Submit(j Job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j.Urgent {
		p.urgent = append(p.urgent, j)
	} else {
		p.normal = append(p.normal, j)
	}
	p.more.Signal()
}

func (p *Pool) serve() {
	for {
		j, ok := p.next()
		if !ok {
			return
		}
		if err := j.Run(); err != nil {
			if j.tries%60 == 0 {
				p.log.Error("cannot "+j.What+"; will be tried again", "id", j.ID, "tries", j.tries+1, "err", err)
			}
			j.tries++
			p.later(j)
		}
	}
}

func (p *Pool) next() (j Job, ok bool) {
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

func (p *Pool) later(j Job) {
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
		p.Submit(j)
	})
	p.timers[t] = struct{}{}
}

// Backlog says how many jobs wait.
func (p *Pool) Backlog() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.urgent) + len(p.normal) + len(p.timers)
}

// Close ends the goroutines after the jobs they are at. What is queued stays
// undone: the journal still has it, and the next Open does it.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	for t := range p.timers {
		t.Stop()
	}
	p.more.Broadcast()
	p.mu.Unlock()
	p.work.Wait()
}
