//go:build linux && !portable

package media

import (
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
	play(t, 40, l)
	sum := c.Finish(time.Now())
	at := onsets(sink.decode(t, sum.Samples, 2, 48000)[0])
	if len(at) != 1 {
		t.Fatalf("%d clicks", len(at))
	}
	const near = 5 * time.Millisecond
	heard := start.Add(time.Duration(at[0]) * time.Second / 48000)
	if heard.Before(l.before.Add(-near)) || heard.After(l.after.Add(near)) {
		t.Errorf("click is heard %v after it began to be sent, that took %v", heard.Sub(l.before), l.after.Sub(l.before))
	}
}
