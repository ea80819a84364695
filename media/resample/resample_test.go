package resample

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"testing"
)

// through puts pcm in runs of odd lengths and takes it in units of 20 ms.
func through(l *Line, k int, pcm []int16) (out []int16) {
	buf := make([]int16, 160*l.Wide())
	for len(pcm) > 0 {
		for l.Need(160) > 0 && len(pcm) > 0 {
			n := min(37*k, len(pcm))
			l.Put(k, pcm[:n])
			pcm = pcm[n:]
		}
		if l.Need(160) == 0 {
			l.Take(buf)
			out = append(out, buf...)
		}
	}
	return out
}

func sine(hz float64, rate, n int) []int16 {
	out := make([]int16, n)
	for i := range out {
		out[i] = int16(math.Round(10000 * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return out
}

// level is the amplitude of one frequency.
func level(pcm []int16, hz float64, rate int) float64 {
	var re, im float64
	for i, v := range pcm {
		w := 1 - math.Cos(2*math.Pi*float64(i)/float64(len(pcm)))
		sin, cos := math.Sincos(2 * math.Pi * hz * float64(i) / float64(rate))
		re, im = re+w*float64(v)*cos, im+w*float64(v)*sin
	}
	return 2 * math.Hypot(re, im) / float64(len(pcm))
}

func TestOwnRateIsExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, k := range []int{1, 2, 6} {
		pcm := make([]int16, 8000*k)
		for i := range pcm {
			pcm[i] = int16(rnd.Uint32())
		}
		if out := through(NewLine(k), k, pcm); len(out) < 7000*k || !slices.Equal(out, pcm[:len(out)]) {
			t.Errorf("%d kHz is changed", 8*k)
		}
	}
}

// Tones keep level and phase, and their images are out of hearing.
func TestTones(t *testing.T) {
	for _, c := range []struct{ from, to int }{{1, 2}, {1, 6}, {2, 6}} {
		for _, part := range []float64{0.05, 0.25, 0.5, 0.75, 0.85} { // of the band
			in, out := Rate*c.from, Rate*c.to
			hz := part * float64(in) / 2
			pcm := through(NewLine(c.to), c.from, sine(hz, in, in))[out/4 : out/2]
			if d := 20 * math.Log10(level(pcm, hz, out)/10000); math.Abs(d) > 0.1 {
				t.Errorf("%d to %d: %.0f Hz is %.2f dB off", in, out, hz, d)
			}
			if d := 20 * math.Log10(level(pcm, float64(in)-hz, out)/10000); d > -60 {
				t.Errorf("%d to %d: image of %.0f Hz at %.1f dB", in, out, hz, d)
			}
			want := sine(hz, out, out)[out/4 : out/2]
			if d := snr(want, pcm); d < 35 {
				t.Errorf("%d to %d: %.0f Hz: %.1f dB from the sine", in, out, hz, d)
			}
		}
	}
}

// snr is how far got differs from want, in dB below want.
func snr(want, got []int16) float64 {
	var s, n float64
	for i, v := range want {
		d := float64(v) - float64(got[i])
		s, n = s+float64(v)*float64(v), n+d*d
	}
	return 10 * math.Log10(s/max(n, 1e-9))
}

// Band-limited noise comes out as sox has it.
func TestAgainstSox(t *testing.T) {
	for _, c := range []struct{ from, to int }{{1, 2}, {1, 6}, {2, 6}} {
		in, out := Rate*c.from, Rate*c.to
		rnd := rand.New(rand.NewPCG(3, 4))
		pcm := make([]int16, 2*in)
		for range 60 {
			hz, ph := rnd.Float64()*0.42*float64(in), rnd.Float64()*6
			for i := range pcm {
				pcm[i] += int16(300 * math.Sin(ph+2*math.Pi*hz*float64(i)/float64(in)))
			}
		}
		raw := new(bytes.Buffer)
		if err := binary.Write(raw, binary.LittleEndian, pcm); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sox", "-D", "-t", "s16", "-L", "-c", "1", "-r", strconv.Itoa(in), "-", "-t", "s16", "-L", "-", "rate", "-v", strconv.Itoa(out))
		cmd.Stdin = raw
		b, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		want := make([]int16, len(b)/2)
		if err := binary.Read(bytes.NewReader(b), binary.LittleEndian, want); err != nil {
			t.Fatal(err)
		}
		got := through(NewLine(c.to), c.from, pcm)
		if d := snr(want[out/4:out], got[out/4:out]); d < 40 {
			t.Errorf("%d to %d: %.1f dB from what sox makes", in, out, d)
		} else {
			t.Logf("%d to %d: %.1f dB", in, out, d)
		}
	}
}

// A tone that goes on while its rate changes, and the line is widened and set
// back, has no joint.
func TestRateChangeHasNoJoint(t *testing.T) {
	const hz = 1000
	for _, back := range []int{0, 40, Back} {
		l := NewLine(1)
		l.Put(1, sine(hz, 8000, 1600))
		l.Take(make([]int16, 1600))
		l.Widen(2, back)
		n := 1500 + back
		got := make([]int16, 2*n)
		wide := sine(hz, 16000, 6400)
		l.Put(2, wide[3200:])
		l.Take(got)
		if d := snr(wide[2*(1600-back):][:2*n], got); d < 45 {
			t.Errorf("back %d: %.1f dB at the change to 16 kHz", back, d)
		}
		at := 1600 - back + n
		l.Widen(6, 0)
		got = make([]int16, 6*800)
		full := sine(hz, 48000, 48000)
		l.Put(6, full[6*3200:][:6*2400])
		l.Take(got)
		if d := snr(full[6*at:][:len(got)], got); d < 45 {
			t.Errorf("back %d: %.1f dB at the change to 48 kHz", back, d)
		}
	}
}

func BenchmarkSecond(b *testing.B) {
	for _, c := range []struct{ from, to int }{{1, 1}, {1, 2}, {1, 6}, {2, 6}, {6, 6}} {
		b.Run(strconv.Itoa(8*c.from)+"-"+strconv.Itoa(8*c.to), func(b *testing.B) {
			l, pcm, out := NewLine(c.to), sine(700, Rate*c.from, 160*c.from), make([]int16, 160*c.to)
			b.ReportAllocs()
			for b.Loop() {
				for range 50 {
					for l.Need(160) > 0 {
						l.Put(c.from, pcm)
					}
					l.Take(out)
				}
			}
		})
	}
}
