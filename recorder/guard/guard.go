// Package guard keeps a recorder that has too much to do from losing audio: it
// first makes the encoding cheaper, and then takes no more calls.
//
//	media.Load ──every 250 ms──► Sample ──► ladder:   complexity 5  ▲ quiet for 30 s
//	                                                  complexity 3  │
//	                                                  complexity 0  │
//	                                busy for a second ▼ 503 to new calls (quiet for 5 s: no more)
//
// What counts is how much of the processors the media needs and, once it begins
// to be late, the share of its time that the busiest worker works by the clock on
// the wall: where other programs take part of the machine, there is less room
// for calls. But only as far as that is our own doing: where the process itself
// does little, refusing calls would make no room, and so it is done only when
// audio comes to be at risk. Live calls are never touched but in
// their complexity. Until a step has told, audio waits in the sockets, which
// hold some seconds of it.
//
// Calls that were taken a moment ago are not in the load yet. Admit adds what
// they will cost by what the others do, so that a burst is stopped while there
// is room, and not when it is over.
//
// Promises: complexity is never above what is configured; a step down waits for
// no longer than a second of too much work, a step up for half a minute in which
// the dearer step would have fitted; a moment of lateness changes nothing.
//
// Caveats: what one complexity costs beside another is a rule of thumb. Where
// other programs take the processor away, the guard cannot know it before the
// media is late.
package guard

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Bounds of the load, as shares of the busiest worker's time.
const (
	high    = 0.80 // more than this asks for a step down
	fits    = 0.70 // what a step is chosen for
	full    = 0.97 // at this share nobody knows how much more there would be
	most    = 1.20 // what may be taken on, expected at the complexity of now: sockets hold the rest until a step tells
	hurry   = 0.85 // what may be taken on, expected at the lowest complexity
	bursts  = 1.5  // what a full worker is taken for
	share   = 3.0  // of what a worker could do, it is left at least one part in so many
	maxLate = 2 * time.Second
)

// How long something must last before it is acted on.
const (
	downAfter  = time.Second
	upAfter    = 30 * time.Second
	openAfter  = 5 * time.Second
	settle     = 1500 * time.Millisecond // for a step to tell
	seenWithin = 2 * time.Second         // a call is in the load after so long
)

// What a call costs, in shares of a worker's time, while that is not known, and
// the bounds within which a measurement is believed.
const (
	priorCost = 0.005
	leastCost = 0.0005
	mostCost  = 0.2
	fewCalls  = 5 // a measurement of fewer tells nothing
)

// Sample is what is known of one moment.
type Sample struct {
	At      time.Time
	Busy    float64       // share of its time that the busiest media worker works, lately
	Process float64       // share of the processors that the process may use which it does use, lately
	Late    time.Duration // of the media worker that is the latest
	Sweep   time.Duration // how often media workers plan to begin
	Calls   int           // live calls that have media
	Workers int           // media workers
	Procs   int           // processors that the process may use
}

// work is how many processors the process keeps busy.
func (s Sample) work() float64 { return s.Process * float64(max(1, s.Procs)) }

// State is what the guard has decided, and why.
type State struct {
	Complexity int       // of encoding
	Configured int       // and what it would be
	Refusing   bool      // new calls
	Since      time.Time // of the latest step; zero: none yet
	Down, Up   uint64    // steps since start
	Sample     Sample    // the latest
	Load       float64   // and what it comes to
}

// Guard holds the ladder. It is safe for parallel use.
type Guard struct {
	mu     sync.Mutex
	rungs  []int // complexities, from the configured one down
	rung   int
	state  State
	seen   []Sample  // of the last two seconds, oldest first
	busy   time.Time // since when there is too much to do; zero: there is not
	quiet  time.Time // since when a step up would fit
	spare  time.Time // since when a refusal is not needed
	cost   float64   // of a call at the complexity of now
	inside int       // calls that have entered and not yet media
	always bool      // no sample has been taken: everything is admitted
}

// New makes a guard for calls that are configured with a complexity, 0 to 10.
// It admits every call until it has had a Sample.
func New(complexity int) *Guard {
	g := &Guard{rungs: []int{complexity}, always: true, cost: priorCost}
	for _, n := range []int{5, 3, 0} {
		if n < complexity {
			g.rungs = append(g.rungs, n)
		}
	}
	g.state.Complexity, g.state.Configured = complexity, complexity
	return g
}

// relative is what a complexity costs beside 0: with stereo G.711 at 36 kbit/s,
// libopus 1.3.1.
func relative(complexity int) float64 {
	switch {
	case complexity >= 5:
		return 2
	case complexity >= 3:
		return 1.5
	}
	return 1
}

// State returns what has been decided.
func (g *Guard) State() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state
}

// Refusals of Admit.
var (
	errBusy  = errors.New("the machine is too busy: what is live needs all of it")
	errBurst = errors.New("too many calls began at once: the machine may not hold more of them")
)

