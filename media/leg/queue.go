package leg

import (
	"net/netip"
	"slices"

	"siprecd/media/payload"
)

// Limits of what one stream keeps in memory.
const (
	maxQueued = 512 // packets waiting to be decoded
	maxHeld   = 16  // packets whose meaning is not yet clear
)

// entry is a packet on its way from the socket to the decoder.
type entry struct {
	data    []byte
	from    netip.AddrPort
	arrival int64 // units since the call's start
	at      int64 // media position of the first sample
	n       int   // length in units of SampleRate; of an event: so far
	ts      uint32
	ssrc    uint32
	epoch   uint32 // which anchor it was placed by
	flow    uint32 // which sender it came from
	seq     uint16
	format  payload.Format
}

// Pool holds working memory, and the packets' buffers that are not in use, so that a running stream
// allocates nothing. The tracks of one goroutine share one: what one call has
// just been decoded from is warm in the cache for the next. The zero Pool is
// ready.
type Pool struct {
	free []*entry
	warp [(stretch + 1) * maxWide]int16 // of the track that is being read
}

// maxFree bounds a Pool: what a flood or a stall has filled is not kept.
const maxFree = 1024

func (p *Pool) take() *entry {
	if n := len(p.free); n > 0 {
		e := p.free[n-1]
		p.free[n-1] = nil
		p.free = p.free[:n-1]
		return e
	}
	return &entry{}
}

func (p *Pool) give(e *entry) {
	if len(p.free) < maxFree {
		p.free = append(p.free, e)
	}
}

// queue is the ring of packets that wait to be decoded, ordered by media
// position.
type queue struct {
	items []*entry
	pool  *Pool
}

// take returns an entry to fill.
func (q *queue) take() *entry { return q.pool.take() }

// give takes back an entry that is no longer needed.
func (q *queue) give(e *entry) { q.pool.give(e) }

func (e *entry) compare(o *entry) int {
	switch {
	case e.at < o.at:
		return -1
	case e.at > o.at:
		return 1
	case e.epoch != o.epoch:
		return int(int32(e.epoch - o.epoch))
	default:
		return int(int16(e.seq - o.seq))
	}
}

// insert puts a packet in its place; false if it is there already or the ring
// is full.
func (q *queue) insert(e *entry) bool {
	i := len(q.items)
	for i > 0 && q.items[i-1].compare(e) > 0 {
		i--
	}
	if i > 0 && q.items[i-1].same(e) || i < len(q.items) && q.items[i].same(e) || len(q.items) >= maxQueued {
		return false
	}
	q.items = slices.Insert(q.items, i, e)
	return true
}

// same says whether two packets are copies: both bring audio for one place, or
// both are something else with one sequence number.
func (e *entry) same(o *entry) bool {
	audio := e.format.Kind.Audio()
	return e.at == o.at && e.epoch == o.epoch && audio == o.format.Kind.Audio() && (audio || e.seq == o.seq)
}

// first is the earliest packet, nil if there is none.
func (q *queue) first() *entry {
	if len(q.items) == 0 {
		return nil
	}
	return q.items[0]
}

// pop drops the earliest packet.
func (q *queue) pop() {
	q.give(q.items[0])
	n := copy(q.items, q.items[1:])
	q.items[n] = nil
	q.items = q.items[:n]
}

// move shifts the packets of one epoch and restores the order.
func (q *queue) move(epoch uint32, by int64) {
	for _, e := range q.items {
		if e.epoch == epoch {
			e.at += by
		}
	}
	slices.SortStableFunc(q.items, (*entry).compare)
}

// End is the media position where the queued audio ends; 0 if there is none.
func (q *queue) end() (end int64) {
	for _, e := range q.items {
		if e.format.Kind.Audio() {
			end = max(end, e.at+int64(e.n))
		}
	}
	return end
}
