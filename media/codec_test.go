package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"siprecd/media/leg"
	"siprecd/media/ogg"
)

// wave is speech-like audio of any rate up to a frequency: the same at every
// rate.
func wave(rate int, seconds float64, top float64) []int16 {
	rnd := rand.New(rand.NewPCG(11, 12))
	out := make([]int16, int(seconds*float64(rate)))
	for range 40 {
		hz, phase, beat := 100+rnd.Float64()*(top-100), rnd.Float64()*6, 1+3*rnd.Float64()
		amp := 3000 / (1 + hz/800)
		for i := range out {
			x := float64(i) / float64(rate)
			out[i] += int16(amp * math.Sin(phase+2*math.Pi*hz*x) * (0.6 + 0.4*math.Sin(2*math.Pi*beat*x)))
		}
	}
	return out
}

func le(pcm []int16) []byte {
	b := make([]byte, 0, 2*len(pcm))
	for _, v := range pcm {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	return b
}

func fromLE(b []byte) []int16 {
	out := make([]int16, len(b)/2)
	for i := range out {
		out[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return out
}

// pipe runs an outside program.
func pipe(t *testing.T, in []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, stderr.Bytes())
	}
	return out
}

// raw are ffmpeg's words for samples.
func raw(rate, channels int) []string {
	return []string{"-f", "s16le", "-ar", strconv.Itoa(rate), "-ac", strconv.Itoa(channels)}
}

// ffmpeg turns samples into something else.
func ffmpeg(t *testing.T, pcm []int16, rate, channels int, to ...string) []byte {
	t.Helper()
	args := append([]string{"-v", "error"}, raw(rate, channels)...)
	return pipe(t, le(pcm), "ffmpeg", append(append(args, "-i", "-"), append(to, "-")...)...)
}

// opusFile has libopus code samples, and returns the file and its packets.
func opusFile(t *testing.T, pcm []int16, rate, channels int, options ...string) ([]byte, [][]byte) {
	t.Helper()
	file := ffmpeg(t, pcm, rate, channels, append([]string{"-c:a", "libopus"}, append(options, "-f", "ogg")...)...)
	r, err := ogg.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var packets [][]byte
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return file, packets
		}
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, bytes.Clone(p.Data))
	}
}

// opusReference is what opusdec makes of a file, with the pre-skip put back as
// silence.
func opusReference(t *testing.T, file []byte) []int16 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "in.opus")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out := fromLE(pipe(t, nil, "opusdec", "--quiet", "--no-dither", "--rate", "48000", path, "-"))
	if len(out) > 22 && string(le(out[:2])) == "RIFF" {
		out = out[22:]
	}
	return out
}

// cut makes payloads of so many bytes.
func cut(b []byte, size int) (out [][]byte) {
	for ; len(b) >= size; b = b[size:] {
		out = append(out, b[:size])
	}
	return out
}

// snr is by how much the error is below the wanted audio, in dB.
func snr(want, got []int16) float64 {
	var s, n float64
	for i, v := range want[:min(len(want), len(got))] {
		d := float64(v) - float64(got[i])
		s, n = s+float64(v)*float64(v), n+d*d
	}
	return 10 * math.Log10(s/math.Max(n, 1e-9))
}

// hear sends payloads through a track of the given rate and returns what is
// heard. lost may name packets that do not arrive.
func hear(t *testing.T, c Codec, rate int, ptime time.Duration, payloads [][]byte, lost func(int) bool) ([]int16, StreamStats) {
	t.Helper()
	cfg := mono()
	cfg.Codecs = map[uint8]Codec{96: c}
	tr := leg.New(cfg, leg.Place{Start: time.Unix(1e9, 0), Depth: DefaultDepth, Rate: rate, Opus: openVoice})
	var out []int16
	step := int(ptime * time.Duration(c.Clock) / time.Second)
	frame := make([]int16, rate/50)
	for n, p := range payloads {
		at := time.Duration(n) * ptime
		for float64(len(out)+len(frame))/float64(rate) < (at - DefaultDepth).Seconds() {
			tr.Read(frame)
			out = append(out, frame...)
		}
		if lost == nil || !lost(n) {
			tr.Push(rtpBytes(96, uint16(n), uint32(n*step), 1, p), sbc, at)
		}
	}
	for len(out) < int(float64(rate)*(time.Duration(len(payloads))*ptime).Seconds()) {
		tr.Read(frame)
		out = append(out, frame...)
	}
	return out, *tr.Stats()
}

