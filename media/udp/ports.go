package udp

import (
	"math/rand/v2"
	"sync"
)

// Ports hands out the even ports of a range: first in random order, so that
// they cannot be guessed, then the one that has rested longest.
type Ports struct {
	mu    sync.Mutex
	free  []int
	total int
}

// Even counts the even ports from lo to hi.
func Even(lo, hi int) int { return hi/2 - (lo+1)/2 + 1 }

// NewPorts takes a range, first and last port.
func NewPorts(lo, hi int) *Ports {
	p := &Ports{}
	for n := lo + lo%2; n <= hi; n += 2 {
		p.free = append(p.free, n)
	}
	p.total = len(p.free)
	rand.Shuffle(len(p.free), func(i, j int) { p.free[i], p.free[j] = p.free[j], p.free[i] })
	return p
}

// Take hands out a port; false if none is free.
func (p *Ports) Take() (int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return 0, false
	}
	n := p.free[0]
	p.free = p.free[1:]
	return n, true
}

// Give puts a port back, to the end of the queue.
func (p *Ports) Give(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, n)
}

// Count says how many ports are out, and how many there are.
func (p *Ports) Count() (used, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total - len(p.free), p.total
}
