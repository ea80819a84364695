package leg

// Pitch search, in units of SampleRate: 50 to 250 Hz.
const (
	lagMin    = 32
	lagMax    = 160
	lagWindow = 80
)

// concealer covers up a short loss: it repeats the last pitch period and fades
// it out.
type concealer struct {
	past []int16 // the latest samples heard, lagMax+lagWindow units
	wide int     // samples a unit of them
	lag  int     // in samples
	run  int     // samples of the present loss covered so far
	mute bool    // silence has been played since: too late to cover anything
}

// heard remembers real audio, of so many samples a unit.
func (c *concealer) heard(b []int16, wide int) {
	c.run, c.mute = 0, false
	if c.wide != wide {
		c.wide = wide
		c.past = make([]int16, (lagMax+lagWindow)*wide)
	}
	past := c.past
	if len(b) >= len(past) {
		copy(past, b[len(b)-len(past):])
		return
	}
	n := copy(past, past[len(b):])
	copy(past[n:], b)
}

// silence remembers that nothing was played.
func (c *concealer) silence() { c.mute = true }

// conceal fills dst with what may have been there.
func (c *concealer) conceal(dst []int16) {
	if c.mute || c.wide == 0 {
		clear(dst)
		return
	}
	if c.run == 0 {
		c.lag = c.pitch()
	}
	limit := concealLimit * c.wide
	period := c.past[len(c.past)-c.lag:]
	for i := range dst {
		dst[i] = 0
		if left := limit - c.run; left > 0 {
			dst[i] = int16(int(period[c.run%c.lag]) * left / limit)
			c.run++
		}
	}
}

// pitch is the shift at which the latest samples resemble earlier ones most.
func (c *concealer) pitch() int {
	past, window := c.past, lagWindow*c.wide
	best, lag := int(^uint(0)>>1), lagMax*c.wide
	tail := past[len(past)-window:]
	for n := lagMin * c.wide; n <= lagMax*c.wide; n += c.wide {
		then := past[len(past)-window-n:][:window]
		sum := 0
		for i := 0; i < window; i += c.wide {
			d := int(tail[i]) - int(then[i])
			sum += max(d, -d)
		}
		if sum < best {
			best, lag = sum, n
		}
	}
	return lag
}
