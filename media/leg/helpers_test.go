package leg

import (
	"encoding/binary"
	"math"
	"net/netip"
	"sync"
	"testing"
	"time"

	"siprecd/media/payload"
)

type law = payload.Law

var (
	muLaw, aLaw = payload.MuLaw, payload.ALaw

	sbc     = netip.MustParseAddrPort("127.0.0.1:30000")
	g711Set = map[uint8]Codec{
		0:   {Encoding: "PCMU", Clock: 8000, Channels: 1},
		8:   {Encoding: "PCMA", Clock: 8000, Channels: 1},
		13:  {Encoding: "CN", Clock: 8000},
		101: {Encoding: "telephone-event", Clock: 8000},
	}
)

// How the engine uses a track.
const (
	sweep     = 100 * time.Millisecond
	depth     = 200 * time.Millisecond
	batchTime = 300 * time.Millisecond
)

// rtpBytes builds an RTP packet.
func rtpBytes(pt uint8, seq uint16, ts, ssrc uint32, payload []byte) []byte {
	b := []byte{0x80, pt, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], ts)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	return append(b, payload...)
}

// coders hold the nearest code of each law for every sample.
var coders = map[*law]func() []byte{
	muLaw: sync.OnceValue(func() []byte { return coder(muLaw) }),
	aLaw:  sync.OnceValue(func() []byte { return coder(aLaw) }),
}

func coder(t *law) []byte {
	out := make([]byte, 65536)
	for v := range out {
		best := math.MaxInt
		for c, s := range t {
			d := int(s) - (v - 32768)
			if d = max(d, -d); d < best {
				best, out[v] = d, byte(c)
			}
		}
	}
	return out
}

// encodeLaw codes samples.
func encodeLaw(t *law, pcm []int16) []byte {
	table := coders[t]()
	out := make([]byte, len(pcm))
	for i, v := range pcm {
		out[i] = table[int(v)+32768]
	}
	return out
}

// tone is a sine of n samples at 8 kHz.
func tone(hz, amplitude float64, n int) []int16 {
	out := make([]int16, n)
	for i := range out {
		out[i] = int16(math.Round(amplitude * math.Sin(2*math.Pi*hz*float64(i)/SampleRate)))
	}
	return out
}

// clicks are n samples of silence with a short click every period samples,
// beginning at sample 0.
func clicks(period, n int) []int16 {
	out := make([]int16, n)
	for i := 0; i < n; i += period {
		for k := range min(8, n-i) {
			out[i+k] = 20000
		}
	}
	return out
}

// onsets finds where samples rise out of silence.
func onsets(pcm []int16) (at []int) {
	last := -1000
	for i, v := range pcm {
		if v > 8000 || v < -8000 {
			if i-last > 400 {
				at = append(at, i)
			}
			last = i
		}
	}
	return at
}

func mono() Config {
	return Config{Name: "1", Side: Left, Codecs: g711Set, Source: sbc}
}

// trackRig pushes packets into a track by hand and reads what it plays.
type trackRig struct {
	*Track
	now time.Duration
	out []int16
}

func newTrackRig(t *testing.T) *trackRig {
	t.Helper()
	return &trackRig{Track: New(mono(), Place{Start: time.Unix(1e9, 0), Depth: 200 * time.Millisecond})}
}

// send pushes an A-law packet at a time.
func (r *trackRig) send(at time.Duration, seq uint16, ts, ssrc uint32, pcm []int16) {
	r.run(at)
	r.Push(rtpBytes(8, seq, ts, ssrc, encodeLaw(aLaw, pcm)), sbc, at)
}

// run moves the clock forward, in sweeps of 100 ms, and plays what is old
// enough, in batches of 300 ms.
func (r *trackRig) run(to time.Duration) {
	for ; r.now <= to; r.now += sweep {
		r.Settle(Samples(r.now, SampleRate))
		for Duration(int64(len(r.out)))+batchTime <= r.now-depth {
			batch := make([]int16, 2400)
			r.Read(batch)
			r.out = append(r.out, batch...)
		}
	}
}

func rms(pcm []int16) float64 {
	sum := 0.0
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(len(pcm)))
}

// worstJump is the greatest step between neighbours.
func worstJump(pcm []int16) (worst int) {
	for i := 1; i < len(pcm); i++ {
		d := int(pcm[i]) - int(pcm[i-1])
		worst = max(worst, d, -d)
	}
	return worst
}

func decibel(a, b float64) float64 { return 20 * math.Log10(a/b) }
