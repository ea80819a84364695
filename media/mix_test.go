package media

import (
	"math"
	"slices"
	"testing"
	"time"

	"siprecd/media/leg"
	"siprecd/media/limit"
)

// limited runs sums through a limiter in batches of 300 ms.
func limited(sum []int32) []int16 {
	l := limit.New(leg.SampleRate)
	block := len(l.Carry)
	copy(l.Carry, sum[:block])
	var out []int16
	for sum = sum[block:]; len(sum) >= 2400; sum = sum[2400:] {
		batch := append(slices.Clone(l.Carry), sum[:2400]...)
		dst := make([]int16, 2400)
		l.Run(dst, 1, batch, false)
		copy(l.Carry, batch[2400:])
		out = append(out, dst...)
	}
	return out
}

func sumOf(legs ...[]int16) []int32 {
	sum := make([]int32, len(legs[0]))
	for _, l := range legs {
		for i, v := range l {
			sum[i] += int32(v)
		}
	}
	return sum
}

func TestLimiterLeavesOneTalkerAlone(t *testing.T) {
	pcm := talk(1, 3)
	out := limited(sumOf(pcm))
	if !slices.Equal(out, pcm[:len(out)]) {
		t.Error("a single talker was changed")
	}
	quiet := tone(440, 9000, 3*leg.SampleRate)
	sum := sumOf(quiet, tone(1000, 9000, 3*leg.SampleRate))
	for i, v := range limited(sum) {
		if int32(v) != sum[i] {
			t.Fatalf("two quiet talkers were changed at %d", i)
		}
	}
}

// What is known to fit is passed on as it is, but not before what was too loud
// has had its gain back.
func TestLimiterPassesOnOneTalker(t *testing.T) {
	l := limit.New(leg.SampleRate)
	block := len(l.Carry)
	loud, one := make([]int32, block+2400), make([]int32, block+2400)
	for i := range one[block:] {
		loud[block+i], one[block+i] = 60000, int32(i-32768)
	}
	dst := make([]int16, 2400)
	for _, alone := range []bool{true, false} { // the lowest sample of all fits, too
		if l.Run(dst, 1, one, alone); int32(dst[block]) != one[block] {
			t.Errorf("%d became %d", one[block], dst[block])
		}
	}
	l.Run(dst, 1, loud, false)
	if l.Run(dst, 1, one, true); int32(dst[60]) <= one[60] || int32(dst[2399]) != one[2399] {
		t.Errorf("%d became %d right after a shout, and %d became %d", one[60], dst[60], one[2399], dst[2399])
	}
}

func TestLimiterDoesNotClip(t *testing.T) {
	a, b := tone(440, 32767, 4*leg.SampleRate), tone(1000, 32767, 4*leg.SampleRate)
	clear(b[:leg.SampleRate+7]) // one begins later, within a batch
	out := limited(sumOf(a, b))
	for i, v := range out {
		if (v == 32767 || v == -32768) && i > leg.SampleRate+100 {
			t.Fatalf("sample %d is clipped", i)
		}
	}
	body := out[2*leg.SampleRate : 3*leg.SampleRate]
	x, y := goertzel(body, 440, leg.SampleRate), goertzel(body, 1000, leg.SampleRate)
	total := rms(body)
	rest := math.Sqrt(math.Max(0, total*total-x*x/2-y*y/2))
	if d := decibel(rest, total); d > -30 {
		t.Errorf("distortion %.1f dB", d)
	}
	if d := decibel(x, y); math.Abs(d) > 0.2 {
		t.Errorf("one tone is %.2f dB louder", d)
	}
	if j, own := worstJump(out), worstJump(a)+worstJump(b); j > own {
		t.Errorf("a step of %d, the tones' own is %d", j, own)
	}
	late := limited(append(sumOf(a, b), sumOf(a, make([]int16, len(a)))...))
	if d := decibel(rms(late[7*leg.SampleRate:]), rms(a)); math.Abs(d) > 0.05 {
		t.Errorf("gain does not come back: %.2f dB", d)
	}
}

// coreRig runs a call's core by hand and decodes what it makes.
type coreRig struct {
	*core
	sink    *fileSink
	scratch *scratch
}

func newCoreRig(t *testing.T, layout Layout, rate int) *coreRig {
	t.Helper()
	channels := 2
	if layout == Mono {
		channels = 1
	}
	r := &coreRig{sink: newFileSink(t, channels, rate), scratch: newScratch(int(DefaultBatch / frameTime))}
	k, err := newCore(CallConfig{Start: time.Unix(1e9, 0), Layout: layout, Rate: rate, Complexity: 5, Bitrate: 64000, Sink: r.sink}, DefaultDepth, DefaultBatch)
	if err != nil {
		t.Fatal(err)
	}
	r.core = k
	return r
}

