package audio_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"siprecd/siprec/siprectest/audio"
	"siprecd/testdata/speech"
)

// decodeALaw and decodeMuLaw are the expansions of G.711 to 16 bits, written
// from the segment formulas.
func decodeALaw(code byte) int {
	code ^= 0x55
	seg, m := int(code>>4&7), int(code&0x0f)
	v := m<<4 + 8
	if seg > 0 {
		v = (v + 0x100) << (seg - 1)
	}
	if code&0x80 == 0 {
		return -v
	}
	return v
}

func decodeMuLaw(code byte) int {
	code = ^code
	v := (int(code&0x0f)<<3+0x84)<<(code>>4&7) - 0x84
	if code&0x80 != 0 {
		return -v
	}
	return v
}

// TestEncoders tries every sample: it comes back within half the step of its
// segment, a larger sample never as a smaller one, and every code as itself.
func TestEncoders(t *testing.T) {
	for name, c := range map[string]struct {
		encode func(int16) byte
		decode func(byte) int
		bias   int // of the segments
		floor  int // the smallest step
		top    int // what is larger is clipped
	}{
		"A-law":  {audio.EncodeALaw, decodeALaw, 0, 16, 32767},
		"mu-law": {audio.EncodeMuLaw, decodeMuLaw, 0x84, 8, 32635},
	} {
		last := math.MinInt
		for v := math.MinInt16; v <= math.MaxInt16; v++ {
			got := c.decode(c.encode(int16(v)))
			step := c.floor
			for step*32 <= abs(got)+c.bias {
				step *= 2
			}
			clipped := max(abs(v)-c.top, 0)
			if off := abs(got-v) - clipped; off > step/2+3 { // mu-law cuts two bits off first
				t.Fatalf("%s: %d becomes %d, off by %d with steps of %d", name, v, got, off, step)
			}
			if got < last {
				t.Fatalf("%s: %d becomes %d, its predecessor %d", name, v, got, last)
			}
			last = got
		}
		for code := range 256 {
			back := c.encode(int16(c.decode(byte(code))))
			if c.decode(back) != c.decode(byte(code)) {
				t.Errorf("%s: code %#x comes back as %#x", name, code, back)
			}
		}
	}
	if audio.EncodeALaw(0) != 0xd5 || audio.EncodeMuLaw(0) != 0xff {
		t.Error("silence is not 0xd5 and 0xff")
	}
}

func abs(v int) int { return max(v, -v) }

// wav writes a WAV file with a LIST chunk of odd length before the data.
func wav(rate, channels int, pcm []int16) []byte {
	var b bytes.Buffer
	le := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	b.WriteString("RIFF\x00\x00\x00\x00WAVEfmt ")
	le(uint32(16))
	le([]uint16{1, uint16(channels)})
	le([]uint32{uint32(rate), uint32(rate * channels * 2)})
	le([]uint16{uint16(channels * 2), 16})
	b.WriteString("LIST\x03\x00\x00\x00abc\x00data")
	le(uint32(2 * len(pcm)))
	le(pcm)
	return b.Bytes()
}

func sine(hz, rate, n, channels int) []int16 {
	pcm := make([]int16, n*channels)
	for i := range n {
		pcm[i*channels] = int16(10000 * math.Sin(2*math.Pi*float64(hz*i)/float64(rate)))
	}
	return pcm
}

func rms(pcm []int16) float64 {
	var sum float64
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(len(pcm)))
}

