package rtpsend

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

const (
	rtpHeader = 12
	maxPtime  = 60 * time.Millisecond
	maxTag    = 64 // what encryption adds: a tag and a master key identifier
)

// packet is one RTP packet in a buffer of its own.
type packet struct {
	n int
	b [rtpHeader + int(SampleRate*maxPtime/time.Second) + maxTag]byte
}

// Stream sends the RTP of one leg (RFC 3550, RFC 3551). It belongs to one
// pacer, whose mutex guards everything below the blank line.
type Stream struct {
	pacer   *Pacer
	c       Config
	conn    *net.UDPConn
	outlet  *outlet // of conn, when it is shared
	samples int     // in a packet
	total   int     // samples from zero to the end; 0: until stopped
	over    chan struct{}

	zero         time.Duration // of the media, on the pacer's clock
	to           netip.AddrPort
	on           bool
	protect      Protect // nil: packets are sent plain
	copy         func([]byte)
	ended, ready bool // no more packets; over is closed
	sent, pos    int  // packets stepped over; samples from zero to the next
	marker       bool
	rng          *rand.Rand
	pkt          packet
	held         packet // kept back to be sent after the next
	stats        Stats
}

// NewStream opens a stream's socket. It sends once it is started and aimed.
// Ptime is whole milliseconds up to 60.
func (p *Pacer) NewStream(c Config, from Socket) (*Stream, error) {
	if c.Ptime < time.Millisecond || c.Ptime > maxPtime {
		return nil, fmt.Errorf("ptime %v: want 1 to 60 ms", c.Ptime)
	}
	s := &Stream{
		pacer: p, c: c,
		samples: samples(c.Ptime), total: samples(c.End), pos: samples(c.Start),
		over: make(chan struct{}), marker: true,
		rng: rand.New(rand.NewPCG(c.Seed[0], c.Seed[1])),
	}
	s.stats = Stats{Label: c.Label, SSRC: c.SSRC, FirstSequence: c.Sequence, FirstTimestamp: c.Timestamp + uint32(s.pos)}
	var err error
	if from.Shared {
		if s.outlet, err = p.shared(from.Addr, from.Number); err != nil {
			return nil, err
		}
		s.conn = s.outlet.conn
		return s, nil
	}
	s.conn, err = listen(from.Addr)
	return s, err
}

// samples is the number of samples in d.
func samples(d time.Duration) int { return int(d * SampleRate / time.Second) }

// Port is the port that the stream is sent from.
func (s *Stream) Port() uint16 { return uint16(s.conn.LocalAddr().(*net.UDPAddr).Port) }

// Aim makes the stream send to an address; an invalid one silences it, while
// its time goes on.
func (s *Stream) Aim(to netip.AddrPort) {
	s.pacer.mu.Lock()
	defer s.pacer.mu.Unlock()
	s.on = to.IsValid()
	if s.on {
		s.to = to
	}
}

// Protect encrypts a packet of n bytes in a buffer with room for 64 more, and
// returns its new length.
type Protect func(packet []byte, n int) int

// Secure encrypts what the stream sends from now on; nil sends it plain. f is
// called by one goroutine at a time.
func (s *Stream) Secure(f Protect) {
	s.pacer.mu.Lock()
	defer s.pacer.mu.Unlock()
	s.protect = f
}

// Copy has f see every packet that is sent, as it is on the wire. It is called
// by one goroutine at a time and must not keep the bytes; nil ends it.
func (s *Stream) Copy(f func(packet []byte)) {
	s.pacer.mu.Lock()
	defer s.pacer.mu.Unlock()
	s.copy = f
}

// Conn is the stream's socket, for a handshake: the stream reads nothing from
// it. It must not be closed.
func (s *Stream) Conn() *net.UDPConn { return s.conn }

// seal encrypts the packet just written.
func (s *Stream) seal() {
	if s.protect != nil {
		s.pkt.n = s.protect(s.pkt.b[:], s.pkt.n)
	}
}

// Done is closed when the stream has come to its end or has been halted.
func (s *Stream) Done() <-chan struct{} { return s.over }

// Stats is what has been sent so far.
func (s *Stream) Stats() Stats {
	s.pacer.mu.Lock()
	defer s.pacer.mu.Unlock()
	return s.stats
}

// Send sends bytes as they are to where the stream was last aimed.
func (s *Stream) Send(b []byte) error {
	s.pacer.mu.Lock()
	to := s.to
	s.pacer.mu.Unlock()
	_, err := s.conn.WriteToUDPAddrPort(b, to)
	return err
}

