package leg

import (
	"testing"
	"time"
)

// TestBurstsArePlayedWhole: senders that work in blocks let several packets go
// at once. Nothing may be lost or overlaid, also when the first block comes so
// early in the call that its audio cannot be put where it was spoken.
func TestBurstsArePlayedWhole(t *testing.T) {
	for _, c := range []struct {
		name  string
		first time.Duration // arrival of the first block
		block int           // packets of 20 ms
	}{
		{"64 ms blocks", 300 * time.Millisecond, 3},
		{"128 ms blocks", 300 * time.Millisecond, 6},
		{"160 ms blocks at once", 0, 8},
		{"160 ms blocks 10 ms into the call", 10 * time.Millisecond, 8},
		{"200 ms blocks at once", 0, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newTrackRig(t)
			pcm := speechlike(8 * SampleRate)
			for n := range len(pcm) / frame20 {
				arrival := c.first + time.Duration(n/c.block*c.block)*20*time.Millisecond
				r.send(arrival, uint16(n), uint32(n*frame20), 7, pcm[n*frame20:(n+1)*frame20])
			}
			r.run(12 * time.Second)
			from := 0
			for from < len(r.out)-1 && (r.out[from] != pcm[0] || r.out[from+1] != pcm[1]) {
				from++
			}
			r.same(t, from, pcm)
			if s := r.Stats(); s.Late+s.Lost+s.Duplicate > 0 {
				t.Errorf("%+v", *s)
			}
		})
	}
}
