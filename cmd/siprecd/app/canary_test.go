package app

import (
	"math"
	"strings"
	"testing"
	"time"

	"siprecd/media"
)

// sine is two seconds of a tone at the canary's level, 48 kHz.
func sine(hz float64) []int16 {
	pcm := make([]int16, 2*media.DecodedRate)
	peak := 32767 * math.Pow(10, canaryLevel/20)
	for i := range pcm {
		pcm[i] = int16(peak * math.Sin(2*math.Pi*hz*float64(i)/media.DecodedRate))
	}
	return pcm
}

func TestCanaryJudges(t *testing.T) {
	left, right, silence := sine(CanaryLeft), sine(CanaryRight), make([]int16, 2*media.DecodedRate)
	for _, c := range []struct {
		name     string
		length   time.Duration
		channels [][]int16
		want     string // part of the error; "" for none
	}{
		{"as it should be", 2 * time.Second, [][]int16{left, right}, ""},
		{"too short", 1800 * time.Millisecond, [][]int16{left, right}, "long"},
		{"our side silent", 2 * time.Second, [][]int16{left, silence}, "tones"},
		{"sides swapped", 2 * time.Second, [][]int16{right, left}, "tones"},
		{"both in both", 2 * time.Second, [][]int16{sum(left, right), sum(left, right)}, "channels"},
		{"nothing", 2 * time.Second, [][]int16{{}, {}}, "tones"},
		{"mono", 2 * time.Second, [][]int16{sum(left, right)}, ""},
		{"mono, one party", 2 * time.Second, [][]int16{left}, "tones"},
	} {
		r := CanaryResult{Length: c.length, Call: 2 * time.Second}
		err := r.judge(&media.Audio{Channels: c.channels})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func sum(a, b []int16) []int16 {
	out := make([]int16, len(a))
	for i := range a {
		out[i] = a[i] + b[i]
	}
	return out
}

func TestCanaryTarget(t *testing.T) {
	for _, c := range []struct {
		addrs []string
		want  string
	}{
		{[]string{"tls://10.0.0.5:5061", "tcp://10.0.0.5:5060"}, "tcp://10.0.0.5:5060"},
		{[]string{"udp://[::]:5060"}, "udp://127.0.0.1:5060"},
		{[]string{"tls://0.0.0.0:5061"}, "tls://127.0.0.1:5061"},
	} {
		if got := CanaryTarget(c.addrs); got != c.want {
			t.Errorf("%v: %s, want %s", c.addrs, got, c.want)
		}
	}
}
