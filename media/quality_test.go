package media

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"siprecd/media/leg"
)

// keptSink keeps the packets.
type keptSink struct{ packets [][]byte }

func (s *keptSink) WritePackets(packets [][]byte) {
	for _, p := range packets {
		s.packets = append(s.packets, bytes.Clone(p))
	}
}

// A recording without loss is what the encoder makes of the decoded audio,
// byte by byte, whatever the codec and the packet times.
func TestNothingButTheCodec(t *testing.T) {
	voice := speech(t, 8000)
	voice16 := speech(t, 16000)
	law := encodeA(voice)
	lawPCM := fromLE(pipe(t, law, "ffmpeg", "-v", "error", "-f", "alaw", "-ar", "8000", "-i", "-", "-f", "s16le", "-"))
	g722 := ffmpeg(t, voice16, 16000, 1, "-c:a", "g722", "-f", "g722")
	g722PCM := fromLE(pipe(t, g722, "ffmpeg", "-v", "error", "-f", "g722", "-i", "-", "-f", "s16le", "-"))
	for _, c := range []struct {
		name  string
		codec Codec
		coded []byte
		pcm   []int16
		rate  int
	}{
		{"PCMA", Codec{Encoding: "PCMA", Clock: 8000, Channels: 1}, law, lawPCM, 8000},
		{"G722", Codec{Encoding: "G722", Clock: 8000, Channels: 1}, g722, g722PCM, 16000},
	} {
		sink := &keptSink{}
		k, err := newCore(CallConfig{Start: time.Unix(1e9, 0), Layout: Mono, Rate: 8000, Complexity: 5, Sink: sink}, DefaultDepth, DefaultBatch)
		if err != nil {
			t.Fatal(err)
		}
		cfg := mono()
		cfg.Codecs = map[uint8]Codec{96: c.codec}
		tr, s := k.add(cfg, leg.Place{}), newScratch(int(DefaultBatch/frameTime))
		sizes := []int{160, 80, 480, 240, 320}
		for pos, n := 0, 0; pos < len(c.coded); n++ {
			size := min(sizes[n/40%len(sizes)], len(c.coded)-pos)
			now := leg.Duration(int64(pos))
			tr.Push(rtpBytes(96, uint16(n), uint32(pos), 1, c.coded[pos:pos+size]), sbc, now)
			k.advance(now, s)
			pos += size
		}
		k.finish(10*time.Second, 10*time.Second, s)
		enc, err := newEncoder(c.rate, 1, defaultBitrate, 5)
		if err != nil {
			t.Fatal(err)
		}
		var buf [maxPacket]byte
		frame := c.rate / 50
		for i := range 495 {
			want, err := enc.encode(c.pcm[i*frame:][:frame], &buf)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want, sink.packets[i]) {
				t.Fatalf("%s: packet %d is not what the encoder makes", c.name, i)
			}
		}
	}
}

