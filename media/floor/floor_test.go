package floor

import (
	"math/rand/v2"
	"testing"
	"time"
)

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestCostGrowsWithComplexity(t *testing.T) {
	a, err := Decode(noise(8000), noise(8080))
	if err != nil {
		t.Fatal(err)
	}
	if a.Length() != time.Second {
		t.Fatalf("a second and a bit became %v", a.Length())
	}
	cost := map[int]time.Duration{}
	for _, complexity := range []int{0, 10} {
		if cost[complexity], err = a.Cost(Coding{Bitrate: 32000, Complexity: complexity}, 2, 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	if cost[0] <= 0 || cost[10] <= cost[0] {
		t.Errorf("a call second costs %v", cost)
	}
}

func TestSidesAreChannels(t *testing.T) {
	loud, quiet := make([]byte, 160), make([]byte, 160)
	for i := range loud {
		loud[i], quiet[i] = 0x2a, 0xd5
	}
	a, err := Decode(loud, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if a[0] > -20000 && a[0] < 20000 || a[1] < -8 || a[1] > 8 {
		t.Errorf("left %d, right %d", a[0], a[1])
	}
}

func TestNoAudioIsRefused(t *testing.T) {
	if _, err := Decode(nil, noise(160)); err == nil {
		t.Error("a call of nothing")
	}
}
