package leg

// Pitch search, in samples at 8 kHz: 50 to 250 Hz.
const (
	lagMin    = 32
	lagMax    = 160
	lagWindow = 80
)

// concealer covers up a short loss: it repeats the last pitch period and fades
// it out.
type concealer struct {
	past [lagMax + lagWindow]int16 // the latest samples heard
	lag  int
	run  int  // samples of the present loss covered so far
	mute bool // silence has been played since: too late to cover anything
}

// heard remembers real audio.
func (c *concealer) heard(b []int16) {
	c.run, c.mute = 0, false
	if len(b) >= len(c.past) {
		copy(c.past[:], b[len(b)-len(c.past):])
		return
	}
	n := copy(c.past[:], c.past[len(b):])
	copy(c.past[n:], b)
}

// silence fills dst with nothing.
func (c *concealer) silence(dst []int16) {
	clear(dst)
	c.mute = true
}

// conceal fills dst with what may have been there.
func (c *concealer) conceal(dst []int16) {
	if c.mute {
		clear(dst)
		return
	}
	if c.run == 0 {
		c.lag = c.pitch()
	}
	period := c.past[len(c.past)-c.lag:]
	for i := range dst {
		dst[i] = 0
		if left := concealLimit - c.run; left > 0 {
			dst[i] = int16(int(period[c.run%c.lag]) * left / concealLimit)
			c.run++
		}
	}
}

// pitch is the shift at which the latest samples resemble earlier ones most.
func (c *concealer) pitch() int {
	best, lag := int(^uint(0)>>1), lagMax
	tail := c.past[len(c.past)-lagWindow:]
	for n := lagMin; n <= lagMax; n++ {
		then := c.past[len(c.past)-lagWindow-n:][:lagWindow]
		sum := 0
		for i, v := range tail {
			d := int(v) - int(then[i])
			sum += max(d, -d)
		}
		if sum < best {
			best, lag = sum, n
		}
	}
	return lag
}
