// Package flood keeps one source, or many together, from taking what live
// calls need: it decides on each request before anything is made for it.
//
//	new INVITE ─► known already? ─► its source's bucket ─► its source's half-open ─► all others' ─► in
//	                  │in              │503                   │503                     │503
//	anything else of no dialog of ours ─► its source's second bucket ─► in, or 503
//
// A call is half-open from its INVITE until its ACK or its refusal. A flood
// that sends no ACK, for its sources are forged, so holds a bounded number of
// calls; one that sends them is bounded by the bucket. A source whose ACK
// fitted a dialog of ours has shown that it gets our answers: it is not forged,
// and what the others do no longer concerns it.
//
// Promises: a copy of an INVITE that was let in is let in; what belongs to a
// dialog that is up is never asked about; with the defaults 50 new calls a
// second, for ever, from one source are never refused, nor 300 at once
// from one that has shown itself (75 from one that has not); memory
// is bounded whatever comes.
//
// Caveat: load is another matter. What a machine can record is not judged here.
package flood

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// Limits of one source. Zero values mean the defaults.
type Limits struct {
	Rate    int // new calls a second, for ever; 100
	Burst   int // new calls at once, when it has been quiet; 400
	Pending int // calls not yet acknowledged, a quarter of it until one has been; 300
}

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.Rate, 100)
	def(&l.Burst, 400)
	def(&l.Pending, 300)
	return l
}

// halfOpen is how many calls of a source may be half-open, or of all together
// that have not shown themselves.
func (l Limits) halfOpen(proven bool) int {
	if proven {
		return l.Pending
	}
	return max(1, l.Pending/4)
}

// What follows from the limits of one source, and what bounds memory.
const (
	all        = 2                // all sources that have not shown themselves together: so many times one
	others     = 5                // requests other than INVITE: so many times as many
	remembered = 40 * time.Second // an INVITE: longer than its transaction may last (RFC 3261, 64*T1)
	maxCalls   = 1 << 15
	maxSources = 4096
)

// Call names an INVITE outside of a dialog: one of these is one attempt.
type Call struct {
	CallID, FromTag string
	CSeq            uint32
}

// Gate decides. Its methods are safe for parallel use.
type Gate struct {
	limits Limits
	seed   maphash.Seed

	mu       sync.Mutex
	sources  map[netip.Addr]*source
	calls    map[uint64]*attempt
	order    []*attempt // oldest first
	pending  int        // of sources that have not shown themselves
	unproven bucket     // their new calls
}

// source is what is remembered of one address.
type source struct {
	calls, others bucket
	pending       int
	proven        bool
	heard         time.Time
}

// attempt is an INVITE that was let in.
type attempt struct {
	key    uint64
	at     time.Time
	from   *source
	open   bool // neither acknowledged nor refused
	proven bool // its source was, then
}

// New makes a gate that nothing has passed.
func New(l Limits) *Gate {
	return &Gate{limits: l.withDefaults(), seed: maphash.MakeSeed(),
		sources: make(map[netip.Addr]*source), calls: make(map[uint64]*attempt)}
}

// Invite says whether an INVITE that is outside of a dialog may come in.
func (g *Gate) Invite(from netip.Addr, c Call, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget(now)
	key := maphash.Comparable(g.seed, c)
	if g.calls[key] != nil {
		return true
	}
	s, l := g.source(from, now), g.limits
	if s.pending >= l.halfOpen(s.proven) || !s.calls.take(now, l.Rate, l.Burst) {
		return false
	}
	if !s.proven && (g.pending >= all*l.halfOpen(false) || !g.unproven.take(now, all*l.Rate, all*l.Burst)) {
		s.calls.level++ // it did not come in
		return false
	}
	if len(g.order) >= maxCalls {
		g.drop()
	}
	a := &attempt{key: key, at: now, from: s, open: true, proven: s.proven}
	g.calls[key], g.order = a, append(g.order, a)
	s.pending++
	if !a.proven {
		g.pending++
	}
	return true
}

// Other says whether a request may come in that is no INVITE and belongs to no
// dialog of ours.
func (g *Gate) Other(from netip.Addr, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.source(from, now).others.take(now, others*g.limits.Rate, others*g.limits.Burst)
}

// Acknowledged notes the ACK of a call, which fitted a dialog of ours.
func (g *Gate) Acknowledged(from netip.Addr, c Call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.sources[plain(from)]; s != nil {
		s.proven = true
	}
	g.settle(g.calls[maphash.Comparable(g.seed, c)])
}

// Refused notes that an INVITE was answered with a refusal.
func (g *Gate) Refused(c Call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settle(g.calls[maphash.Comparable(g.seed, c)])
}

// Pending is how many calls are half-open.
func (g *Gate) Pending() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, s := range g.sources {
		n += s.pending
	}
	return n
}

// settle ends an attempt's time of being half-open. The caller holds mu, here
// and below.
func (g *Gate) settle(a *attempt) {
	if a == nil || !a.open {
		return
	}
	a.open = false
	a.from.pending--
	if !a.proven {
		g.pending--
	}
}

// forget drops the attempts that are too old to have copies on their way.
func (g *Gate) forget(now time.Time) {
	for len(g.order) > 0 && now.Sub(g.order[0].at) > remembered {
		g.drop()
	}
}

// drop forgets the oldest attempt.
func (g *Gate) drop() {
	a := g.order[0]
	g.order[0], g.order = nil, g.order[1:]
	g.settle(a)
	delete(g.calls, a.key)
}

// source finds or makes what is remembered of an address. When there are too
// many, those that were not heard for long are forgotten, and if there are
// none, all that have not shown themselves.
func (g *Gate) source(a netip.Addr, now time.Time) *source {
	a = plain(a)
	if s := g.sources[a]; s != nil {
		s.heard = now
		return s
	}
	if len(g.sources) >= maxSources {
		g.thin(func(s *source) bool { return now.Sub(s.heard) > remembered })
	}
	if len(g.sources) >= maxSources {
		g.thin(func(s *source) bool { return !s.proven })
	}
	if len(g.sources) >= maxSources {
		clear(g.sources)
	}
	s := &source{heard: now}
	g.sources[a] = s
	return s
}

func (g *Gate) thin(gone func(*source) bool) {
	for a, s := range g.sources {
		if gone(s) {
			delete(g.sources, a)
		}
	}
}

func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// bucket is a token bucket. The zero value is full.
type bucket struct {
	level float64 // tokens
	at    time.Time
}

// take takes a token, if there is one.
func (b *bucket) take(now time.Time, rate, burst int) bool {
	if b.at.IsZero() {
		b.level = float64(burst)
	} else {
		b.level = min(float64(burst), b.level+max(0, now.Sub(b.at).Seconds())*float64(rate))
	}
	b.at = now
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}
