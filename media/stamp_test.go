//go:build linux && !portable

package media

import (
	"math"
	"testing"
	"time"

	"siprecd/media/leg"
)

// Kernel time stamps, not the moment of the sweep, place a packet: two bursts
// 30 ms apart within one sweep are heard 30 ms apart.
func TestArrivalIsTheKernels(t *testing.T) {
	e := testEngine(t)
	sink := newFileSink(t, 2, 8000)
	start := time.Now()
	c, err := e.NewCall(CallConfig{Start: start, Layout: Stereo, Rate: 8000, Complexity: 5, Bitrate: 64000, Sink: sink})
	if err != nil {
		t.Fatal(err)
	}
	cfg := mono()
	s, err := c.Add(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := newLeg(t, s.Port(), clicks(leg.SampleRate, 160*40))
	waitUntil(t, start.Add(530*time.Millisecond))
	sent := time.Since(start)
	play(t, 40, l)
	sum := c.Finish(time.Now())
	at := onsets(sink.decode(t, sum.Samples, 2, 48000)[0])
	if len(at) != 1 {
		t.Fatalf("%d clicks", len(at))
	}
	if d := float64(at[0])/48 - float64(sent.Microseconds())/1000; math.Abs(d) > 5 {
		t.Errorf("click is %.1f ms off", d)
	}
}

// waitUntil returns at an instant.
func waitUntil(t *testing.T, at time.Time) {
	t.Helper()
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	<-timer.C
}