// Each codec comes out as its reference decoder has it, at its own rate, for
// every usual packet time.
func TestCodecsAgainstReferences(t *testing.T) {
	const seconds = 2.4
	g722 := ffmpeg(t, wave(16000, seconds, 7000), 16000, 1, "-c:a", "g722", "-f", "g722")
	g722Want := fromLE(pipe(t, g722, "ffmpeg", "-v", "error", "-f", "g722", "-i", "-", "-f", "s16le", "-"))
	type test struct {
		name     string
		codec    Codec
		rate     int
		ptime    time.Duration
		payloads [][]byte
		want     []int16
		least    float64 // dB
	}
	var tests []test
	for _, ms := range []int{10, 20, 30, 40, 60} {
		ptime := time.Duration(ms) * time.Millisecond
		tests = append(tests, test{"G.722", Codec{Encoding: "G722", Clock: 8000, Channels: 1}, 16000, ptime, cut(g722, 8*ms), g722Want, 120})
		if ms != 30 {
			options := []string{"-application", "voip", "-frame_duration", strconv.Itoa(ms), "-b:a", "24k"}
			file, packets := opusFile(t, wave(48000, seconds, 7000), 48000, 1, options...)
			tests = append(tests, test{"Opus mono", Codec{Encoding: "opus", Clock: 48000, Channels: 2}, 48000, ptime, packets, opusReference(t, file), 60})
		}
		for _, rate := range []int{8000, 16000, 48000} {
			if n := 2 * rate / 1000 * ms; n <= 1500 {
				pcm := wave(rate, seconds, 3400)
				be := ffmpeg(t, pcm, rate, 1, "-f", "s16be")
				tests = append(tests, test{"L16/" + strconv.Itoa(rate), Codec{Encoding: "L16", Clock: rate, Channels: 1}, rate, ptime, cut(be, n), pcm, 120})
			}
		}
		pcm := ffmpeg(t, wave(8000, seconds, 3400), 8000, 1, "-f", "mulaw")
		want := fromLE(pipe(t, pcm, "ffmpeg", "-v", "error", "-f", "mulaw", "-ar", "8000", "-i", "-", "-f", "s16le", "-"))
		tests = append(tests, test{"PCMU", Codec{Encoding: "PCMU", Clock: 8000, Channels: 1}, 8000, ptime, cut(pcm, 8*ms), want, 120})
	}
	two := make([]int16, 0, 2*48000)
	for _, v := range wave(48000, seconds, 6000) {
		two = append(two, v, v/3)
	}
	file, packets := opusFile(t, two, 48000, 2, "-b:a", "64k")
	var folded []int16
	both := opusReference(t, file)
	for i := 0; i+1 < len(both); i += 2 {
		folded = append(folded, int16((int(both[i])+int(both[i+1]))/2))
	}
	tests = append(tests, test{"Opus stereo", Codec{Encoding: "opus", Clock: 48000, Channels: 2}, 48000, 20 * time.Millisecond, packets, folded, 40})
	two2 := ffmpeg(t, two, 48000, 2, "-ar", "8000", "-f", "s16be")
	var mean []int16
	for i := 0; i+3 < len(two2); i += 4 {
		mean = append(mean, int16((int(int16(binary.BigEndian.Uint16(two2[i:])))+int(int16(binary.BigEndian.Uint16(two2[i+2:]))))/2))
	}
	tests = append(tests, test{"L16 stereo", Codec{Encoding: "L16", Clock: 8000, Channels: 2}, 8000, 20 * time.Millisecond, cut(two2, 640), mean, 120})
	for _, c := range tests {
		t.Run(c.name+" "+c.ptime.String(), func(t *testing.T) {
			out, stats := hear(t, c.codec, c.rate, c.ptime, c.payloads, nil)
			if c.codec.Encoding == "opus" {
				out = out[PreSkip:]
			}
			n := min(len(out), len(c.want)) * 9 / 10
			if d := snr(c.want[:n], out[:n]); d < c.least {
				t.Errorf("%.1f dB from the reference, want %.0f", d, c.least)
			}
			if stats.Lost+stats.Late+stats.Malformed != 0 || stats.Packets != uint64(len(c.payloads)) {
				t.Errorf("counts: %+v", stats)
			}
		})
	}
}
