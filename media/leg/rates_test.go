package leg

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// bursts are ten seconds of silence but for a loud start, in 16 bits,
// big-endian.
func bursts(rate int) []byte {
	out := make([]byte, 0, 20*rate)
	for i := range 10 * rate {
		v := 0.0
		if i < rate/500 {
			v = 20000
		}
		out = binary.BigEndian.AppendUint16(out, uint16(int16(v)))
	}
	return out
}

// Wrong clocks at every rate of audio and RTP clock: ten minutes, in which the
// error would grow to 120 ms. See TestDriftForAnHour for the hour.
func TestDriftAtEveryRate(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of packets")
	}
	cmd := exec.Command("ffmpeg", "-v", "error", "-f", "s16be", "-ar", "16000", "-ac", "1", "-i", "-", "-c:a", "g722", "-f", "g722", "-")
	cmd.Stdin = bytes.NewReader(bursts(16000))
	g722, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		codec Codec
		rate  int
		audio []byte // of ten seconds
	}{
		{Codec{Encoding: "G722", Clock: 8000, Channels: 1}, 16000, g722},
		{Codec{Encoding: "L16", Clock: 48000, Channels: 1}, 48000, bursts(48000)},
		{Codec{Encoding: "L16", Clock: 8000, Channels: 1}, 16000, bursts(8000)}, // beside a wider leg
	} {
		ppm := 200.0
		if c.rate == 48000 {
			ppm = -200
		}
		t.Run(c.codec.Encoding+" "+strconv.Itoa(c.codec.Clock)+" at "+strconv.Itoa(c.rate), func(t *testing.T) {
			drift(t, c.codec, c.rate, c.audio, skew{ppm, 10})
		})
	}
}

// skew is a wrong clock, for some minutes.
type skew struct {
	ppm     float64
	minutes int
}

func drift(t *testing.T, codec Codec, rate int, audio []byte, wrong skew) {
	ppm := wrong.ppm
	rnd := rand.New(rand.NewPCG(7, 8))
	tr := New(Config{Source: sbc, Codecs: map[uint8]Codec{96: codec}}, Place{Start: time.Unix(1e9, 0), Depth: depth, Rate: rate})
	size, step := len(audio)/500, codec.Clock/50
	frame := make([]int16, rate/50)
	played, last, found := 0, -rate, 0
	for n := range wrong.minutes * 60 * 50 {
		arrived := time.Duration(float64(at(n)) / (1 + ppm/1e6))
		if n > 0 {
			arrived += time.Duration(rnd.IntN(30000)) * time.Microsecond
		}
		for ; float64(played)/float64(rate) < (arrived - depth - 50*time.Millisecond).Seconds(); played += len(frame) {
			tr.Read(frame)
			for i, v := range frame {
				if v < 8000 || played+i-last < rate {
					continue
				}
				last = played + i
				found++
				made := math.Round(float64(last)/float64(rate)/10) * 10 / (1 + ppm/1e6)
				if off := 1000 * (float64(last)/float64(rate) - made); math.Abs(off) > 35 {
					t.Fatalf("burst at %.1f s is %+.1f ms off", made, off)
				}
			}
		}
		k := n % 500 * size
		tr.Push(rtpBytes(96, uint16(n), uint32(n*step), 1, audio[k:k+size]), sbc, arrived)
	}
	if s := tr.Stats(); found < 6*wrong.minutes-5 || s.Lost+s.Late+s.Malformed != 0 {
		t.Errorf("%d bursts, %+v", found, s)
	}
}

// What is not audio and what is not agreed makes no sound: keys, comfort noise,
// and payloads that no decoder would take.
func TestWhatMakesNoSound(t *testing.T) {
	tr := New(Config{Source: sbc, Digits: true, Codecs: map[uint8]Codec{
		13: {Encoding: "CN", Clock: 8000}, 19: {Encoding: "CN", Clock: 8000},
		100: {Encoding: "TELEPHONE-EVENT", Clock: 8000}, 101: {Encoding: "telephone-event", Clock: 48000},
		102: {Encoding: "L16", Clock: 44100, Channels: 2}, 111: {Encoding: "OPUS", Clock: 48000, Channels: 2},
	}}, Place{Start: time.Unix(1e9, 0), Depth: depth})
	law := encodeLaw(muLaw, speechlike(160))
	seq := uint16(0)
	push := func(n int, pt uint8, ts int, payload []byte) {
		tr.Push(rtpBytes(pt, seq, uint32(ts*160), 1, payload), sbc, at(n))
		seq++
	}
	for n := range 10 {
		push(n, 0, n, law) // not agreed, but static
	}
	for n := 10; n < 20; n++ {
		push(n, 100, 10, []byte{11, 10, 0, byte(160 * (n - 9) >> 8)})
	}
	for n := 20; n < 30; n++ {
		push(n, []uint8{13, 19}[n%2], n, []byte{70, 1, 2})
	}
	for n := 30; n < 40; n++ {
		push(n, 102, n, law)
		push(n, 111, n, []byte{0xff}) // a frame count is missing
		push(n, 100, n, []byte{1})
	}
	out := make([]int16, 8000)
	tr.Read(out)
	if l := rms(out[:1600]); l < 100 {
		t.Errorf("the static payload type is not heard: %.1f", l)
	}
	if l := rms(out[1600:]); l != 0 {
		t.Errorf("something is heard: %.1f", l)
	}
	s := tr.Stats()
	if s.Assumed != 10 || s.NotAgreed != 10 || s.Malformed != 10 || s.Events != 20 {
		t.Errorf("counts: %+v", *s)
	}
	d := tr.Digits()
	if len(d) != 1 || d[0].Key != '#' || d[0].At != at(10) {
		t.Errorf("digits: %+v", d)
	}
}

// Any bytes of any payload type are taken without a crash, and what is read is
// as long as it should be.
func FuzzPayloads(f *testing.F) {
	f.Add(uint8(97), []byte{0xfc, 1, 2}, []byte{0x80})
	f.Add(uint8(98), []byte{1, 2, 3, 4, 5}, []byte{})
	f.Add(uint8(100), []byte{1, 0x8a, 3, 32}, []byte{9, 9})
	codecs := map[uint8]Codec{
		96: {Encoding: "G722", Clock: 8000}, 97: {Encoding: "OPUS", Clock: 48000, Channels: 2}, 98: {Encoding: "L16", Clock: 48000, Channels: 2},
		99: {Encoding: "CN", Clock: 8000}, 100: {Encoding: "TELEPHONE-EVENT", Clock: 48000}, 18: {Encoding: "G729", Clock: 8000},
	}
	f.Fuzz(func(t *testing.T, pt uint8, one, two []byte) {
		tr := New(Config{Source: sbc, Codecs: codecs, Digits: true}, Place{Start: time.Unix(1e9, 0), Depth: depth, Rate: 48000})
		for n := range 12 {
			b := one
			if n%2 == 1 {
				b = two
			}
			tr.Push(rtpBytes((pt+uint8(n%3))&0x7f, uint16(n*(1+n%2)), uint32(n*480), 1, b), sbc, at(n))
		}
		tr.Read(make([]int16, 48000))
	})
}
