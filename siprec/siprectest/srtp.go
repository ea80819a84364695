package siprectest

import (
	"net/netip"

	"siprecd/siprec/siprectest/keying"
	"siprecd/siprec/siprectest/rtpsend"
)

// keys are the keying of one leg of one call.
type keys struct {
	*keying.Secret
	begun, done bool // a handshake
}

// Rekey gives a leg a new key, which the next ReInvite offers.
func (c *Call) Rekey(leg int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys[leg].Rekey()
	c.keys[leg].Line(&c.sdp.Lines[leg])
}

// secure puts the answered keys of a leg in force; false: the leg must not
// send yet.
func (c *Call) secure(i int, a AnswerLine) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[i]
	if k == nil || k.Plain {
		return true
	}
	if k.Handshakes() {
		return c.handshake(i, k, a)
	}
	f, changed, err := k.Answered(a)
	if err != nil {
		c.report.Notes = append(c.report.Notes, "leg "+c.plan.Legs[i].Label+": "+err.Error())
		return false
	}
	if changed {
		c.streams[i].Secure(f)
	}
	k.Line(&c.sdp.Lines[i])
	return true
}

// handshake begins the handshake of a leg once it is answered, in a goroutine
// that drop waits for. It returns whether the leg has keys already. The caller
// holds mu.
func (c *Call) handshake(i int, k *keys, a AnswerLine) bool {
	if k.begun || a.Fingerprint == "" {
		return k.done
	}
	k.begun = true
	c.shakes.Go(func() {
		err := k.Shake(c.over, c.streams[i].Conn(), a, func(f rtpsend.Protect) {
			c.streams[i].Secure(f)
			c.streams[i].Aim(netip.AddrPortFrom(a.Addr, uint16(a.Port)))
			c.mu.Lock()
			k.done = true
			c.mu.Unlock()
		})
		if err != nil {
			c.addNote("leg " + c.plan.Legs[i].Label + ": " + err.Error())
		}
	})
	return false
}
