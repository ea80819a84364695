package media

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"siprecd/media/leg"
)

// speech is a talking voice of ten seconds at any rate.
func speech(t *testing.T, rate int) []int16 {
	t.Helper()
	out := fromLE(pipe(t, nil, "ffmpeg", "-v", "error", "-i", "../testdata/speech/caller.wav", "-f", "s16le", "-ar", itoa(rate), "-ac", "1", "-"))
	for len(out) < 10*rate {
		out = append(out, out...)
	}
	return out[:10*rate]
}

// Loss in Opus is covered up better with the copies that packets carry than
// without, and either is better than silence.
func TestOpusLoss(t *testing.T) {
	pcm := speech(t, 48000)
	lost := func(n int) bool { return n > 20 && n%9 == 4 }
	got := map[string]float64{}
	for _, fec := range []string{"false", "true"} {
		file, packets := opusFile(t, pcm, 48000, 1, "-application", "voip", "-b:a", "32k", "-fec", fec, "-packet_loss", "20")
		want := opusReference(t, file)
		out, stats := hear(t, Codec{Encoding: "OPUS", Clock: 48000, Channels: 2}, 48000, 20*time.Millisecond, packets, lost)
		if n := uint64(len(packets)-22) / 9; stats.Lost < n || stats.Lost > n+1 || stats.Malformed != 0 {
			t.Errorf("counts: %+v", stats)
		}
		out = out[PreSkip:]
		n := min(len(out), len(want)) * 9 / 10
		var holesWant, holes []int16
		for i := 21; i*960+960 < n; i++ {
			if lost(i) {
				holesWant, holes = append(holesWant, want[i*960:][:960]...), append(holes, out[i*960:][:960]...)
			}
		}
		got[fec] = snr(holesWant, holes)
		for i := 20; i*960+960 < n; i++ { // every hole
			if lost(i) && fec == "true" && rms(out[i*960:][:960]) < rms(want[i*960:][:960])/4 {
				t.Errorf("packet %d was not covered up", i)
			}
		}
		// What follows a loss is in its place.
		for i := 40; (i+2)*960 < n; i += 9 {
			if k := i + 9 - i%9; lost(k-1) || lost(k) {
				continue
			} else if d := snr(want[k*960:][:960], out[k*960:][:960]); d < 3 && rms(want[k*960:][:960]) > 300 {
				t.Errorf("fec %s: packet %d is %.1f dB off", fec, k, d)
			}
		}
	}
	t.Logf("%v dB", got)
	if got["true"] < got["false"]+1 || got["true"] < 2 {
		t.Errorf("holes, from the loss-free decode: %v dB", got)
	}
}

// A long loss is silent in the middle and comes back in its place.
func TestOpusLongLoss(t *testing.T) {
	file, packets := opusFile(t, wave(48000, 6, 3000), 48000, 1, "-b:a", "32k")
	want := opusReference(t, file)
	out, _ := hear(t, Codec{Encoding: "OPUS", Clock: 48000, Channels: 2}, 48000, 20*time.Millisecond, packets,
		func(n int) bool { return n >= 100 && n < 125 })
	out = out[PreSkip:]
	if d := snr(want[:98*960], out[:98*960]); d < 60 {
		t.Errorf("before: %.1f dB", d)
	}
	if l := rms(out[106*960 : 122*960]); l > 1 {
		t.Errorf("the middle is not silent: %.1f", l)
	}
	if d := snr(want[130*960:200*960], out[130*960:200*960]); d < 20 {
		t.Errorf("after: %.1f dB", d)
	}
}