// feed plays legs, one a track, for their length.
func (r *coreRig) feed(legs [][]int16, tracks []*leg.Track) {
	for n := range len(legs[0]) / frame20 {
		for i, tr := range tracks {
			x := encodeA(legs[i][n*frame20 : (n+1)*frame20])
			tr.Push(rtpBytes(8, uint16(n), uint32(n*frame20), uint32(i), x), sbc, at(n))
		}
		r.advance(at(n), r.scratch)
	}
}

func side(s Side) StreamConfig {
	c := mono()
	c.Side = s
	return c
}

func TestLayoutsAndRates(t *testing.T) {
	for _, rate := range []int{8000, 16000, 48000} {
		for _, layout := range []Layout{Stereo, Mono} {
			r := newCoreRig(t, layout, rate)
			legs := [][]int16{tone(440, 6000, 3*leg.SampleRate), tone(1000, 6000, 3*leg.SampleRate), tone(700, 6000, 3*leg.SampleRate)}
			r.feed(legs, []*leg.Track{r.add(side(Left), leg.Place{}), r.add(side(Right), leg.Place{}), r.add(side(Right), leg.Place{})})
			sum := r.finish(3*time.Second, 3*time.Second, r.scratch)
			if sum.Samples != 3*48000 {
				t.Errorf("%s %d: %d samples", layout, rate, sum.Samples)
			}
			pcm := r.sink.decode(t, sum.Samples, r.channels, 48000)
			for ch, own := range [][]float64{{440}, {1000, 700}} {
				for _, hz := range own {
					c := min(ch, r.channels-1)
					if d := decibel(goertzel(pcm[c][48000:96000], hz, 48000), 6000); math.Abs(d) > 1 {
						t.Errorf("%s %d: %v Hz in channel %d is %.2f dB off", layout, rate, hz, c, d)
					}
				}
			}
			if r.channels == 2 {
				if d := decibel(goertzel(pcm[1][48000:96000], 440, 48000), 6000); d > -40 {
					t.Errorf("%d: left leaks into right at %.1f dB", rate, d)
				}
			}
		}
	}
}

// A click comes out when it was sent: the pre-skip is the encoder's true delay
// at every rate.
func TestClickPosition(t *testing.T) {
	for _, rate := range []int{8000, 16000, 48000} {
		r := newCoreRig(t, Stereo, rate)
		pcm := make([]int16, 3*leg.SampleRate)
		for i := range 8 {
			pcm[12000+i] = 30000
		}
		r.feed([][]int16{pcm}, []*leg.Track{r.add(side(Left), leg.Place{})})
		sum := r.finish(3*time.Second, 3*time.Second, r.scratch)
		out := r.sink.decode(t, sum.Samples, 2, 48000)[0]
		peak := 0
		for i, v := range out {
			if v > out[peak] {
				peak = i
			}
		}
		if d := float64(peak)/48 - 1500 - 0.44; math.Abs(d) > 1 { // the click's middle
			t.Errorf("%d Hz: click %.2f ms off", rate, d)
		}
	}
}

func TestFinishLength(t *testing.T) {
	for _, c := range []struct {
		name       string
		audio, end time.Duration
		want       time.Duration
	}{
		{"nothing at all", 0, 0, 0},
		{"ended before it began", 0, -time.Second, 0},
		{"no audio", 0, 1234567 * time.Microsecond, 1234562500},
		{"audio to the end", time.Second, time.Second, time.Second},
		{"audio 20 ms beyond", 2 * time.Second, 1980 * time.Millisecond, 2 * time.Second},
		{"audio 100 ms beyond", 2 * time.Second, 1900 * time.Millisecond, 1960 * time.Millisecond},
		{"silence after", time.Second, 1500 * time.Millisecond, 1500 * time.Millisecond},
	} {
		r := newCoreRig(t, Stereo, 8000)
		r.feed([][]int16{talk(1, 3)[:leg.Samples(c.audio, leg.SampleRate)]}, []*leg.Track{r.add(side(Left), leg.Place{})})
		sum := r.finish(c.end, max(c.end, 0), r.scratch)
		if d := sum.Duration - c.want; d > 21*time.Microsecond || d < -21*time.Microsecond {
			t.Errorf("%s: %v, want %v", c.name, sum.Duration, c.want)
		}
		if c.want > 0 {
			if got := len(r.sink.decode(t, sum.Samples, 2, 48000)[0]); int64(got) != sum.Samples {
				t.Errorf("%s: decoded %d samples, want %d", c.name, got, sum.Samples)
			}
		}
	}
}