// With 5 % of the packets lost and 50 ms of jitter, from the first packet on,
// nothing that was received is heard more than 20 ms out of its place.
func TestLossAndJitterKeepPlaces(t *testing.T) {
	const seconds = 40
	tone := func(rate int) []int16 { // a burst at an odd time in each second
		out := make([]int16, seconds*rate)
		for i := range out {
			if x := math.Mod(float64(i)/float64(rate), 0.97); x < 0.015 {
				out[i] = int16(16000 * math.Sin(2*math.Pi*1200*x))
			}
		}
		return out
	}
	_, opusPackets := opusFile(t, tone(48000), 48000, 1, "-application", "lowdelay", "-b:a", "64k")
	for _, c := range []struct {
		codec    Codec
		payloads [][]byte
	}{
		{Codec{Encoding: "PCMU", Clock: 8000, Channels: 1}, cut(ffmpeg(t, tone(8000), 8000, 1, "-f", "mulaw"), 160)},
		{Codec{Encoding: "G722", Clock: 8000, Channels: 1}, cut(ffmpeg(t, tone(16000), 16000, 1, "-c:a", "g722", "-f", "g722"), 160)},
		{Codec{Encoding: "OPUS", Clock: 48000, Channels: 2}, opusPackets},
	} {
		for seed := range uint64(2) {
			t.Run(c.codec.Encoding+" "+strconv.Itoa(int(seed)), func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 77))
				r := newCoreRig(t, Mono, 8000)
				cfg := mono()
				cfg.Codecs = map[uint8]Codec{96: c.codec}
				tr := r.add(cfg, leg.Place{})
				type packet struct {
					n  int
					at time.Duration
				}
				var list []packet
				lost := map[int]bool{}
				for n := range c.payloads {
					if lost[n] = rnd.IntN(20) == 0; !lost[n] {
						list = append(list, packet{n, at(n) + time.Duration(rnd.IntN(50000))*time.Microsecond})
					}
				}
				slices.SortStableFunc(list, func(a, b packet) int { return int(a.at - b.at) })
				for _, p := range list {
					r.advance(p.at, r.scratch)
					tr.Push(rtpBytes(96, uint16(p.n), uint32(p.n*c.codec.Clock/50), 1, c.payloads[p.n]), sbc, p.at)
				}
				sum := r.finish(seconds*time.Second, seconds*time.Second, r.scratch)
				heard := starts(r.sink.decode(t, sum.Samples, 1, 48000)[0])
				matched := 0
				for _, h := range heard {
					x := float64(h) / 48000
					sent := math.Round(x/0.97) * 0.97
					if n := int(sent * 50); lost[n] || lost[n-1] || lost[n+1] {
						continue // its beginning is missing, or was made up
					}
					matched++
					if off := 1000 * (x - sent); math.Abs(off) > 20 {
						t.Errorf("the burst at %.2f s is %+.1f ms off", sent, off)
					}
				}
				if matched < 28 {
					t.Errorf("only %d bursts are heard", matched)
				}
				if s := sum.Streams[0]; s.Late > 2 {
					t.Errorf("counts: %+v", s)
				}
			})
		}
	}
}

// A wideband call allocates nothing per packet either.
func TestWidebandAllocatesNothing(t *testing.T) {
	_, packets := opusFile(t, wave(48000, 4, 7000), 48000, 1, "-b:a", "24k", "-application", "voip")
	k, err := newCore(CallConfig{Start: time.Unix(1e9, 0), Layout: Stereo, Rate: 48000, Complexity: 0, Sink: nullSink{}}, DefaultDepth, DefaultBatch)
	if err != nil {
		t.Fatal(err)
	}
	cfg := side(Left)
	cfg.Codecs = map[uint8]Codec{111: {Encoding: "OPUS", Clock: 48000, Channels: 2}}
	left := k.add(cfg, leg.Place{})
	cfg = side(Right)
	cfg.Codecs = map[uint8]Codec{9: {Encoding: "G722", Clock: 8000, Channels: 1}}
	right := k.add(cfg, leg.Place{})
	s, n := newScratch(int(DefaultBatch/frameTime)), 0
	data := make([]byte, 160)
	p := make([]byte, 0, 1500)
	push := func(tr *leg.Track, pt uint8, ts uint32, payload []byte) {
		p = append(p[:0], 0x80, pt, byte(n>>8), byte(n), byte(ts>>24), byte(ts>>16), byte(ts>>8), byte(ts), 0, 0, 0, 1)
		tr.Push(append(p, payload...), sbc, at(n))
	}
	second := func() {
		for range 50 {
			if n%10 != 7 { // with loss
				push(left, 111, uint32(n*960), packets[n%len(packets)])
			}
			push(right, 9, uint32(n*160), data)
			if n++; n%5 == 0 {
				k.advance(at(n), s)
			}
		}
	}
	second()
	second()
	second()
	if got := testing.AllocsPerRun(20, second); got >= 1 {
		t.Errorf("%v allocations in a call second of 100 packets", got)
	}
}
