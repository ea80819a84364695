package media

import (
	"fmt"
	"math"
	"time"

	"siprecd/media/leg"
)

// Limits of a call's work.
const (
	defaultBitrate = 36000
	maxRate        = 48000
	maxCatchUp     = 4 // batches encoded in one sweep when a worker was held up
)

// core is the clockless part of a call: it holds the tracks, knows the
// timeline, and encodes when it is told the time.
type core struct {
	cfg      CallConfig
	depth    time.Duration
	batch    int // frames
	channels int
	frame    int // samples a frame at the call's rate
	tracks   []*source
	filter   *filter // nil at the rate of the streams
	limiters [2]*limiter
	enc      *encoder
	frames   int64 // encoded so far
	read     int64 // samples read so far, at the call's rate: one block more
	limit    int64 // the timeline's end at the call's rate, once known
	failed   int   // frames that could not be encoded
}

// scratch is a worker's working memory for one batch of one call.
type scratch struct {
	native  []int16
	rated   []int16
	sum     [2][]int32
	pcm     []int16
	bufs    [][maxPacket]byte
	packets [][]byte
}

func newScratch(frames int) *scratch {
	n := frames*maxRate/50 + maxRate/blocksASec
	s := &scratch{
		native:  make([]int16, n),
		rated:   make([]int16, n),
		pcm:     make([]int16, 2*n),
		bufs:    make([][maxPacket]byte, frames),
		packets: make([][]byte, 0, frames),
	}
	s.sum[0], s.sum[1] = make([]int32, n), make([]int32, n)
	return s
}

// newCore checks the configuration and opens the encoder.
func newCore(cfg CallConfig, depth, batch time.Duration) (*core, error) {
	k := &core{cfg: cfg, depth: depth, batch: int(batch / frameTime), frame: cfg.Rate / 50, limit: math.MaxInt64}
	switch cfg.Layout {
	case Stereo:
		k.channels = 2
	case Mono:
		k.channels = 1
	default:
		return nil, fmt.Errorf("media: no layout %q", cfg.Layout)
	}
	switch cfg.Rate {
	case leg.SampleRate:
	case 16000, 48000:
		k.filter = newFilter(cfg.Rate / leg.SampleRate)
	default:
		return nil, fmt.Errorf("media: no encoder rate of %d Hz; 8000, 16000 or 48000", cfg.Rate)
	}
	if cfg.Sink == nil {
		return nil, fmt.Errorf("media: a call without a sink")
	}
	if cfg.Bitrate == 0 {
		cfg.Bitrate = defaultBitrate
	}
	for i := range k.limiters[:k.channels] {
		k.limiters[i] = newLimiter(cfg.Rate)
	}
	var err error
	if k.enc, err = newEncoder(cfg.Rate, k.channels, cfg.Bitrate, cfg.Complexity); err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	return k, nil
}

// source is a stream as the call hears it.
type source struct {
	*leg.Track
	up     *upsampler // nil at the rate of the streams
	primed bool       // and has been given what it looks ahead at
}

// add begins to listen to a stream.
func (k *core) add(cfg StreamConfig, at leg.Place) *leg.Track {
	at.Start, at.Depth = k.cfg.Start, k.depth
	at.Cursor = k.read * leg.SampleRate / int64(k.cfg.Rate)
	t := &source{Track: leg.New(cfg, at)}
	if k.filter != nil {
		t.up = &upsampler{filter: k.filter}
	}
	k.tracks = append(k.tracks, t)
	return t.Track
}

// advance encodes what is old enough at the given time since the call's start.
func (k *core) advance(now time.Duration, s *scratch) {
	for _, t := range k.tracks {
		t.Settle(leg.Samples(now, leg.SampleRate))
	}
	for range maxCatchUp {
		end := time.Duration(k.frames+int64(k.batch)) * frameTime
		if end > now-k.depth {
			return
		}
		k.encode(k.batch, s)
	}
}

