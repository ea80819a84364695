package leg

import (
	"testing"
	"time"
)

// TestSides checks that a change of the side is known with its place.
func TestSides(t *testing.T) {
	tr := New(Config{Name: "1", Side: Right}, Place{})
	if _, at, after := tr.Sides(); at != 0 || after != Right {
		t.Errorf("begins on %v from %d", after, at)
	}
	tr.Configure(Config{Name: "1", Side: Left}, time.Second)
	tr.Configure(Config{Name: "2", Side: Left}, 2*time.Second) // no change of the side
	if before, at, after := tr.Sides(); before != Right || at != SampleRate || after != Left {
		t.Errorf("%v until %d, then %v", before, at, after)
	}
}

// TestLateReadingLosesNoNewSender changes the sender and reads half a second
// of the new one at once, as a worker does that was held up.
func TestLateReadingLosesNoNewSender(t *testing.T) {
	tr := New(Config{Name: "1", Codecs: g711Set, Source: sbc}, Place{Added: 0, Depth: 200 * time.Millisecond, Rate: SampleRate})
	for n := range 60 {
		ssrc := uint32(1)
		if n >= 20 {
			ssrc = 2
		}
		at := time.Duration(n) * 20 * time.Millisecond
		if n >= 20 {
			at += 200 * time.Millisecond
		}
		tr.Push(rtpBytes(0, uint16(n), uint32(n*160), ssrc, make([]byte, 160)), sbc, at)
		if n < 20 {
			tr.Settle(Samples(at, SampleRate))
		}
	}
	tr.Settle(Samples(1500*time.Millisecond, SampleRate))
	if s := tr.Stats(); s.Stray != 0 {
		t.Errorf("%d packets of the new sender were taken for strays", s.Stray)
	}
}