// A sender that is silent (DTX) is no loss, and the audio after it is in its
// place.
func TestOpusDTX(t *testing.T) {
	pcm := wave(16000, 6, 3000)
	clear(pcm[2*16000 : 4*16000])
	_, packets := opusFile(t, pcm, 16000, 1, "-application", "voip", "-b:a", "16k")
	silent := func(n int) bool { return n >= 110 && n < 195 && n%20 != 0 } // what DTX would not send
	seq := uint16(0)
	tr := leg.New(StreamConfig{Name: "1", Source: sbc, Codecs: map[uint8]Codec{96: {Encoding: "OPUS", Clock: 48000, Channels: 2}}},
		leg.Place{Start: time.Unix(1e9, 0), Depth: DefaultDepth, Rate: 48000, Opus: openVoice})
	for n, p := range packets {
		if silent(n) {
			continue
		}
		if n >= 110 && n < 195 {
			p = p[:1]
		}
		tr.Push(rtpBytes(96, seq, uint32(n*960), 1, p), sbc, at(n))
		seq++
	}
	out := make([]int16, len(packets)*960)
	tr.Read(out)
	if s := tr.Stats(); s.Lost+s.Late+s.Malformed != 0 {
		t.Errorf("counts: %+v", s)
	}
	if g := tr.Gaps(int64(len(packets) * 160)); len(g) != 0 {
		t.Errorf("gaps: %+v", g)
	}
	if a, b := rms(out[2*48000+24000:][:24000]), rms(out[5*48000:][:24000]); a > 30 || b < 500 {
		t.Errorf("level %.0f in silence, %.0f after", a, b)
	}
}

// phase is one stretch of a stream with one codec.
type phase struct {
	pt       uint8
	clock    int
	step     int // of the time stamp
	payloads [][]byte
}

// One stream changes its codec three times, with and without a new sender;
// clicks stay where they were made.
func TestCodecChangesInMidStream(t *testing.T) {
	codecs := map[uint8]Codec{
		0: {Encoding: "PCMU", Clock: 8000, Channels: 1}, 8: {Encoding: "PCMA", Clock: 8000, Channels: 1},
		9: {Encoding: "G722", Clock: 8000, Channels: 1}, 111: {Encoding: "OPUS", Clock: 48000, Channels: 2},
		97: {Encoding: "L16", Clock: 16000, Channels: 1},
	}
	wide := func(rate int) []int16 { // two seconds with a tone burst every 500 ms
		out := make([]int16, 2*rate)
		for i := range out {
			if x := float64(i%(rate/2)) / float64(rate); x < 0.03 {
				out[i] = int16(16000 * math.Sin(2*math.Pi*1000*x))
			}
		}
		return out
	}
	_, opusPackets := opusFile(t, wide(48000), 48000, 1, "-b:a", "64k", "-application", "lowdelay")
	phases := []phase{
		{0, 8000, 160, cut(ffmpeg(t, wide(8000), 8000, 1, "-f", "mulaw"), 160)},
		{111, 48000, 960, opusPackets[:100]},
		{8, 8000, 160, cut(ffmpeg(t, wide(8000), 8000, 1, "-f", "alaw"), 160)},
		{9, 8000, 160, cut(ffmpeg(t, wide(16000), 16000, 1, "-c:a", "g722", "-f", "g722"), 160)},
		{97, 16000, 320, cut(ffmpeg(t, wide(16000), 16000, 1, "-f", "s16be"), 640)},
		{0, 8000, 160, cut(ffmpeg(t, wide(8000), 8000, 1, "-f", "mulaw"), 160)},
	}
	for _, restart := range []bool{false, true} {
		r := newCoreRig(t, Stereo, 8000)
		cfg := mono()
		cfg.Codecs = codecs
		tr := r.add(cfg, leg.Place{})
		rnd := rand.New(rand.NewPCG(5, 5))
		n, seq, ts, ssrc := 0, uint16(65500), uint32(77), uint32(1)
		for _, p := range phases {
			if restart {
				ssrc, seq, ts = rnd.Uint32(), uint16(rnd.Uint32()), rnd.Uint32()
			}
			for _, b := range p.payloads {
				tr.Push(rtpBytes(p.pt, seq, ts, ssrc, b), sbc, at(n)+time.Duration(rnd.IntN(8000))*time.Microsecond)
				n, seq, ts = n+1, seq+1, ts+uint32(p.step)
				r.advance(at(n), r.scratch)
			}
		}
		sum := r.finish(at(n), at(n), r.scratch)
		if r.cfg.Rate != 48000 {
			t.Errorf("the call is at %d Hz", r.cfg.Rate)
		}
		left := r.sink.decode(t, sum.Samples, 2, 48000)[0]
		bursts := starts(left)
		if len(bursts) != 4*len(phases) {
			t.Fatalf("restart %v: %d bursts: %v", restart, len(bursts), bursts)
		}
		for i, b := range bursts {
			if d := float64(b)/48 - 500*float64(i); math.Abs(d) > 20 {
				t.Errorf("restart %v: burst %d is %.1f ms off", restart, i, d)
			}
		}
		if s := sum.Streams[0]; s.Lost+s.Late+s.Malformed+s.NotAgreed != 0 {
			t.Errorf("restart %v: %+v", restart, s)
		}
	}
}

