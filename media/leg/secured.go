package leg

import (
	"net/netip"
	"time"

	"siprecd/media/secure"
)

// maxEarly is how many packets are kept that come before a handshake is done.
const maxEarly = 100

// protection is what stands between a keyed stream's datagrams and its audio.
// A plain stream has none.
type protection struct {
	guard *secure.Guard
	early []early
}

// early is a packet that waits for keys.
type early struct {
	b    []byte
	from netip.AddrPort
	at   time.Duration
}

// protect puts newly agreed keys in force; nil: from now on the stream is
// plain. A handshake's keys come later, and what holds now holds until then.
func (t *Track) protect(k *secure.Keys) {
	switch {
	case k == nil:
		t.protection = protection{}
		t.stats.Security = secure.Stats{}
		return
	case k.DTLS != nil:
		if t.protection.guard == nil {
			t.protection.guard = secure.NewGuard("dtls")
		}
	default:
		if t.protection.guard == nil {
			t.protection.guard = secure.NewGuard("sdes")
		}
		if err := t.protection.guard.Use(*k, "sdes"); err != nil {
			t.protection.guard.Fail(err)
		}
	}
	t.stats.Security = *t.protection.guard.Stats()
}

// Unguard takes the decryption away from a stream that has ended and goes on in
// a call whose clock is ahead of this one's; nil: it is plain. What waits for
// keys is of the call that has ended: it is counted there, and dropped.
func (t *Track) Unguard(ahead time.Duration) *secure.Guard {
	g := t.protection.guard
	if g == nil {
		return nil
	}
	for range t.protection.early {
		g.Early()
	}
	t.stats.Security = *g.Stats()
	t.protection = protection{}
	g.Anew(ahead)
	return g
}

// UseKeys takes the outcome of a handshake. What came before it is heard at
// the time at which it came.
func (t *Track) UseKeys(k secure.Keys, err error) {
	g := t.protection.guard
	if g == nil {
		return // the stream is plain by now
	}
	if err == nil {
		err = g.Use(k, "dtls")
	}
	if err != nil {
		g.Fail(err)
	}
	list := t.protection.early
	t.protection.early = nil
	if g.Ready() {
		for _, e := range list {
			t.Push(e.b, e.from, e.at)
		}
	}
	t.stats.Security = *g.Stats()
}

// open takes the encryption off a datagram; false: there is nothing to hear in
// it.
func (t *Track) open(b []byte, from netip.AddrPort, arrival time.Duration) ([]byte, bool) {
	if secure.IsDTLS(b) && t.control != nil && t.control(b, from) {
		return nil, false
	}
	g := t.protection.guard
	if g == nil {
		return b, true
	}
	switch {
	case len(b) < rtpHeaderBytes || b[0]>>6 != 2:
		t.stats.Malformed++
		return nil, false
	case g.Ready():
		b = g.Open(b, arrival)
	case len(t.protection.early) < maxEarly && g.Stats().Error == "":
		t.protection.early = append(t.protection.early, early{append([]byte(nil), b...), from, arrival})
		return nil, false
	default:
		g.Early()
		b = nil
	}
	t.stats.Security = *g.Stats()
	return b, b != nil
}
