package secure

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// Guard opens the packets of one stream. It belongs to one goroutine. In the
// steady state it allocates nothing but what pion/srtp does.
type Guard struct {
	now     *ring // nil: no keys yet
	old     *ring // nil: none that is still good
	stats   Stats
	header  rtp.Header
	out     [packetBytes]byte
	run     int           // failures since the last success
	last    time.Duration // of the last success, on the stream's clock
	guesses guesses
}

// ring is one set of keys in use.
type ring struct {
	keys   Keys
	id     [sha256.Size]byte
	ctx    *srtp.Context
	probe  *srtp.Context // where guesses are tried, lest they spoil ctx
	opened uint64
	first  time.Duration // when something was opened first
	ssrc   uint32        // sender of the RTP packet opened last
	newest uint16        // and its newest sequence number
}

// NewGuard returns a Guard for a stream that is to be keyed; method is "sdes" or
// "dtls". It opens nothing before Use.
func NewGuard(method string) *Guard { return &Guard{stats: Stats{Method: method}} }

// Stats is what was counted so far.
func (g *Guard) Stats() *Stats { return &g.stats }

// Ready says that there are keys.
func (g *Guard) Ready() bool { return g.now != nil }

// Early counts a packet that came before there were keys.
func (g *Guard) Early() { g.stats.Early++ }

// Fail notes why a handshake failed. Nothing is opened with its keys.
func (g *Guard) Fail(err error) {
	g.stats.Error, g.stats.Blocked = err.Error(), true
}

// Anew readies a Guard for a stream that goes on in another call: what was
// counted belongs to the one before, the keys and what they have seen go on. The
// new clock is ahead of the old one by the given time.
func (g *Guard) Anew(ahead time.Duration) {
	g.stats.Opened, g.stats.Failed, g.stats.Replays, g.stats.Early = 0, 0, 0, 0
	g.stats.Blocked = g.stats.Error != ""
	g.run = 0
	g.last += ahead
	g.guesses.at += ahead
	for _, r := range []*ring{g.now, g.old} {
		if r != nil {
			r.first += ahead
		}
	}
}

// Use puts keys in force. The same ones again change nothing; with other ones
// the present ones stay good for a while.
func (g *Guard) Use(k Keys, method string) error {
	r, err := newRing(k)
	if err != nil {
		return err
	}
	if g.now != nil && g.now.id == r.id {
		return nil
	}
	if g.now != nil && (g.now.opened > 0 || g.old == nil) {
		g.old = g.now
	}
	g.now = r
	g.run = 0
	g.guesses = guesses{left: maxGuesses}
	g.stats.Method, g.stats.Suite, g.stats.Error, g.stats.Blocked = method, k.Suite, "", false
	return nil
}

func newRing(k Keys) (*ring, error) {
	if err := k.Check(); err != nil {
		return nil, err
	}
	ctx, err := newContext(k)
	if err != nil {
		return nil, err
	}
	return &ring{keys: k, id: k.digest(), ctx: ctx}, nil
}

func newContext(k Keys) (*srtp.Context, error) {
	s, _ := lookup(k.Suite)
	n, err := s.profile.KeyLen()
	if err != nil {
		return nil, fmt.Errorf("secure: %w", err)
	}
	opts := []srtp.ContextOption{srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(replayWindow)}
	if len(k.Keys[0].MKI) > 0 {
		opts = append(opts, srtp.MasterKeyIndicator(k.Keys[0].MKI))
	}
	ctx, err := srtp.CreateContext(k.Keys[0].KeySalt[:n], k.Keys[0].KeySalt[n:], s.profile, opts...)
	if err != nil {
		return nil, fmt.Errorf("secure: %w", err)
	}
	for _, m := range k.Keys[1:] {
		if err := ctx.AddCipherForMKI(m.MKI, m.KeySalt[:n], m.KeySalt[n:]); err != nil {
			return nil, fmt.Errorf("secure: %w", err)
		}
	}
	return ctx, nil
}

// Open takes the encryption off an RTP or RTCP packet that arrived at the
// given time of the stream's clock. It returns nil for what is not authentic or
// not fresh. The result is good until the next call.
func (g *Guard) Open(b []byte, at time.Duration) []byte {
	if g.now == nil {
		g.stats.Early++
		return nil
	}
	if len(b) < 12 || len(b) > packetBytes {
		g.fail(at)
		return nil
	}
	g.retire(at)
	p, with, replay := g.attempt(b, at)
	switch {
	case p != nil:
		g.good(with, at)
	case replay:
		g.stats.Replays++
		g.run++
		g.block(at)
	case isRTCP(b):
		g.stats.Failed++ // some clients leave it plain, and it is all that comes in a hold
	default:
		g.fail(at)
	}
	return p
}

// isRTCP says that a packet is RTCP by its second byte (RFC 5761 section 4).
func isRTCP(b []byte) bool { return b[1] >= 192 && b[1] <= 223 }