// Admit says whether one more call can be recorded beside so many that have media
// now. nil: it can.
func (g *Guard) Admit(calls int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.admit(calls)
}

// Enter is Admit for a call that now begins. After nil it is counted until
// Leave, which is due when it has media or has failed.
func (g *Guard) Enter(calls int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.admit(calls)
	if err == nil {
		g.inside++
	}
	return err
}

// Leave ends what Enter began.
func (g *Guard) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
}

func (g *Guard) admit(calls int) error {
	if g.always {
		return nil
	}
	if g.state.Refusing {
		return errBusy
	}
	fresh := max(0, calls+g.inside-g.seen[0].Calls)
	next := g.state.Load + float64(fresh)*g.cost/float64(max(1, g.state.Sample.Workers))
	least := relative(g.rungs[len(g.rungs)-1]) / relative(g.state.Complexity)
	if fresh > 0 && (next > most || next*least > hurry) {
		return errBurst
	}
	return nil
}

// Note takes a sample and decides. The reason is empty when nothing changed.
func (g *Guard) Note(s Sample) (now State, reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.always = false
	g.remember(s)
	g.learn(s)
	reason = g.decide(s)
	return g.state, reason
}

// remember keeps the samples of the last two seconds.
func (g *Guard) remember(s Sample) {
	g.seen = append(g.seen, s)
	for len(g.seen) > 1 && s.At.Sub(g.seen[0].At) > seenWithin {
		g.seen = append(g.seen[:0], g.seen[1:]...)
	}
	g.state.Sample = s
	work := min(1, s.work()/float64(max(1, s.Workers)))
	g.state.Load = min(s.Busy, work) // what the media surely needs
	if s.Late > s.Sweep/6 {          // and cannot have
		g.state.Load = min(max(s.Busy, work), work*share)
	}
	if s.Late > s.Sweep && (g.state.Load >= full || s.Late > 2*s.Sweep && g.state.Load > 0.5) {
		g.state.Load = bursts
	}
}

// learn works out what a call costs: the load lags behind the calls, so it is
// held against how many there were on average.
func (g *Guard) learn(s Sample) {
	if calls := float64(g.seen[0].Calls+s.Calls) / 2; calls >= fewCalls && g.state.Load < full {
		work := min(s.Busy*float64(max(1, s.Workers)), s.work())
		g.cost = min(mostCost, max(leastCost, work/calls))
	}
}

// decide moves on the ladder if it must and may.
func (g *Guard) decide(s Sample) string {
	load := g.state.Load
	behind := s.Late > s.Sweep
	since(&g.busy, s.At, load > high || behind)
	since(&g.spare, s.At, load < fits && !behind)
	since(&g.quiet, s.At, !g.state.Refusing && g.rung > 0 && !behind &&
		load*relative(g.rungs[max(0, g.rung-1)])/relative(g.state.Complexity) < fits)
	switch {
	case lasted(g.busy, s.At, downAfter) && s.At.Sub(g.state.Since) >= settle:
		return g.down(s, load)
	case g.state.Refusing && lasted(g.spare, s.At, openAfter):
		g.state.Refusing = false
		g.stepped(s, &g.state.Up)
		return "new calls are taken again"
	case lasted(g.quiet, s.At, upAfter):
		g.rung--
		g.stepped(s, &g.state.Up)
		return fmt.Sprintf("encoding at complexity %d again", g.state.Complexity)
	}
	return ""
}

// down takes the first step at which the load fits, or the last one there is.
func (g *Guard) down(s Sample, load float64) string {
	if last := len(g.rungs) - 1; g.rung < last {
		from := relative(g.state.Complexity)
		for g.rung++; g.rung < last && load*relative(g.rungs[g.rung])/from > fits; {
			g.rung++
		}
		g.stepped(s, &g.state.Down)
		return fmt.Sprintf("encoding at complexity %d: there is much to do", g.state.Complexity)
	}
	if g.state.Refusing || load <= hurry && s.Late <= maxLate {
		return ""
	}
	g.state.Refusing = true
	g.stepped(s, &g.state.Down)
	return "no new calls: what is live needs the whole machine"
}

// stepped notes a step. What a call costs is from now on another.
func (g *Guard) stepped(s Sample, counter *uint64) {
	*counter++
	g.cost *= relative(g.rungs[g.rung]) / relative(g.state.Complexity)
	g.state.Complexity = g.rungs[g.rung]
	g.state.Since = s.At
	g.busy, g.quiet, g.spare = time.Time{}, time.Time{}, time.Time{}
}

// since keeps the time since when something holds.
func since(t *time.Time, now time.Time, holds bool) {
	switch {
	case !holds:
		*t = time.Time{}
	case t.IsZero():
		*t = now
	}
}

func lasted(t, now time.Time, d time.Duration) bool { return !t.IsZero() && now.Sub(t) >= d }
