package journal

import (
	"encoding/binary"
	"sync"
	"time"
)

// Stream takes the packets of one recording, in order, and cuts them into
// segments of a fixed number of packets.
type Stream struct {
	journal *Journal
	id      [16]byte
	per     uint32 // packets in a segment, pre-roll not counted

	mu      sync.Mutex
	next    uint32   // number of the next packet
	open    *chunk   // the last of chunks when it may still grow, else nil
	chunks  []*chunk // not yet taken by a commit
	unacked int      // packets written and not durable, pre-roll included
	bytes   int
	oldest  []time.Time // of the chunks not durable, in order
	tail    [][]byte    // the last PreRoll packets, without a hole
	missed  uint64      // packets left out because too many waited
	durable uint32      // packets up to which all that was taken is on disk
	closed  bool
}

// Range is packets From to To, To not included.
type Range struct{ From, To int }

// chunk is a run of packets of one segment. One without packets only says that
// its segment is whole.
type chunk struct {
	stream  *Stream
	segment Segment
	first   uint32
	count   int
	last    bool // the segment ends with it
	buf     []byte
}

// Stream begins a stream for a recording with perSegment packets a segment.
func (j *Journal) Stream(id [16]byte, perSegment int) *Stream {
	s := &Stream{journal: j, id: id, per: uint32(perSegment)}
	j.mu.Lock()
	j.streams[s] = struct{}{}
	j.mu.Unlock()
	return s
}

// Write takes the next packets, 20 ms each. It copies them and returns at once.
// After Close it does nothing.
func (s *Stream) Write(packets [][]byte) {
	defer s.journal.stir()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	for _, p := range packets {
		if s.unacked >= MaxWait {
			s.miss()
		} else {
			s.add(p)
		}
		s.next++
		if s.next%s.per == 0 {
			s.cut()
		}
	}
}

// Close ends the stream and returns how many packets were written to it, those
// included that were lost because the disk did not take them in time: Read has
// a hole there.
func (s *Stream) Close() (packets int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return int(s.next)
}

// miss leaves the next packet out.
func (s *Stream) miss() {
	s.missed++
	s.tail, s.open = nil, nil
}

func (s *Stream) add(p []byte) {
	if s.open == nil {
		s.open = s.chunk(s.next)
		if s.next%s.per == 0 { // a new segment: repeat the end of the one before
			s.open.first -= uint32(len(s.tail))
			for _, old := range s.tail {
				s.put(old)
			}
		}
	}
	p = s.put(p)
	if len(s.tail) == PreRoll {
		s.tail = append(s.tail[:0], s.tail[1:]...)
	}
	s.tail = append(s.tail, p)
	if len(s.open.buf) >= enough {
		s.open = nil
	}
}

// put appends a packet to the open chunk and returns the copy.
func (s *Stream) put(p []byte) []byte {
	c := s.open
	before := len(c.buf)
	c.buf = binary.AppendUvarint(c.buf, uint64(len(p)))
	at := len(c.buf)
	c.buf = append(c.buf, p...)
	c.count++
	s.unacked++
	s.bytes += len(c.buf) - before
	return c.buf[at:len(c.buf):len(c.buf)]
}

// cut marks the segment that has just become whole.
func (s *Stream) cut() {
	if s.open == nil {
		s.open = s.chunk(s.next - 1)
	}
	s.open.last = true
	s.open = nil
}

// usual is how many bytes a chunk has at most, unless the disk is away: what a
// sweep of 520 ms encodes at 36 kbit/s, and the lengths.
const usual = 2600

// enough is how large a chunk grows while the disk is away: growing further
// would copy it again and again.
const enough = 16 << 10

// chunk begins a chunk at packet n.
func (s *Stream) chunk(n uint32) *chunk {
	c := &chunk{stream: s, segment: Segment{s.id, n / s.per}, first: n, buf: make([]byte, 0, usual)}
	s.chunks = append(s.chunks, c)
	s.oldest = append(s.oldest, time.Now())
	return c
}

// take hands over the chunks; over says that the stream is closed and empty.
func (s *Stream) take() (chunks []*chunk, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	chunks, s.chunks, s.open = s.chunks, nil, nil
	return chunks, s.closed && len(chunks) == 0 && len(s.oldest) == 0
}

// acknowledge is called when c is durable; chunks become so in order.
func (s *Stream) acknowledge(c *chunk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unacked -= c.count
	s.bytes -= len(c.buf)
	s.oldest = s.oldest[:copy(s.oldest, s.oldest[1:])]
	s.durable = max(s.durable, c.first+uint32(c.count))
}

// Durable is how long the audio is, what was left out included, up to which all
// is on disk.
func (s *Stream) Durable() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.durable) * 20 * time.Millisecond
}

func (s *Stream) pending() (bytes int, missed uint64, oldest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.oldest) > 0 {
		oldest = s.oldest[0]
	}
	return s.bytes, s.missed, oldest
}
