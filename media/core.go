package media

import (
	"fmt"
	"math"
	"time"

	"siprecd/media/leg"
	"siprecd/media/limit"
)

// Limits of a call's work.
const (
	defaultBitrate = 36000
	maxRate        = 48000
	maxCatchUp     = 4  // batches encoded in one sweep when a worker was held up
	maxComplexity  = 10 // of libopus

	frameUnits = leg.SampleRate / 50                  // of a frame
	blockUnits = leg.SampleRate / limit.BlocksASecond // of a limiter's block
)

// core is the clockless part of a call: it holds the tracks, knows the
// timeline, and encodes when it is told the time.
type core struct {
	cfg        CallConfig
	depth      time.Duration
	batch      int // frames encoded at once, at most
	channels   int
	frame      int // samples a frame at the call's rate
	tracks     []*leg.Track
	limiters   [2]*limit.Limiter
	enc        *encoder
	frames     int64 // encoded so far
	complexity int   // of the encoder now
	read       int64 // units of the timeline (leg.SampleRate) read so far: one block more
	limit      int64 // the timeline's end at 48 kHz, once known
	failed     int   // frames that could not be encoded
}

// scratch is a worker's working memory for one batch of one call.
type scratch struct {
	native  []int16
	sum     [2][]int32
	talkers [2]int // added up in each since it was cleared
	pcm     []int16
	bufs    [][maxPacket]byte
	packets [][]byte
}

func newScratch(frames int) *scratch {
	n := frames*maxRate/50 + maxRate/limit.BlocksASecond
	s := &scratch{
		native:  make([]int16, n),
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
	case leg.SampleRate, 16000, maxRate:
	default:
		return nil, fmt.Errorf("media: no encoder rate of %d Hz; 8000, 16000 or 48000", cfg.Rate)
	}
	if cfg.Sink == nil {
		return nil, fmt.Errorf("media: a call without a sink")
	}
	if cfg.Bitrate == 0 {
		cfg.Bitrate = defaultBitrate
	}
	k.cfg, k.complexity = cfg, cfg.Complexity
	for i := range k.limiters[:k.channels] {
		k.limiters[i] = limit.New(cfg.Rate)
	}
	var err error
	if k.enc, err = newEncoder(cfg.Rate, k.channels, cfg.Bitrate, cfg.Complexity); err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	return k, nil
}

// add begins to listen to a stream.
func (k *core) add(cfg StreamConfig, at leg.Place) *leg.Track {
	at.Start, at.Depth, at.Cursor, at.Rate = k.cfg.Start, k.depth, k.read, k.cfg.Rate
	at.Opus = openVoice
	t := leg.New(cfg, at)
	k.tracks = append(k.tracks, t)
	return t
}

// advance encodes what is old enough at the given time since the call's start,
// in whole frames.
func (k *core) advance(now time.Duration, s *scratch) {
	for i, t := range k.tracks {
		t.Settle(leg.Samples(now, leg.SampleRate))
		for _, other := range k.tracks[:i] {
			leg.Align(other, t)
		}
	}
	for range maxCatchUp {
		due := int64((now-k.depth)/frameTime) - k.frames
		if due <= 0 {
			return
		}
		k.encode(int(min(due, int64(k.batch))), s)
	}
}

// setCeiling makes the encoder's complexity the configured one, or n if that is
// less. What cannot be set stays as it is.
func (k *core) setCeiling(n int) {
	if n = min(n, k.cfg.Complexity); n != k.complexity && k.enc.opus.SetComplexity(n) == nil {
		k.complexity = n
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
	k.limit = total
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
		sum.Digits = append(sum.Digits, t.Digits()...)
		sum.Gaps = append(sum.Gaps, t.Gaps(total*leg.SampleRate/maxRate)...)
	}
	return sum
}

// encode makes packets of the next frames of the timeline and hands them over.
func (k *core) encode(frames int, s *scratch) {
	k.widen(s)
	if k.read == 0 {
		k.gather(s, 0, blockUnits)
		k.carry(s, 0)
	}
	n := frames * k.frame
	block := len(k.limiters[0].Carry)
	k.gather(s, block, frames*frameUnits)
	pcm := s.pcm[:n*k.channels]
	for i, l := range k.limiters[:k.channels] {
		sum := s.sum[i][:block+n]
		copy(sum, l.Carry)
		l.Run(pcm[i:], k.channels, sum, s.talkers[i] <= 1)
	}
	k.carry(s, n)
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

// carry keeps the block of the sums that the limiters look ahead at.
func (k *core) carry(s *scratch, from int) {
	for i, l := range k.limiters[:k.channels] {
		copy(l.Carry, s.sum[i][from:])
	}
}

// widen takes the call to a higher rate if a stream has brought wider audio
// than any before. That audio still waits to be read, so none of it is lost.
// The streams go back by what the limiters had looked ahead at and by one frame
// before that, with which the new encoder is prepared: its first packet goes on
// where the last of the old one ended.
func (k *core) widen(s *scratch) {
	rate := k.cfg.Rate
	for _, t := range k.tracks {
		rate = max(rate, t.Widest())
	}
	if rate == k.cfg.Rate {
		return
	}
	enc, err := newEncoder(rate, k.channels, k.cfg.Bitrate, k.complexity)
	if err != nil {
		k.failed++
		return
	}
	back := 0
	if k.read > 0 {
		back = frameUnits + blockUnits
	}
	for _, t := range k.tracks {
		t.Widen(rate, back)
	}
	k.cfg.Rate, k.frame, k.enc = rate, rate/50, enc
	for i, l := range k.limiters[:k.channels] {
		k.limiters[i] = l.At(rate)
	}
	if back == 0 {
		return
	}
	k.read -= int64(back)
	k.gather(s, 0, back)
	k.carry(s, k.frame)
	pcm := s.pcm[:k.frame*k.channels]
	for i, l := range k.limiters[:k.channels] {
		for n, v := range s.sum[i][:k.frame] {
			pcm[n*k.channels+i] = l.Apply(v)
		}
	}
	k.enc.prime(pcm, &s.bufs[0])
}

// gather sums the next units of every channel into s.sum, from sample offset on.
func (k *core) gather(s *scratch, offset, units int) {
	n := units * k.cfg.Rate / leg.SampleRate
	for i := range k.channels {
		clear(s.sum[i][offset : offset+n])
		s.talkers[i] = 0
	}
	for _, t := range k.tracks {
		if t.Over() {
			continue
		}
		t.Read(s.native[:n])
		before, at, after := t.Sides()
		cut := int(max(0, min(at-k.read, int64(units)))) * n / units
		s.mixIn(k.channel(before), offset, s.native[:cut])
		s.mixIn(k.channel(after), offset+cut, s.native[cut:n])
	}
	k.read += int64(units)
}

// channel is where a side is heard.
func (k *core) channel(s Side) int {
	if s == Right && k.channels == 2 {
		return 1
	}
	return 0
}

// mixIn adds a talker to a channel from sample offset on.
func (s *scratch) mixIn(channel, offset int, pcm []int16) {
	if len(pcm) == 0 {
		return
	}
	s.talkers[channel]++
	sum := s.sum[channel][offset:]
	for i, v := range pcm {
		sum[i] += int32(v)
	}
}

// cut silences what lies beyond the timeline's end.
func (k *core) cut(pcm []int16) {
	left := max(0, k.limit-k.frames*FrameSamples) / int64(maxRate/k.cfg.Rate)
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
