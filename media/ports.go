package media

import (
	"math/rand/v2"
	"sync"
)

// ports hands out the even ports of a range: first in random order, so that
// they cannot be guessed, then the one that has rested longest.
type ports struct {
	mu    sync.Mutex
	free  []int
	total int
}

// evenPorts counts the even ports from lo to hi.
func evenPorts(lo, hi int) int { return hi/2 - (lo+1)/2 + 1 }

func newPorts(lo, hi int) *ports {
	p := &ports{}
	for n := lo + lo%2; n <= hi; n += 2 {
		p.free = append(p.free, n)
	}
	p.total = len(p.free)
	rand.Shuffle(len(p.free), func(i, j int) { p.free[i], p.free[j] = p.free[j], p.free[i] })
	return p
}

func (p *ports) take() (int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return 0, false
	}
	n := p.free[0]
	p.free = p.free[1:]
	return n, true
}

func (p *ports) give(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, n)
}

func (p *ports) count() (used, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total - len(p.free), p.total
}
