package interop_test

import (
	"math"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"siprecd/siprec/siprectest/audio"
)

// source is the sender of one media line: a tone in RTP from its own port.
type source struct {
	t      *testing.T
	conn   *net.UDPConn
	port   int
	hz     float64
	pt     byte
	ssrc   uint32
	seq    uint16
	ts     uint32
	rate   int // of the samples that encode gets
	clock  int // of the time stamps
	ptime  time.Duration
	encode func([]int16) []byte
	wrap   func([]byte) []byte // encrypts; nil: plain
	phase  int
	muted  bool // time goes on, nothing is sent
	drop   func(n int) bool
	n      int           // packets made
	next   time.Time     // when the next one is due
	stall  time.Duration // the longest time for which the machine held it up
	to     netip.AddrPort

	mu   sync.Mutex
	back [][]byte // what came to this port
}

// newSource is the sender of media line n.
func newSource(t *testing.T, n int) *source {
	t.Helper()
	s := &source{
		t: t, hz: toneHz(n), ssrc: 0x5000 + uint32(n),
		seq: uint16(1000 * n), ts: uint32(5000 * n), rate: 8000, clock: 8000, ptime: 20 * time.Millisecond,
		encode: muLaw,
	}
	s.rebind(func(int) bool { return true })
	return s
}

// rebind gives the source another port, one that fits.
func (s *source) rebind(fits func(port int) bool) {
	s.t.Helper()
	for {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			s.t.Fatal(err)
		}
		port := conn.LocalAddr().(*net.UDPAddr).Port
		if fits(port) {
			s.conn, s.port = conn, port
			break
		}
		_ = conn.Close()
	}
	conn, done := s.conn, make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.back = append(s.back, append([]byte(nil), buf[:n]...))
			s.mu.Unlock()
		}
	}()
	s.t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
}

func muLaw(pcm []int16) []byte { return each(pcm, audio.EncodeMuLaw) }
func aLaw(pcm []int16) []byte  { return each(pcm, audio.EncodeALaw) }

func each(pcm []int16, f func(int16) byte) []byte {
	out := make([]byte, len(pcm))
	for i, v := range pcm {
		out[i] = f(v)
	}
	return out
}

// codec changes what a source sends.
func (s *source) codec(pt byte, encode func([]int16) []byte) {
	s.pt, s.encode = pt, encode
}

// samples are the next n of the tone.
func (s *source) samples(n int) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(4000 * math.Sin(2*math.Pi*s.hz*float64(s.phase)/float64(s.rate)))
		s.phase++
	}
	return pcm
}

// packet makes the next packet, and counts time on.
func (s *source) packet() []byte {
	stamps, samples := s.step()
	b := rtpHeader(s.pt, s.seq, s.ts, s.ssrc)
	b = append(b, s.encode(s.samples(samples))...)
	s.seq++
	s.ts += stamps
	s.n++
	if s.wrap != nil {
		b = s.wrap(b)
	}
	return b
}

func rtpHeader(pt byte, seq uint16, ts, ssrc uint32) []byte {
	return []byte{0x80, pt, byte(seq >> 8), byte(seq), byte(ts >> 24), byte(ts >> 16), byte(ts >> 8), byte(ts),
		byte(ssrc >> 24), byte(ssrc >> 16), byte(ssrc >> 8), byte(ssrc)}
}

// write sends bytes to where the media goes, if anywhere.
func (s *source) write(b []byte) {
	if s.to.IsValid() && s.to.Port() != 0 {
		_, _ = s.conn.WriteToUDPAddrPort(b, s.to) // a closed port is the recorder's affair
	}
}

// received are the packets that came back.
func (s *source) received() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]byte(nil), s.back...)
}

// step is one packet's worth of time: stamps, and samples.
func (s *source) step() (stamps uint32, samples int) {
	return uint32(s.ptime * time.Duration(s.clock) / time.Second), int(s.ptime * time.Duration(s.rate) / time.Second)
}

// catchUp lets the stamps go on over the time in which nothing was sent, as
// those of a client do whose party is silent.
func (s *source) catchUp(now time.Time) {
	if s.next.IsZero() {
		s.next = now
	}
	s.stall = max(s.stall, now.Sub(s.next))
	stamps, samples := s.step()
	for now.Sub(s.next) >= s.ptime {
		s.ts += stamps
		s.phase += samples
		s.next = s.next.Add(s.ptime)
	}
}

// play sends the tones of all sources for a time, in real time. A sender that
// the machine has held up makes good for it, as a client's hardware would. What
// it sends then may come too late to be heard, so it goes on for longer.
func play(d time.Duration, sources ...*source) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	now := time.Now()
	end := now.Add(d)
	for _, s := range sources {
		if s != nil {
			s.catchUp(now)
		}
	}
	for last, more := now, true; more; last, now = now, time.Now() {
		if held := now.Sub(last); held > 100*time.Millisecond {
			end = end.Add(held)
			stalled(held, sources)
		}
		more = now.Before(end)
		for _, s := range sources {
			for s != nil && !s.next.After(now) && s.next.Before(end) {
				s.emit()
			}
		}
		if more {
			<-tick.C
		}
	}
}

// stalled notes that the machine held the sources up.
func stalled(d time.Duration, sources []*source) {
	for _, s := range sources {
		if s != nil {
			s.stall = max(s.stall, d)
		}
	}
}

// steady places a call that speak has something to say in, and another one when
// the machine held its sources up: a recorder is right to be silent for what
// came too late.
func (r *rig) steady(speak func(*dialog)) (*dialog, kept) {
	r.t.Helper()
	for try := 1; ; try++ {
		d, _ := r.basic()
		speak(d)
		d.bye()
		late := max(d.sources[0].stall, d.sources[1].stall)
		if k := r.finished(try)[try-1]; late < 150*time.Millisecond || try == 3 {
			return d, k
		}
		r.t.Logf("the sources were held up for %v", late)
	}
}

// emit makes the next packet, and sends it unless it is to be lost.
func (s *source) emit() {
	n := s.n
	b := s.packet()
	s.next = s.next.Add(s.ptime)
	if !s.muted && (s.drop == nil || !s.drop(n)) {
		s.write(b)
	}
}
