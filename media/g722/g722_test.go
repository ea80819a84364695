package g722

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os/exec"
	"testing"
)

// run pipes bytes through an outside program.
func run(t *testing.T, in []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

func samples(b []byte) []int16 {
	out := make([]int16, len(b)/2)
	for i := range out {
		out[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return out
}

// Every byte sequence decodes to what ffmpeg makes of it, sample by sample:
// coded speech-like audio and plain noise, which visits every table.
func TestAgainstReference(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 7))
	noise := make([]byte, 40000)
	for i := range noise {
		noise[i] = byte(rnd.UintN(256))
	}
	pcm := make([]byte, 0, 4*16000)
	for i := range 2 * 16000 {
		v := 9000*math.Sin(float64(i)*float64(i)*0.00003) + rnd.NormFloat64()*300
		pcm = binary.LittleEndian.AppendUint16(pcm, uint16(int16(v)))
	}
	coded := run(t, pcm, "ffmpeg", "-v", "error", "-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "-", "-c:a", "g722", "-f", "g722", "-")
	for name, codes := range map[string][]byte{"noise": noise, "sweep": coded} {
		want := samples(run(t, codes, "ffmpeg", "-v", "error", "-f", "g722", "-i", "-", "-f", "s16le", "-"))
		got := make([]int16, 2*len(codes))
		New().Decode(got, codes)
		if len(want) != len(got) {
			t.Fatalf("%s: %d samples, the reference gives %d", name, len(got), len(want))
		}
		differ := 0
		for i := range got {
			if got[i] != want[i] {
				differ++
			}
		}
		if differ > 0 {
			t.Errorf("%s: %d of %d samples differ", name, differ, len(got))
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0, 0xff, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		New().Decode(make([]int16, 2*len(b)), b)
	})
}

func BenchmarkSecond(b *testing.B) {
	d, src, dst := New(), make([]byte, 8000), make([]int16, 16000)
	for i := range src {
		src[i] = byte(i * 7919 >> 3)
	}
	b.ReportAllocs()
	for b.Loop() {
		d.Decode(dst, src)
	}
}