// Halt ends the stream and closes its socket, unless that is shared.
func (s *Stream) Halt() {
	s.pacer.mu.Lock()
	defer s.pacer.mu.Unlock()
	s.finish()
	if s.outlet == nil {
		_ = s.conn.Close() // nothing is buffered in a UDP socket of ours
	}
}

// finish sends what was kept back and says that the stream is over.
func (s *Stream) finish() {
	s.ended = true
	s.flush()
	if !s.ready {
		s.ready = true
		close(s.over)
	}
}

// due is when the next packet is to leave, on the pacer's clock.
func (s *Stream) due() time.Duration {
	period := float64(s.c.Ptime) / (1 + s.c.SkewPPM/1e6)
	return s.zero + s.c.Start + time.Duration(float64(s.sent)*period)
}

// step sends the next packet, or not, and moves on.
func (s *Stream) step() {
	if s.total > 0 && s.pos >= s.total {
		s.ended = true
		return
	}
	at := time.Duration(s.pos) * time.Second / SampleRate
	s.jump(at)
	// Always the same number of draws, so that one rate does not change the
	// packets which another picks.
	lose, double, swap := s.rng.Float64() < s.c.Loss, s.rng.Float64() < s.c.Duplicate, s.rng.Float64() < s.c.Reorder
	switch {
	case !s.on || inSpans(s.c.Gaps, at):
		s.flush()
		s.stats.Skipped++
		s.marker = true // the next one begins a talkspurt (RFC 3551 4.1)
	case s.event(at):
	default:
		s.audio(at)
		s.seal()
		s.dispatch(lose, double, swap)
	}
	s.sent++
	s.pos += s.samples
}

// jump applies the jumps whose time has come.
func (s *Stream) jump(at time.Duration) {
	for len(s.c.Jumps) > 0 && s.c.Jumps[0].At <= at {
		j := s.c.Jumps[0]
		s.c.Jumps = s.c.Jumps[1:]
		s.c.Timestamp += uint32(j.Timestamp)
		s.c.Sequence += uint16(j.Sequence)
		if j.SSRC != 0 {
			s.c.SSRC = j.SSRC
		}
	}
}

// audio writes the packet for the audio at s.pos.
func (s *Stream) audio(at time.Duration) {
	pt := s.c.PayloadType
	for _, f := range s.c.Foreign {
		if at >= f.From && at < f.To {
			pt = f.PayloadType
			s.stats.Foreign++
		}
	}
	s.header(pt, s.c.Timestamp+uint32(s.pos))
	s.fill(s.pkt.b[rtpHeader : rtpHeader+s.samples])
	s.pkt.n = rtpHeader + s.samples
}

// header writes the 12 bytes of RFC 3550 5.1 and takes the next number.
func (s *Stream) header(pt uint8, timestamp uint32) {
	b := s.pkt.b[:rtpHeader]
	b[0], b[1] = 0x80, pt&0x7f
	if s.marker {
		b[1] |= 0x80
		s.marker = false
	}
	binary.BigEndian.PutUint16(b[2:], s.c.Sequence)
	binary.BigEndian.PutUint32(b[4:], timestamp)
	binary.BigEndian.PutUint32(b[8:], s.c.SSRC)
	s.c.Sequence++
}

// fill copies the audio from s.pos on. The audio begins with the stream, so a
// late stream is not one that lost its beginning.
func (s *Stream) fill(dst []byte) {
	from := s.pos - samples(s.c.Start)
	for len(dst) > 0 {
		if s.c.Loop && len(s.c.Payload) > 0 {
			from %= len(s.c.Payload)
		}
		if from >= len(s.c.Payload) {
			for i := range dst {
				dst[i] = s.c.Silence
			}
			return
		}
		n := copy(dst, s.c.Payload[from:])
		dst, from = dst[n:], from+n
	}
}

// dispatch sends the packet just written with what goes wrong on purpose.
func (s *Stream) dispatch(lose, double, swap bool) {
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
func (s *Stream) flush() {
	if s.held.n > 0 {
		s.write(&s.held)
		s.held.n = 0
	}
}

// write sends one packet. The system refuses some when nobody listens; that is
// the recorder's state, counted and not fatal.
func (s *Stream) write(p *packet) {
	if s.copy != nil {
		s.copy(p.b[:p.n])
	}
	if s.outlet != nil {
		s.outlet.add(p, s.to)
		s.stats.Sent++
		return
	}
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
