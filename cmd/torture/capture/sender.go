package capture

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"siprecd/siprec/siprectest/audio"
)

// packet is one datagram and when it leaves, from the stream's start.
type packet struct {
	at  time.Duration
	raw []byte
}

// shape says what a stream of G.711 looks like and what befalls it. Fractions
// are of the packets; the first and last guard packets are spared, for nobody
// can know of a packet that is missing outside of what came.
type shape struct {
	pcm      []int16 // 8 kHz
	ptime    time.Duration
	seed     uint64
	loss     float64
	double   float64
	late     float64 // by lateBy
	swap     float64 // a packet is up to swapBy packets late
	swapBy   int
	jitter   time.Duration // each packet is up to so late
	bursts   int           // losses come in runs of so many; 0: single ones
	sequence uint16
	stamp    uint32
	ssrc     uint32
	turns    []turn // changes in mid-stream, in their order
}

// turn is a change in mid-stream, from the sample on.
type turn struct {
	from     int
	ssrc     uint32 // 0: as before
	mulaw    bool
	ptime    time.Duration // 0: as before
	sequence int
	stamp    int64
}

// fate is what was planned for a stream.
type fate struct {
	packets []packet // in the order in which they leave
	made    int      // different packets of the whole stream
	lost    int
	late    int // are sent, but so late that their place is long encoded
	double  int
}

const (
	guard   = 25
	lateBy  = 2 * time.Second
	apart   = 500 * time.Microsecond // between a packet and its double
	typeULw = 0
	typeALw = 8
)

// plan works out every packet of a stream. It is pure: the same shape gives the
// same fate.
func (s shape) plan() fate {
	var f fate
	rng := rand.New(rand.NewPCG(s.seed, 1))
	cur := turn{ptime: s.ptime, ssrc: s.ssrc}
	seq, stamp, turns, run := s.sequence, s.stamp, s.turns, 0
	n := len(s.pcm) / audio.Samples(s.ptime) // about; exact without turns
	for pos := 0; ; f.made++ {
		for len(turns) > 0 && turns[0].from <= pos {
			cur = cur.next(turns[0])
			seq, stamp = seq+uint16(turns[0].sequence), stamp+uint32(turns[0].stamp)
			turns = turns[1:]
		}
		size := audio.Samples(cur.ptime)
		if pos+size > len(s.pcm) {
			break
		}
		p := packet{
			at:  time.Duration(pos) * time.Second / audio.SampleRate,
			raw: rtp(cur, seq, stamp+uint32(pos), s.pcm[pos:pos+size]),
		}
		spared := f.made < guard || f.made >= n-guard
		run = f.befall(s, rng, p, spared, run)
		pos += size
		seq++
	}
	slices.SortStableFunc(f.packets, func(a, b packet) int { return int(a.at - b.at) })
	return f
}

// befall decides what becomes of one packet. The same number of draws is made
// for each. run is how many more of a burst are to be lost.
func (f *fate) befall(s shape, rng *rand.Rand, p packet, spared bool, run int) int {
	lose, double, late, swap := rng.Float64() < s.loss, rng.Float64() < s.double, rng.Float64() < s.late, rng.Float64() < s.swap
	shake, places := rng.Float64(), rng.IntN(max(s.swapBy, 1))
	switch {
	case spared:
	case run > 0 || lose:
		f.lost++
		if run == 0 {
			run = s.bursts
		}
		return max(run-1, 0)
	case late:
		f.late++
		p.at += lateBy
	case swap:
		p.at += time.Duration(places+1)*s.ptime + s.ptime/2
	default:
		p.at += time.Duration(shake * float64(s.jitter))
	}
	f.packets = append(f.packets, p)
	if double && !spared && !late {
		f.double++
		f.packets = append(f.packets, packet{p.at + apart, p.raw})
	}
	return 0
}

func (t turn) next(n turn) turn {
	if n.ssrc != 0 {
		t.ssrc = n.ssrc
	}
	if n.ptime != 0 {
		t.ptime = n.ptime
	}
	t.mulaw = n.mulaw
	return t
}

// rtp writes one packet (RFC 3550 5.1).
func rtp(t turn, seq uint16, stamp uint32, pcm []int16) []byte {
	b := make([]byte, 12, 12+len(pcm))
	b[0], b[1] = 0x80, typeALw
	encode := audio.EncodeALaw
	if t.mulaw {
		b[1], encode = typeULw, audio.EncodeMuLaw
	}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], stamp)
	binary.BigEndian.PutUint32(b[8:], t.ssrc)
	for _, v := range pcm {
		b = append(b, encode(v))
	}
	return b
}

// play sends the streams of one call at their time, counted from now.
func play(ctx context.Context, streams []fate, send func(leg int, raw []byte) error) error {
	began := time.Now()
	next := make([]int, len(streams))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		leg := -1
		for i, f := range streams {
			if next[i] < len(f.packets) && (leg < 0 || f.packets[next[i]].at < streams[leg].packets[next[leg]].at) {
				leg = i
			}
		}
		if leg < 0 {
			return nil
		}
		p := streams[leg].packets[next[leg]]
		next[leg]++
		if wait := p.at - time.Since(began); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if err := send(leg, p.raw); err != nil {
			return err
		}
	}
}