func TestReadWAV(t *testing.T) {
	for _, rate := range []int{8000, 16000, 48000} {
		got, err := audio.ReadWAV(wav(rate, 2, sine(1000, rate, rate, 2)))
		if err != nil || len(got) != 2 || got[0].Length() != time.Second {
			t.Fatalf("%d Hz: %v %d", rate, err, len(got))
		}
		if level := rms(got[0].PCM[100:7900]); math.Abs(level-10000/math.Sqrt2) > 50 {
			t.Errorf("%d Hz: 1 kHz comes out at RMS %.0f, want 7071", rate, level)
		}
		if level := rms(got[1].PCM); level != 0 {
			t.Errorf("%d Hz: the silent channel is at %.0f", rate, level)
		}
		want := sine(1000, 8000, 8000, 1)
		for i := 100; i < 7900; i++ {
			if abs(int(got[0].PCM[i])-int(want[i])) > 60 {
				t.Fatalf("%d Hz: sample %d is %d, want %d: delayed?", rate, i, got[0].PCM[i], want[i])
			}
		}
		if rate == 8000 {
			continue
		}
		alias, err := audio.ReadWAV(wav(rate, 1, sine(5000, rate, rate, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if level := rms(alias[0].PCM[100:7900]); level > 7 {
			t.Errorf("%d Hz: 5 kHz leaves %.1f, want 60 dB less than 7071", rate, level)
		}
	}
}

func TestReadWAVRefuses(t *testing.T) {
	good := wav(8000, 1, make([]int16, 80))
	edit := func(at int, v byte) []byte { b := bytes.Clone(good); b[at] = v; return b }
	for name, file := range map[string][]byte{
		"empty": nil, "no RIFF": edit(0, 'x'), "A-law": edit(20, 6), "8 bit": edit(34, 8), "5 channels": edit(22, 5),
		"44.1 kHz": wav(44100, 1, make([]int16, 80)), "no data": good[:48], "no audio": wav(8000, 1, nil),
	} {
		if _, err := audio.ReadWAV(file); !errors.Is(err, audio.ErrWAV) {
			t.Errorf("%s: %v, want ErrWAV", name, err)
		}
	}
	if got, err := audio.ReadWAV(good[:len(good)-41]); err != nil || len(got[0].PCM) != 59 {
		t.Errorf("a file cut short: %v, want its 59 whole samples", err)
	}
}

func FuzzReadWAV(f *testing.F) {
	f.Add(wav(16000, 2, sine(1000, 16000, 100, 2)))
	f.Add(wav(8000, 1, nil))
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := audio.ReadWAV(file)
		if (err == nil) != (len(got) > 0) {
			t.Errorf("%d channels and %v", len(got), err)
		}
	})
}

func TestTones(t *testing.T) {
	tone := audio.Tone(997, -20)
	if level := 20 * math.Log10(rms(tone.PCM)/32768); math.Abs(level+23.01) > 0.01 || !tone.Loop {
		t.Errorf("level %.2f dB, want -23.01", level)
	}
	long := tone.Limit(2500 * time.Millisecond)
	if len(long.PCM) != 20000 || long.PCM[8123] != tone.PCM[123] || long.PCM[16000] != tone.PCM[0] || long.Loop {
		t.Errorf("%d samples", len(long.PCM))
	}
	if short := (audio.Audio{PCM: []int16{1, 2}}).Limit(time.Millisecond); len(short.PCM) != 8 || short.PCM[1] != 2 || short.PCM[2] != 0 {
		t.Errorf("%v: want silence after the end", short.PCM)
	}
	beeps := audio.Beeps(1000, -6, 100*time.Millisecond, time.Second)
	if len(beeps.PCM) != 8000 || rms(beeps.PCM[:800]) < 1000 || rms(beeps.PCM[800:]) != 0 {
		t.Error("beeps are not 100 ms in every second")
	}
	if rms(audio.Silence().PCM) != 0 {
		t.Error("silence is not silent")
	}
}

// TestSpeech checks the built-in conversation: equally long, taking turns,
// about -20 dBFS while talking.
func TestSpeech(t *testing.T) {
	var talk [2][]bool
	for i, file := range [][]byte{speech.Caller(), speech.Agent()} {
		a, err := audio.ReadWAV(file)
		if err != nil || len(a) != 1 {
			t.Fatal(err)
		}
		var loud []int16
		for p := a[0].PCM; len(p) >= 800; p = p[800:] {
			on := rms(p[:800]) > 30
			talk[i] = append(talk[i], on)
			if on {
				loud = append(loud, p[:800]...)
			}
		}
		if level := 20 * math.Log10(rms(loud)/32768); math.Abs(level+20) > 1.5 {
			t.Errorf("side %d talks at %.1f dBFS, want -20", i, level)
		}
	}
	both, one := 0, 0
	for i := range talk[0] {
		if talk[0][i] && talk[1][i] {
			both++
		} else if talk[0][i] || talk[1][i] {
			one++
		}
	}
	if len(talk[0]) != len(talk[1]) || both > 3 || one < 40 {
		t.Errorf("lengths %d and %d tenths, %d with both talking, %d with one", len(talk[0]), len(talk[1]), both, one)
	}
}
