// Package hear judges a recording by ear: an outsider (ffmpeg) decodes it, and
// what is heard is held against what was sent.
//
//	file ─► Decode ─► channels ─► Level: is the tone there, and how loud
//	                     └──────► Align: which 20 ms of Speechlike is heard where
//
// Speechlike is made so that no two stretches of it sound alike: a packet that
// is missing, doubled, moved or late shows as a window that does not match.
//
// Caveats: all of it is at 8 kHz. A lossy codec is between the two, so a match
// is a correlation, never equality.
package hear

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os/exec"
	"time"
)

// Rate is the sampling rate of everything here, Hz.
const Rate = 8000

// Decode lets ffmpeg decode a file: a slice of samples a channel.
func Decode(ctx context.Context, path string, channels int) ([][]int16, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-loglevel", "error", "-xerror", "-i", path,
		"-f", "s16le", "-ar", fmt.Sprint(Rate), "-ac", fmt.Sprint(channels), "-")
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("decode %s: %w: %s", path, err, &errs)
	}
	raw := out.Bytes()
	pcm := make([][]int16, channels)
	for i := 0; i+2*channels <= len(raw); i += 2 * channels {
		for c := range pcm {
			pcm[c] = append(pcm[c], int16(binary.LittleEndian.Uint16(raw[i+2*c:])))
		}
	}
	return pcm, nil
}

// Level is the level of a tone within the samples, in dB of full scale (RMS of
// a sine at full scale: -3.01); -200 for none.
func Level(pcm []int16, hz float64) float64 {
	var re, im float64
	for i, v := range pcm {
		s, c := math.Sincos(2 * math.Pi * hz * float64(i) / Rate)
		re += float64(v) * c
		im += float64(v) * s
	}
	if len(pcm) == 0 {
		return -200
	}
	rms := math.Hypot(re, im) * math.Sqrt2 / float64(len(pcm)) / 32768
	return max(-200, 20*math.Log10(rms))
}

// Speechlike is n samples of sweeps from 300 to 3300 Hz, of lengths from 0.4 to
// 0.75 s in turns, at -15 dBFS. It repeats after 4.6 s.
func Speechlike(n int) []int16 {
	const low, high = 300.0, 3300.0
	pcm := make([]int16, 0, n)
	phase := 0.0
	for k := 0; len(pcm) < n; k = (k + 1) % 8 {
		length := Rate * (8 + k) / 20
		for i := 0; i < length && len(pcm) < n; i++ {
			pcm = append(pcm, int16(math.Round(5800*math.Sin(phase))))
			phase += 2 * math.Pi * (low + (high-low)*float64(i)/float64(length)) / Rate
		}
	}
	return pcm
}

// Window is the length of a match: one packet's.
const Window = Rate / 50

// Match is where one window of what was sent is heard.
type Match struct {
	At     time.Duration // in what was sent
	Heard  time.Duration // in what is heard
	Likely float64       // the correlation, 1 for the same
}

// sure is the correlation that ends a search: what follows cannot be much
// better, and is further off.
const sure = 0.95

// Align finds each window of sent in heard, at most reach away from where it
// would be if the whole began at start. The nearest place that fits well is
// taken, and the best one when none does.
func Align(sent, heard []int16, start, reach time.Duration) []Match {
	var out []Match
	from, span := samples(start), samples(reach)
	for at := 0; at+Window <= len(sent); at += Window {
		want := sent[at : at+Window]
		best := Match{At: length(at), Likely: -1}
		for i := 0; i <= 2*span && best.Likely < sure; i++ {
			pos := at + from + (i+1)/2 // 0, +1, -1, +2, -2 ...
			if i%2 == 0 {
				pos = at + from - i/2
			}
			if pos < 0 || pos+Window > len(heard) {
				continue
			}
			if c := correlation(want, heard[pos:pos+Window]); c > best.Likely {
				best.Likely, best.Heard = c, length(pos)
			}
		}
		out = append(out, best)
	}
	return out
}

// Start is where in heard the beginning of sent is, within limit: where the
// first fifth of a second fits best.
func Start(sent, heard []int16, limit time.Duration) time.Duration {
	want := sent[:min(len(sent), Rate/5)]
	at, best := 0, -1.0
	for pos := 0; pos <= samples(limit) && pos+len(want) <= len(heard); pos++ {
		if c := correlation(want, heard[pos:pos+len(want)]); c > best {
			at, best = pos, c
		}
	}
	return length(at)
}

func correlation(a, b []int16) float64 {
	var ab, aa, bb int64
	for i, v := range a {
		x, y := int64(v), int64(b[i])
		ab += x * y
		aa += x * x
		bb += y * y
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return float64(ab) / math.Sqrt(float64(aa)*float64(bb))
}

func samples(d time.Duration) int { return int(d * Rate / time.Second) }
func length(n int) time.Duration  { return time.Duration(n) * time.Second / Rate }
