package leg

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// Two senders whose clocks are wrong in opposite directions, with jitter, for
// an hour: every click stays within 40 ms of when it was made.
func TestDriftForAnHour(t *testing.T) {
	if testing.Short() {
		t.Skip("an hour of packets")
	}
	const period = 10 * SampleRate
	for _, ppm := range []float64{200, -200, 0} {
		hour := 3600
		if ppm == 0 {
			hour = 600
		}
		rnd := rand.New(rand.NewPCG(5, 6))
		r := newTrackRig(t)
		click := encodeLaw(aLaw, clicks(period, period))
		rate := 1 + ppm/1e6
		bad, found := 0, 0
		check := func(done int) { // looks at what was played so far and forgets it
			for _, p := range onsets(r.out[done:]) {
				ms := float64(done+p) / SampleRate * 1000
				true0 := math.Round(ms/1000*rate/10) * 10 / rate * 1000
				found++
				if d := ms - true0; math.Abs(d) > 30 {
					bad++
					t.Logf("%+.0f ppm: click at %.1f ms is %+.1f ms off", ppm, ms, d)
				}
			}
		}
		done := 0
		for n := range hour * 50 {
			sent := time.Duration(float64(at(n)) / rate)
			arrived := sent
			if n > 0 {
				arrived += time.Duration(rnd.IntN(30000)) * time.Microsecond
			}
			r.run(arrived)
			k := n * frame20 % period
			r.Push(rtpBytes(8, uint16(n), uint32(n*frame20), 1, click[k:k+frame20]), sbc, arrived)
			if len(r.out)-done > 60*SampleRate {
				check(done)
				done = len(r.out)
			}
			if bad > 3 {
				break
			}
		}
		if found < hour/12 || bad > 0 {
			t.Errorf("%+.0f ppm: %d clicks found, %d out of place", ppm, found, bad)
		}
		if moved := r.clock.offset; ppm == 0 && moved != 0 || ppm != 0 && moved == 0 {
			t.Errorf("%+.0f ppm: offset %d", ppm, moved)
		}
		if s := r.stats; s.Lost != 0 || s.Late != 0 {
			t.Errorf("%+.0f ppm: %+v", ppm, s)
		}
		t.Logf("%+.0f ppm: offset %.1f ms after an hour", ppm, float64(r.clock.offset)/ms)
	}
}

// Correction must not be heard: a tone that is slewed keeps its level and has
// no step that the tone itself does not have.
func TestSlewIsSmooth(t *testing.T) {
	r := newTrackRig(t)
	const slew = 40
	pcm := tone(1000, 10000, 10*SampleRate)
	for _, a := range stream(pcm, 1)[:190] { // less than the drift filter needs to take it back
		r.send(a.at, a.seq, a.ts, a.ssrc, a.pcm)
		if a.seq == 101 {
			r.clock.slew = slew
		}
	}
	r.run(4 * time.Second)
	if r.clock.offset != slew {
		t.Fatalf("offset %d", r.clock.offset)
	}
	body := r.out[800 : 3*SampleRate]
	if j, own := worstJump(body), worstJump(pcm); j > own*11/10 {
		t.Errorf("step of %d, the tone's own is %d", j, own)
	}
	for i := 0; i+800 <= len(body); i += 800 {
		if d := decibel(rms(body[i:i+800]), rms(pcm)); math.Abs(d) > 0.5 {
			t.Errorf("level at %d is %.2f dB off", i, d)
		}
	}
}
