package siprectest

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	rtpHeader  = 12
	maxPayload = sampleRate * 60 / 1000
)

// packet is one RTP packet in a buffer of its own.
type packet struct {
	n int
	b [rtpHeader + maxPayload]byte
}

// stream sends the RTP of one leg (RFC 3550, RFC 3551). All but its constants
// is guarded by the pacer's mutex.
type stream struct {
	source
	leg     Leg
	conn    *net.UDPConn
	samples int           // in a packet
	period  float64       // ns between packets, by the leg's own clock
	offset  time.Duration // first packet after zero
	total   int           // samples from zero to the end; 0: until stopped

	zero  time.Duration // on the pacer's clock
	to    netip.AddrPort
	on    bool
	ended bool
	over  chan struct{} // closed when ended
	once  sync.Once

	sent, pos int // packets stepped over; samples from zero to the next packet
	seq       uint16
	shift     uint32 // added to pos for the timestamp
	ssrc      uint32
	marker    bool
	jumps     []Jump
	rng       *rand.Rand
	pkt       packet
	held      packet // kept back to be sent after the next
	stats     LegReport
}

// newStream prepares leg i of a call. The random source depends on the seed,
// the call's number and the leg's place, and on nothing else.
func newStream(p *plan, call, i int, conn *net.UDPConn) *stream {
	leg := p.Legs[i]
	ms := int(p.Ptime / time.Millisecond)
	s := &stream{
		source: p.sources[i], leg: leg, conn: conn,
		samples: ms * sampleRate / 1000,
		period:  float64(p.Ptime) / (1 + leg.SkewPPM/1e6),
		offset:  leg.Start,
		total:   samplesIn(p.media),
		over:    make(chan struct{}),
		ssrc:    leg.SSRC, marker: true, jumps: leg.Jumps,
		rng:   rand.New(rand.NewPCG(p.Seed, uint64(call)<<16|uint64(i))),
		stats: LegReport{Label: leg.Label},
	}
	if s.ssrc == 0 {
		s.ssrc = random32()
	}
	s.seq, s.shift = uint16(random32()), random32()
	s.pos = samplesIn(leg.Start)
	s.stats.SSRC, s.stats.FirstSequence = s.ssrc, s.seq
	s.stats.FirstTimestamp = s.shift + uint32(s.pos)
	return s
}

// due is when the next packet is to leave, on the pacer's clock.
func (s *stream) due() time.Duration {
	return s.zero + s.offset + time.Duration(float64(s.sent)*s.period)
}

// at is the next packet's place in the call, by the leg's own clock.
func (s *stream) at() time.Duration { return time.Duration(s.pos) * time.Second / sampleRate }

// finish flushes what is held back and says that the stream is over.
func (s *stream) finish() {
	s.once.Do(func() {
		s.ended = true
		s.flush()
		close(s.over)
	})
}

// step sends the next packet, or not, and moves on.
func (s *stream) step() {
	if s.total > 0 && s.pos >= s.total {
		s.ended = true
		return
	}
	at := s.at()
	s.jump(at)
	// Always the same number of draws, so that one rate does not change the
	// packets which another picks.
	lose, double, swap := s.rng.Float64() < s.leg.Loss, s.rng.Float64() < s.leg.Duplicate, s.rng.Float64() < s.leg.Reorder
	switch {
	case !s.on || !s.to.IsValid() || inSpans(s.leg.Gaps, at):
		s.stats.Skipped++
		s.marker = true // the next one begins a talkspurt (RFC 3551 4.1)
	case s.event(at):
	default:
		s.audio(at)
		s.dispatch(lose, double, swap)
	}
	s.sent++
	s.pos += s.samples
}

// jump applies the jumps whose time has come.
func (s *stream) jump(at time.Duration) {
	for len(s.jumps) > 0 && s.jumps[0].At <= at {
		j := s.jumps[0]
		s.jumps = s.jumps[1:]
		s.shift += uint32(j.Timestamp)
		s.seq += uint16(j.Sequence)
		if j.SSRC != 0 {
			s.ssrc = j.SSRC
		}
	}
}

// audio writes the packet for the audio at s.pos.
func (s *stream) audio(at time.Duration) {
	pt := s.pt
	for _, f := range s.leg.Foreign {
		if at >= f.From && at < f.To {
			pt = f.PayloadType
			s.stats.Foreign++
		}
	}
	s.header(pt, s.shift+uint32(s.pos))
	s.fill(s.pkt.b[rtpHeader : rtpHeader+s.samples])
	s.pkt.n = rtpHeader + s.samples
}

// header writes the 12 bytes of RFC 3550 5.1 and takes the next number.
func (s *stream) header(pt uint8, timestamp uint32) {
	b := s.pkt.b[:rtpHeader]
	b[0], b[1] = 0x80, pt&0x7f
	if s.marker {
		b[1] |= 0x80
		s.marker = false
	}
	binary.BigEndian.PutUint16(b[2:], s.seq)
	binary.BigEndian.PutUint32(b[4:], timestamp)
	binary.BigEndian.PutUint32(b[8:], s.ssrc)
	s.seq++
}

// fill copies the audio from s.pos on. The audio begins with the leg, so a
// late leg is not a leg that lost its beginning.
func (s *stream) fill(dst []byte) {
	from := s.pos - samplesIn(s.leg.Start)
	for len(dst) > 0 {
		if s.loop {
			from %= len(s.payload)
		}
		if from >= len(s.payload) {
			for i := range dst {
				dst[i] = s.silence
			}
			return
		}
		n := copy(dst, s.payload[from:])
		dst, from = dst[n:], from+n
	}
}

// dispatch sends the packet just written with what goes wrong on purpose.
func (s *stream) dispatch(lose, double, swap bool) {
	switch {
	case lose:
		s.stats.Dropped++
		return
	case swap && s.held.n == 0:
		s.stats.Reordered++
		s.held = s.pkt
		return
	}
	s.write(&s.pkt)
	if double {
		s.stats.Duplicated++
		s.write(&s.pkt)
	}
	s.flush()
}

// flush sends the packet that was kept back.
func (s *stream) flush() {
	if s.held.n > 0 {
		s.write(&s.held)
		s.held.n = 0
	}
}

// write sends one packet. Loopback and a LAN refuse packets when nobody
// listens; that is the recorder's state, counted and not fatal.
func (s *stream) write(p *packet) {
	if _, err := s.conn.WriteToUDPAddrPort(p.b[:p.n], s.to); err != nil {
		s.stats.Failed++
		return
	}
	s.stats.Sent++
}

func inSpans(spans []Span, at time.Duration) bool {
	for _, g := range spans {
		if at >= g.From && at < g.To {
			return true
		}
	}
	return false
}
