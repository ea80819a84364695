package hear

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestLevel(t *testing.T) {
	pcm := make([]int16, Rate)
	for i := range pcm {
		pcm[i] = int16(3276.8 * math.Sin(2*math.Pi*440*float64(i)/Rate))
	}
	if got := Level(pcm, 440); math.Abs(got+23.01) > 0.05 {
		t.Errorf("a tone of -20 dBFS at its peak has %.2f dB", got)
	}
	if got := Level(pcm, 1000); got > -80 {
		t.Errorf("another tone is heard with %.2f dB", got)
	}
	if got := Level(nil, 440); got != -200 {
		t.Errorf("nothing has %.2f dB", got)
	}
}

// TestAlignFindsWhatWentWrong breaks a signal in every way that a recorder
// could, and each must show.
func TestAlignFindsWhatWentWrong(t *testing.T) {
	const second = 100 // the packet that is hurt
	sent := Speechlike(4 * Rate)
	packet := func(i int) []int16 { return sent[i*Window : (i+1)*Window] }
	const lead = 300 // samples before the first packet is heard
	whole := append(make([]int16, lead), sent...)
	at := lead + second*Window
	for name, c := range map[string]struct {
		heard []int16
		bad   int // windows that are not where they belong
	}{
		"whole":    {whole, 0},
		"silenced": {slices.Concat(whole[:at], make([]int16, Window), whole[at+Window:]), 1},
		"doubled":  {slices.Concat(whole[:at], packet(second-1), whole[at+Window:]), 1},
		"swapped":  {slices.Concat(whole[:at], packet(second+1), packet(second), whole[at+2*Window:]), 2},
	} {
		start := Start(sent, c.heard, 200*time.Millisecond)
		if start != lead*time.Second/Rate {
			t.Errorf("%s: begins at %v", name, start)
		}
		bad := 0
		for _, m := range Align(sent, c.heard, start, 5*time.Millisecond) {
			if m.Likely < 0.8 {
				bad++
			}
		}
		if bad != c.bad {
			t.Errorf("%s: %d windows do not match, want %d", name, bad, c.bad)
		}
	}
	late := slices.Concat(whole[:at], make([]int16, 400), whole[at:])
	ms := Align(sent, late, length(lead), 80*time.Millisecond)
	if off := ms[second+20].Heard - ms[second+20].At - length(lead); off != 50*time.Millisecond {
		t.Errorf("what is 50 ms late is heard %v late", off)
	}
}
