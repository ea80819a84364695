// Package work runs the store's slow jobs, sealing and finishing, on a few
// goroutines of their own, so that no caller waits for the disk.
package work

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"
)

// Pool runs jobs on a few goroutines, urgent ones first, each beginning a little
// after the one before. A job that fails is tried again after a second, for
// ever: what it does must be done.
type Pool struct {
	log  *slog.Logger
	work sync.WaitGroup

	mu     sync.Mutex
	more   *sync.Cond
	urgent []Job
	normal []Job
	timers map[*time.Timer]struct{}
	stuck  map[*failure]struct{} // of the jobs that have failed again and again
	began  time.Time             // the latest job
	alarm  *time.Timer           // wakes a goroutine when the next may begin
	closed bool
}

// How far apart jobs begin where there is one processor, which has some 7 ms to
// do for each; with more of them, accordingly less. Where many calls began
// together all their minutes end together, too: as fast as it can be done, that
// would hold up the media for a second.
const (
	apart       = 80 * time.Millisecond
	urgentApart = 16 * time.Millisecond
	// Closer together where more wait, for the queue must never grow for good:
	// segments of 5 s come twelve times as often as those of a minute.
	longest = 30 * time.Second // that a job waits, at whatever steady rate they come
)

// failure is what became of a job's tries.
type failure struct{ err error }

// patience is how many times in a row a job may fail before it counts as stuck.
const patience = 2

// Job does one thing; What is for the log and holds no personal data.
type Job struct {
	What   string
	ID     string // of the recording
	Urgent bool
	Hasty  bool // it begins at once: there is no media yet that it could hold up
	Run    func() error

	tries   int
	failure *failure
}

// New starts a pool of so many goroutines.
func New(size int, log *slog.Logger) *Pool {
	p := &Pool{log: log, timers: map[*time.Timer]struct{}{}, stuck: map[*failure]struct{}{}}
	p.more = sync.NewCond(&p.mu)
	p.alarm = time.AfterFunc(0, p.more.Signal)
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
		err := j.Run()
		p.note(&j, err)
		if err != nil {
			if j.tries%60 == 0 {
				p.log.Error("cannot "+j.What+"; will be tried again", "id", j.ID, "tries", j.tries+1, "err", err)
			}
			j.tries++
			p.later(j)
		}
	}
}

// note keeps the account of jobs that fail again and again.
func (p *Pool) note(j *Job, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		delete(p.stuck, j.failure)
		return
	}
	if j.failure == nil {
		j.failure = &failure{}
	}
	j.failure.err = fmt.Errorf("cannot %s: %w", j.What, err)
	if j.tries+1 >= patience {
		p.stuck[j.failure] = struct{}{}
	}
}

// Stuck says how many jobs have failed again and again and do not succeed, and
// why one of them does not. A job no longer counts once it succeeds.
func (p *Pool) Stuck() (jobs int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for f := range p.stuck {
		return len(p.stuck), f.err
	}
	return 0, nil
}

func (p *Pool) next() (j Job, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed {
		if j, ok = p.due(time.Now()); ok {
			return j, true
		}
		p.more.Wait()
	}
	return j, false
}

// due takes the first job if it may begin, and has another goroutine see to the
// next one when that may.
func (p *Pool) due(now time.Time) (j Job, ok bool) {
	from, _ := p.first()
	if len(*from) == 0 {
		return j, false
	}
	if p.wait(now) <= 0 {
		j, ok = (*from)[0], true
		*from = (*from)[1:]
		p.began = now
	}
	if from, _ = p.first(); len(*from) > 0 {
		p.alarm.Reset(p.wait(now))
	}
	return j, ok
}

// wait is how long the first job has to.
func (p *Pool) wait(now time.Time) time.Duration {
	_, gap := p.first()
	return p.began.Add(gap / time.Duration(runtime.GOMAXPROCS(0))).Sub(now)
}

// first is the queue whose turn it is, and how far its jobs are apart.
func (p *Pool) first() (queue *[]Job, gap time.Duration) {
	queue, gap = &p.normal, apart
	if len(p.urgent) > 0 {
		queue, gap = &p.urgent, urgentApart
	}
	if len(*queue) > 0 && (*queue)[0].Hasty {
		gap = 0
	}
	return queue, min(gap, longest/time.Duration(1+len(*queue)))
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
	p.alarm.Stop()
	for t := range p.timers {
		t.Stop()
	}
	p.more.Broadcast()
	p.mu.Unlock()
	p.work.Wait()
}
