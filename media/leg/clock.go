package leg

// SampleRate is the rate of G.711 and the unit in which time is counted here,
// whatever the rate of the audio: 125 µs. Audio of 16 kHz has two samples a
// unit, audio of 48 kHz has six.
const SampleRate = 8000

// maxWide is the greatest number of samples a unit.
const maxWide = 6

// ms is a thousandth of a second in units.
const ms = SampleRate / 1000

// What the clock makes of a packet's distance from where it was expected.
const (
	aheadLimit  = 60 * ms  // earlier than this cannot be: the anchor is wrong
	quickLimit  = 100 * ms // a delay that no packet of quickWindow undercuts is not jitter
	quickWindow = 500 * ms
	quickCount  = 6
	deadBand    = 15 * ms // drift smaller than this is left alone
	slowSeconds = 8       // window of the drift filter
	slowSettle  = 4 * SampleRate
	slowCount   = 20
)

// clock maps a stream's RTP time stamps to the call's timeline.
//
//	RTP time stamp ──anchor──► media position ──offset──► timeline position
//
// An anchor holds for an epoch: from one break in the time stamps to the next.
// The offset is what drift correction has inserted (positive) or dropped so
// far; it changes by single samples as audio is played.
type clock struct {
	rate  uint8  // what the time stamps count at, a multiple of SampleRate
	refTS uint32 // the newest packet's time stamp
	refAt int64  // and its media position
	seq   uint16 // its sequence number

	epoch        uint32
	epochSeq     uint16 // first packet of the epoch
	epochAt      int64
	epochArrival int64
	bias         int64 // how far its packets are ahead by nature (negative): see anchor

	offset int64
	slew   int64 // what the offset still has to change

	quick window
	slow  [slowSeconds]window
}

// window keeps the least delay (arrival minus media position) of its packets.
type window struct {
	start int64 // arrival of the first; for slow windows the second it stands for
	least int64
	n     int
}

func (w *window) add(v int64) {
	if w.n == 0 || v < w.least {
		w.least = v
	}
	w.n++
}

// place is the media position of a packet under the present anchor. A time
// stamp between two units is taken for the first, once and for all, so that
// nothing adds up.
func (c *clock) place(e *entry) int64 {
	ticks, rate := int64(int32(e.ts-c.refTS)), int64(max(1, c.rate))
	over := ticks % rate
	if over < 0 {
		over += rate
	}
	e.ts -= uint32(over)
	return c.refAt + (ticks-over)/rate
}

// late is how long after its place on the timeline a packet arrived.
func (c *clock) late(e *entry) int64 { return e.arrival - e.at - c.offset }

// follow makes a packet the newest of its epoch.
func (c *clock) follow(e *entry) {
	c.refTS, c.refAt, c.seq = e.ts, e.at, e.seq
}

// anchor begins an epoch: the packet's audio starts at the given media
// position. A sender that works in blocks lets packets go before their time;
// where the epoch cannot be moved early enough for that, because what is there
// has been played or the call had not begun, they stay ahead by the bias.
func (c *clock) anchor(e *entry, at int64) {
	e.at, c.rate = at, e.format.Clock
	c.follow(e)
	c.epoch++
	c.epochSeq, c.epochAt, c.epochArrival = e.seq, at, e.arrival
	c.slew, c.bias = 0, 0
	c.quick = window{}
	c.slow = [slowSeconds]window{}
}

// anchorAtArrival begins an epoch with a packet that is heard when it arrived.
func (c *clock) anchorAtArrival(e *entry) { c.anchor(e, e.arrival-c.offset) }

// observe learns from a packet that came in order. If the whole of the last
// half second was too late for jitter, the packet begins a new epoch.
func (c *clock) observe(e *entry) {
	raw := e.arrival - e.at
	if c.quick.n == 0 {
		c.quick.start = e.arrival
	}
	c.quick.add(raw)
	if e.arrival-c.quick.start >= quickWindow {
		if by := c.quick.least - c.offset; c.quick.n >= quickCount && by > quickLimit {
			c.anchor(e, e.at+by)
			return
		}
		c.quick = window{}
	}
	sec := e.arrival / SampleRate
	w := &c.slow[uint64(sec)%slowSeconds]
	if w.n == 0 || w.start != sec {
		c.judge(e.arrival)
		*w = window{start: sec}
	}
	w.add(raw)
}

// judge looks for drift, once a second: the least delay of the last seconds
// does not know jitter, so what is left of it is the sender's clock.
func (c *clock) judge(now int64) {
	if now-c.epochArrival < slowSettle {
		return
	}
	var all window
	for _, w := range c.slow {
		if w.n > 0 && w.start > now/SampleRate-slowSeconds {
			if all.n == 0 || w.least < all.least {
				all.least = w.least
			}
			all.n += w.n
		}
	}
	if all.n < slowCount {
		return
	}
	wrong := all.least - c.offset - c.bias
	if c.slew != 0 || wrong > deadBand || wrong < -deadBand {
		c.slew = wrong
	}
}

// step says how many samples to insert (1) or drop (-1) in the next stretch of
// audio, and counts it as done.
func (c *clock) step() int {
	switch {
	case c.slew > 0:
		c.slew--
		c.offset++
		return 1
	case c.slew < 0:
		c.slew++
		c.offset--
		return -1
	}
	return 0
}
