package kept

import (
	"testing"

	"siprecd/store/journal"
)

// TestFiller checks the stand-in's table-of-contents byte.
func TestFiller(t *testing.T) {
	for _, c := range []struct{ like, want byte }{
		{1<<3 | 4 | 3, 1<<3 | 4}, // SILK 20 ms stereo, three frames
		{0<<3 | 4, 1<<3 | 4},     // SILK 10 ms stereo
		{15 << 3, 15 << 3},       // hybrid 20 ms mono
		{31<<3 | 4, 31<<3 | 4},   // CELT 20 ms stereo
		{30 << 3, 1 << 3},        // CELT 10 ms
	} {
		if got := filler([]byte{c.like, 1, 2}); len(got) != 1 || got[0] != c.want {
			t.Errorf("filler like %#x: %#x, want %#x", c.like, got, c.want)
		}
	}
	r := Lay(journal.Content{First: 96, Packets: [][]byte{{9}, nil, {9}, {9}, {9}}}, 100, 103)
	if len(r.preRoll) != 4 || len(r.packets) != 3 || len(r.Missing) != 1 || r.Missing[0] != (journal.Range{From: 101, To: 103}) {
		t.Errorf("run %+v", r)
	}
}

// TestCutting checks that segments tile the call without a seam.
func TestCutting(t *testing.T) {
	for _, c := range []Cutting{{Per: 3000, PreSkip: 312}, {Per: 1, PreSkip: 312}, {Per: 50, PreSkip: 0}} {
		for _, packets := range []int{0, 1, c.Per - 1, c.Per, c.Per + 1, 5*c.Per + 3} {
			var sum int64
			for seq := range c.Segments(packets) {
				end := min(packets, (seq+1)*c.Per)
				if c.Start(seq) != sum {
					t.Errorf("%+v: segment %d of %d packets starts at %d, the one before ends at %d", c, seq, packets, c.Start(seq), sum)
				}
				sum += c.Length(end) - c.Start(seq)
			}
			if sum != c.Length(packets) {
				t.Errorf("%+v: %d packets play %d samples, want %d", c, packets, sum, c.Length(packets))
			}
		}
	}
}
