//go:build g729

package g729

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// frames are valid G.729 frames of a made-up voice: slowly changing parameters
// with the parity bit of the first lag set right (ITU-T G.729 section 3.7.2).
func frames(n int) []byte {
	rnd := rand.New(rand.NewPCG(2, 9))
	var out []byte
	for range n {
		var b [FrameBytes]byte
		for i := range b {
			b[i] = byte(rnd.UintN(256))
		}
		lag, parity := b[2]<<2|b[3]>>6, byte(1) // P1 is bits 18 to 25, P0 is bit 26
		for i := 2; i < 8; i++ {
			parity ^= lag >> i & 1
		}
		b[3] = b[3]&^0x20 | parity<<5
		out = append(out, b[:]...)
	}
	return out
}

// The decoder is ffmpeg's equal on the same bits.
func TestAgainstReference(t *testing.T) {
	coded := frames(300)
	path := filepath.Join(t.TempDir(), "in.g729")
	if err := os.WriteFile(path, coded, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := exec.Command("ffmpeg", "-v", "error", "-f", "g729", "-i", path, "-f", "s16le", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := make([]int16, len(b)/2)
	if err := binary.Read(bytes.NewReader(b), binary.LittleEndian, want); err != nil {
		t.Fatal(err)
	}
	got := make([]int16, 300*FrameSamples)
	d := New()
	for i := 0; i < len(coded); i += 2 * FrameBytes {
		if err := d.Decode(got[i*8:][:2*FrameSamples], coded[i:][:2*FrameBytes]); err != nil {
			t.Fatal(err)
		}
	}
	var s, n float64
	for i := range min(len(got), len(want)) {
		e := float64(got[i]) - float64(want[i])
		s, n = s+float64(want[i])*float64(want[i]), n+e*e
	}
	snr := 10 * math.Log10(s/math.Max(n, 1e-9))
	t.Logf("%.1f dB, %d and %d samples", snr, len(got), len(want))
	if snr < 15 { // on random bits; the two differ in the postfilter
		t.Errorf("%.1f dB from the reference", snr)
	}
}

// A payload may end in comfort noise; other lengths are refused.
func TestLengths(t *testing.T) {
	d := New()
	for n, ok := range map[int]bool{10: true, 20: true, 2: true, 12: true, 11: false, 1: false} {
		dst := make([]int16, 3*FrameSamples)
		if err := d.Decode(dst, make([]byte, n)); (err == nil) != ok {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if err := d.Conceal(make([]int16, 200), nil); err != nil {
		t.Error(err)
	}
}