// starts finds where 48 kHz audio becomes loud after 100 ms of quiet.
func starts(pcm []int16) (at []int) {
	last := -48000
	for i, v := range pcm {
		if v > 6000 || v < -6000 {
			if i-last > 4800 {
				at = append(at, i)
			}
			last = i
		}
	}
	return at
}

// While one party talks on, the other comes in with wider audio, so that the
// encoder is replaced. The first party's audio has no joint: around the change
// it is as close to the original as elsewhere.
func TestWideningHasNoJoint(t *testing.T) {
	for _, c := range []struct {
		from, to int
		codec    Codec
	}{
		{8000, 16000, Codec{Encoding: "G722", Clock: 8000, Channels: 1}},
		{8000, 48000, Codec{Encoding: "L16", Clock: 48000, Channels: 1}},
		{16000, 48000, Codec{Encoding: "L16", Clock: 48000, Channels: 1}},
	} {
		const seconds, when = 6, 150
		r := newCoreRig(t, Stereo, c.from)
		talk := wave(8000, seconds, 3200)
		law := encodeA(talk)
		tr := r.add(side(Left), leg.Place{})
		cfg := side(Right)
		cfg.Codecs = map[uint8]Codec{96: c.codec}
		other := r.add(cfg, leg.Place{})
		size := 160
		if c.codec.Encoding == "L16" {
			size = 1920
		}
		quiet := make([]byte, size)
		if c.codec.Encoding == "G722" {
			quiet = slices.Repeat([]byte{0xfa}, size)
		}
		changed := 0.0
		for n := range seconds * 50 {
			tr.Push(rtpBytes(8, uint16(n), uint32(n*160), 1, law[n*160:][:160]), sbc, at(n))
			if n >= when {
				other.Push(rtpBytes(96, uint16(n), uint32(n*160*c.codec.Clock/8000), 2, quiet), sbc, at(n))
			}
			before := r.frames
			if r.advance(at(n), r.scratch); r.cfg.Rate == c.to && changed == 0 {
				changed = float64(before) * 0.02
			}
		}
		sum := r.finish(at(seconds*50), at(seconds*50), r.scratch)
		if changed == 0 {
			t.Fatalf("%d: never changed", c.to)
		}
		left := r.sink.decode(t, sum.Samples, 2, 48000)[0]
		want := wave(48000, seconds, 3200)
		segment := func(from float64, length float64) float64 {
			a, n := int(from*48000), int(length*48000)
			return snr(want[a:a+n], left[a:a+n])
		}
		worst, typical := 99.0, []float64{}
		for x := 0.5; x < seconds-0.6; x += 0.01 {
			d := segment(x, 0.02)
			if math.Abs(x-changed) < 0.06 {
				worst = min(worst, d)
			} else {
				typical = append(typical, d)
			}
		}
		slices.Sort(typical)
		t.Logf("%d to %d at %.2f s: worst at the change %.1f dB, elsewhere %.1f, median %.1f", c.from, c.to, changed, worst, typical[0], typical[len(typical)/2])
		if worst < typical[len(typical)/50] {
			t.Errorf("%d to %d: %.1f dB at the change, the lowest fiftieth elsewhere is below %.1f", c.from, c.to, worst, typical[len(typical)/50])
		}
	}
}
