package leg

import (
	"net/netip"
	"slices"

	"siprecd/media/payload"
)

// Limits of what one stream keeps in memory.
const (
	maxQueued = 256 // packets waiting to be decoded
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

// queue is the ring of packets that wait to be decoded, ordered by media
// position. Entries are used again, so that a running stream allocates
// nothing.
type queue struct {
	items []*entry
	free  []*entry
}

// take returns an entry to fill.
func (q *queue) take() *entry {
	if n := len(q.free); n > 0 {
		e := q.free[n-1]
		q.free = q.free[:n-1]
		return e
	}
	return &entry{}
}

// give takes back an entry that is no longer needed.
func (q *queue) give(e *entry) { q.free = append(q.free, e) }

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