// attempt tries the keys that may have sealed a packet, and says which did.
func (g *Guard) attempt(b []byte, at time.Duration) (p []byte, with *ring, replay bool) {
	rtcp := isRTCP(b)
	if p, replay = g.try(g.now, b, rtcp); p != nil {
		return p, g.now, false
	}
	if replay {
		if !rtcp && g.now.far(b) {
			p = g.guess(b, at)
		}
		return p, g.now, p == nil
	}
	if g.old != nil {
		if p, replay = g.try(g.old, b, rtcp); p != nil || replay {
			return p, g.old, replay
		}
	}
	if rtcp {
		return nil, nil, false
	}
	return g.guess(b, at), g.now, false
}

// try opens a packet with one set of keys. replay says that these keys have
// seen it before.
func (g *Guard) try(r *ring, b []byte, rtcp bool) (p []byte, replay bool) {
	var err error
	if rtcp {
		p, err = r.ctx.DecryptRTCP(g.out[:0], b, nil)
	} else {
		p, err = r.ctx.DecryptRTP(g.out[:0], b, &g.header)
	}
	if err != nil {
		return nil, isReplay(err)
	}
	if !rtcp {
		r.note(b)
	}
	return p, false
}

// note keeps the newest sequence number of the sender.
func (r *ring) note(b []byte) {
	seq, ssrc := binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[8:])
	if ssrc != r.ssrc || r.newest-seq > replayWindow { // what is older was refused
		r.ssrc, r.newest = ssrc, seq
	}
}

// far says that a packet which looks like an old one may as well be half a
// cycle or more ahead: the client has gone on counting while it sent nothing.
func (r *ring) far(b []byte) bool {
	return binary.BigEndian.Uint32(b[8:]) == r.ssrc && r.newest-binary.BigEndian.Uint16(b[2:]) > replayWindow
}

// isReplay knows the error of pion/srtp for a packet that it has seen, which is
// not exported.
func isReplay(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if err.Error() == "duplicated packet" {
			return true
		}
	}
	return false
}

// good notes a success.
func (g *Guard) good(r *ring, at time.Duration) {
	if r.opened == 0 {
		r.first = at
	}
	r.opened++
	g.stats.Opened++
	g.run, g.last = 0, at
	g.stats.Blocked = false
	g.guesses.left = maxGuesses
}

// fail notes a packet that is not authentic.
func (g *Guard) fail(at time.Duration) {
	g.stats.Failed++
	g.run++
	g.block(at)
}

// block tells when nothing has been opened for long, though packets came.
func (g *Guard) block(at time.Duration) {
	if g.run >= blockedAfter && (g.stats.Opened == 0 || at-g.last >= blockedFor) {
		g.stats.Blocked = true
	}
}

// retire drops the old keys once the new ones have been in use for a while.
func (g *Guard) retire(at time.Duration) {
	if g.old != nil && g.now.opened > 0 && at-g.now.first > oldKeysLive {
		g.old = nil
	}
}

// Guessing rollovers. A forged packet costs a few attempts, so they are
// rationed; a success gives the whole ration back.
const (
	maxGuesses  = 64
	guessRefill = 250 * time.Millisecond // one more in this time
)

// guesses is the ration.
type guesses struct {
	left int
	at   time.Duration // of the last refill
}

// allowed takes one from the ration.
func (q *guesses) allowed(at time.Duration) bool {
	if n := int((at - q.at) / guessRefill); n > 0 {
		q.left, q.at = min(maxGuesses, q.left+n), at
	}
	if q.left == 0 {
		return false
	}
	q.left--
	return true
}

// guess tries rollover counters other than the one that the sequence numbers
// suggest. Only greater ones are tried: a replay stays what it is.
func (g *Guard) guess(b []byte, at time.Duration) []byte {
	from, to, ok := g.span(b)
	if !ok || !g.guesses.allowed(at) {
		return nil
	}
	if g.now.probe == nil {
		var err error
		if g.now.probe, err = newContext(g.now.keys); err != nil {
			return nil
		}
	}
	ssrc := binary.BigEndian.Uint32(b[8:])
	for roc := from; roc <= to; roc++ {
		g.now.probe.SetROC(ssrc, roc)
		if _, err := g.now.probe.DecryptRTP(g.out[:0], b, &g.header); err == nil {
			g.now.ctx.SetROC(ssrc, roc)
			g.now.ssrc, g.now.newest = ssrc, binary.BigEndian.Uint16(b[2:])
			p, _ := g.try(g.now, b, false)
			return p
		}
	}
	return nil
}

// span is the rollover counters that a packet may have which does not open as
// the next of its stream; false if there is nothing to guess from.
func (g *Guard) span(b []byte) (from, to uint32, ok bool) {
	ssrc := binary.BigEndian.Uint32(b[8:])
	known, ok := g.now.ctx.ROC(ssrc)
	if !ok {
		if g.old == nil {
			return 0, 0, false
		}
		from, ok = g.old.ctx.ROC(ssrc)
		return from, from + 1, ok && from != 0 // 0: a new key, and the client goes on counting as before
	}
	from, to = known+1, known+2 // the client has gone on counting while it sent nothing
	if ssrc == g.now.ssrc && binary.BigEndian.Uint16(b[2:]) > g.now.newest && g.now.far(b) {
		from = known // ahead in the same cycle
	}
	return from, to, true
}
