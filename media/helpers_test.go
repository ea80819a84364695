package media

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"

	"siprecd/media/leg"
)

var (
	sbc     = netip.MustParseAddrPort("127.0.0.1:30000")
	g711Set = map[uint8]Codec{
		0:   {Encoding: "PCMU", Clock: 8000, Channels: 1},
		8:   {Encoding: "PCMA", Clock: 8000, Channels: 1},
		13:  {Encoding: "CN", Clock: 8000},
		101: {Encoding: "telephone-event", Clock: 8000},
	}
)

// rtpBytes builds an RTP packet.
func rtpBytes(pt uint8, seq uint16, ts, ssrc uint32, payload []byte) []byte {
	b := []byte{0x80, pt, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], ts)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	return append(b, payload...)
}

// encodeA codes samples by A-law (ITU-T G.711).
func encodeA(pcm []int16) []byte {
	out := make([]byte, len(pcm))
	for i, v := range pcm {
		sign, m := byte(0x80), int(v)
		if m < 0 {
			sign, m = 0, -m-1
		}
		seg := 0
		for m>>(seg+8) > 0 && seg < 7 {
			seg++
		}
		step := m >> 4
		if seg > 0 {
			step = m >> (seg + 3)
		}
		out[i] = (sign | byte(seg<<4) | byte(step&0x0f)) ^ 0x55
	}
	return out
}

// tone is a sine of n samples at 8 kHz.
func tone(hz, amplitude float64, n int) []int16 {
	out := make([]int16, n)
	for i := range out {
		out[i] = int16(math.Round(amplitude * math.Sin(2*math.Pi*hz*float64(i)/leg.SampleRate)))
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

func mono() StreamConfig {
	return StreamConfig{Name: "1", Side: Left, Codecs: g711Set, Source: sbc}
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

// at is when packet n of 20 ms is sent.
func at(n int) time.Duration { return time.Duration(n) * frameTime }

// frame20 is a packet's length in samples.
const frame20 = 160