// finish encodes the rest of a call that ended at end and accounts for it.
func (k *core) finish(end, now time.Duration, s *scratch) Summary {
	total := leg.Samples(end, maxRate)
	heard := int64(0)
	for _, t := range k.tracks {
		t.Settle(leg.Samples(now+time.Second, leg.SampleRate))
		if !t.Ended() {
			heard = max(heard, t.Received()*maxRate/leg.SampleRate)
		}
	}
	total = max(total, min(heard, total+leg.Samples(leg.MaxExtension, maxRate)), k.frames*FrameSamples-PreSkip, 0)
	k.limit = total * int64(k.cfg.Rate) / maxRate
	frames := int64(0)
	if total > 0 {
		frames = (total + PreSkip + FrameSamples - 1) / FrameSamples
	}
	for k.frames < frames {
		k.encode(int(min(int64(k.batch), frames-k.frames)), s)
	}
	sum := Summary{
		Samples:  total,
		Duration: time.Duration(total) * time.Second / maxRate,
		Failed:   k.failed,
	}
	for _, t := range k.tracks {
		sum.Streams = append(sum.Streams, *t.Stats())
		sum.Gaps = append(sum.Gaps, t.Gaps(total*leg.SampleRate/maxRate)...)
	}
	return sum
}

// encode makes packets of the next frames of the timeline and hands them over.
func (k *core) encode(frames int, s *scratch) {
	if k.read == 0 {
		k.gather(s, 0, len(k.limiters[0].carry))
		for i, l := range k.limiters[:k.channels] {
			copy(l.carry, s.sum[i])
		}
	}
	n := frames * k.frame
	block := len(k.limiters[0].carry)
	k.gather(s, block, n)
	pcm := s.pcm[:n*k.channels]
	for i, l := range k.limiters[:k.channels] {
		sum := s.sum[i][:block+n]
		copy(sum, l.carry)
		l.run(pcm[i:], k.channels, sum)
		copy(l.carry, sum[n:])
	}
	k.cut(pcm)
	s.packets = s.packets[:0]
	for i := range frames {
		p, err := k.enc.encode(pcm[i*k.frame*k.channels:(i+1)*k.frame*k.channels], &s.bufs[i])
		if err != nil {
			p = silentPacket(k.channels, &s.bufs[i])
			k.failed++
		}
		s.packets = append(s.packets, p)
	}
	k.frames += int64(frames)
	k.cfg.Sink.WritePackets(s.packets)
	for _, t := range k.tracks {
		t.Measure()
	}
}

// gather sums the next n samples of every channel into s.sum from offset on.
func (k *core) gather(s *scratch, offset, n int) {
	for i := range k.channels {
		clear(s.sum[i][offset : offset+n])
	}
	for _, t := range k.tracks {
		if t.Over() {
			continue
		}
		ch := 0
		if t.Stats().Side == Right && k.channels == 2 {
			ch = 1
		}
		sum := s.sum[ch][offset : offset+n]
		for i, v := range k.rated(t, s, n) {
			sum[i] += int32(v)
		}
	}
	k.read += int64(n)
}

// rated reads n samples of a track at the call's rate.
func (k *core) rated(t *source, s *scratch, n int) []int16 {
	if t.up == nil {
		t.Read(s.native[:n])
		return s.native[:n]
	}
	if !t.primed {
		t.primed = true
		var ahead [taps / 2]int16
		t.Read(ahead[:])
		t.up.prime(&ahead)
	}
	src := s.native[:n*leg.SampleRate/k.cfg.Rate]
	t.Read(src)
	t.up.run(s.rated[:n], src)
	return s.rated[:n]
}

// cut silences what lies beyond the timeline's end.
func (k *core) cut(pcm []int16) {
	left := max(0, k.limit-k.frames*int64(k.frame))
	if n := len(pcm) / k.channels; left < int64(n) {
		clear(pcm[int(left)*k.channels:])
	}
}

// silentPacket is a packet of 20 ms without a frame, which decoders fill with
// silence (RFC 6716 section 3.2.1): a SILK narrowband configuration.
func silentPacket(channels int, buf *[maxPacket]byte) []byte {
	buf[0] = 1 << 3
	if channels == 2 {
		buf[0] |= 1 << 2
	}
	return buf[:1:1]
}
