package leg

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const frame20 = 160

// speechlike is repeatable audio without periods: every sample differs from
// its neighbours, so that a shift shows.
func speechlike(n int) []int16 {
	r := rand.New(rand.NewPCG(1, 2))
	codes := make([]byte, n)
	for i := range codes {
		codes[i] = byte(r.IntN(256))
	}
	out := make([]int16, n)
	aLaw.Decode(out, codes)
	return out
}

func at(n int) time.Duration { return time.Duration(n) * 20 * time.Millisecond }

// same reports the first difference between the timeline and what is expected
// from a position on.
func (r *trackRig) same(t *testing.T, from int, want []int16) {
	t.Helper()
	if len(r.out) < from+len(want) {
		t.Fatalf("timeline has %d samples, %d expected", len(r.out), from+len(want))
	}
	for i, v := range want {
		if r.out[from+i] != v {
			t.Fatalf("sample %d is %d, want %d", from+i, r.out[from+i], v)
		}
	}
}

func TestCleanStreamIsExact(t *testing.T) {
	for _, c := range []struct {
		name  string
		sizes []int // packet lengths, used in turn
		start uint32
	}{
		{"20 ms", []int{160}, 5},
		{"10 ms", []int{80}, 5},
		{"60 ms", []int{480}, 5},
		{"changing", []int{160, 80, 480, 240, 320}, 5},
		{"odd", []int{161, 37, 160, 255}, 5},
		{"time stamp wraps", []int{160}, 0xffffff00},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newTrackRig(t)
			pcm := speechlike(5 * SampleRate)
			seq := uint16(65500) // wraps too
			pos, n := 0, 0
			for pos < len(pcm) {
				size := min(c.sizes[n%len(c.sizes)], len(pcm)-pos)
				r.send(Duration(int64(pos)), seq+uint16(n), c.start+uint32(pos), 9, pcm[pos:pos+size])
				pos += size
				n++
			}
			r.run(7 * time.Second)
			r.same(t, 0, pcm)
			if s := r.stats; s.Packets != uint64(n) || s.Lost+s.Late+s.Duplicate+s.Reordered != 0 {
				t.Errorf("counts: %+v", s)
			}
			if g := r.Gaps(5 * SampleRate); len(g) != 0 {
				t.Errorf("gaps: %+v", g)
			}
		})
	}
}

// A network that reorders, duplicates and delays, but loses nothing in time,
// leaves the audio as it was.
func TestJitterIsExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	pcm := speechlike(20 * SampleRate)
	type sent struct {
		at time.Duration
		n  int
	}
	var list []sent
	for n := range len(pcm) / frame20 {
		jitter := time.Duration(rnd.IntN(50)) * time.Millisecond
		if n == 0 {
			jitter = 0
		}
		list = append(list, sent{at(n) + jitter, n})
		if n%5 == 3 {
			list = append(list, sent{at(n) + 70*time.Millisecond, n})
		}
	}
	slices.SortStableFunc(list, func(a, b sent) int { return int(a.at - b.at) })
	r := newTrackRig(t)
	for _, s := range list {
		r.send(s.at, uint16(s.n), uint32(s.n*frame20), 1, pcm[s.n*frame20:(s.n+1)*frame20])
	}
	r.run(22 * time.Second)
	r.same(t, 0, pcm)
	if s := r.stats; s.Lost != 0 || s.Late != 0 || s.Duplicate != 200 || s.Reordered == 0 {
		t.Errorf("counts: %+v", s)
	}
}
