package media

import (
	"fmt"
	"runtime/debug"
	"time"
)

// guarded runs a step that handles what the call's senders sent. A panic in it
// is a bug of ours, on bytes from elsewhere: the worker's other calls must not
// suffer. This call is broken from then on: what comes for it is thrown away
// unread, and Broken says why until it is finished.
func (c *Call) guarded(step func()) {
	if c.broken {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			c.broken = true
			c.mu.Lock()
			c.fault = fmt.Sprintf("%v\n%s", r, debug.Stack())
			c.mu.Unlock()
			c.eng.broken.Add(1)
		}
	}()
	step()
}

// Broken is why nothing more is recorded of the call, for a log: a panic and
// its stack. "" says that nothing is wrong.
func (c *Call) Broken() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault
}

// waste empties a broken call's socket.
func (c *Call) waste(s *Stream) {
	for range maxBatches {
		if s.sock == nil || c.w.rx.Read(s.sock) == 0 {
			return
		}
	}
}

// wreck is the account of a broken call: as long as what the sink has.
func (k *core) wreck() Summary {
	total := max(0, k.frames*FrameSamples-PreSkip)
	sum := Summary{Samples: total, Duration: time.Duration(total) * time.Second / maxRate, Failed: k.failed, Broken: true}
	for _, t := range k.tracks {
		sum.Streams = append(sum.Streams, *t.Stats())
	}
	return sum
}
