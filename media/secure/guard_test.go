package secure

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pion/srtp/v3"
)

// suites are all that are taken.
var suites = []string{
	"AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AES_256_CM_HMAC_SHA1_80",
	"AES_256_CM_HMAC_SHA1_32", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM",
}

// keysOf makes keys of a suite; n tells them apart.
func keysOf(name string, n byte, mki ...byte) Keys {
	b := make([]byte, KeyBytes(name))
	for i := range b {
		b[i] = n + byte(i)*7
	}
	return Keys{Suite: name, Keys: []Master{{KeySalt: b, MKI: mki}}}
}

// sender is the other side.
type sender struct {
	t   *testing.T
	ctx *srtp.Context
	seq uint16
	ts  uint32
}

const ssrc = 0x11223344

func newSender(t *testing.T, k Keys) *sender {
	t.Helper()
	s, ok := lookup(k.Suite)
	if !ok {
		t.Fatalf("no suite %s", k.Suite)
	}
	n, _ := s.profile.KeyLen()
	var opts []srtp.ContextOption
	if k.Keys[0].MKI != nil {
		opts = append(opts, srtp.MasterKeyIndicator(k.Keys[0].MKI))
	}
	ctx, err := srtp.CreateContext(k.Keys[0].KeySalt[:n], k.Keys[0].KeySalt[n:], s.profile, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return &sender{t: t, ctx: ctx}
}

// plain is the next packet, unencrypted.
func (s *sender) plain() []byte {
	b := make([]byte, 12+160)
	b[0], b[1] = 0x80, 8
	binary.BigEndian.PutUint16(b[2:], s.seq)
	binary.BigEndian.PutUint32(b[4:], s.ts)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	for i := range b[12:] {
		b[12+i] = byte(i) ^ byte(s.seq)
	}
	s.seq++
	s.ts += 160
	return b
}

// next is the next packet, plain and encrypted.
func (s *sender) next() (plain, sealed []byte) {
	s.t.Helper()
	plain = s.plain()
	sealed, err := s.ctx.EncryptRTP(nil, plain, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return plain, sealed
}

// opens sends n packets and wants all of them opened.
func (s *sender) opens(g *Guard, n int, at time.Duration) {
	s.t.Helper()
	for i := range n {
		plain, sealed := s.next()
		if got := g.Open(sealed, at); !bytes.Equal(got, plain) {
			s.t.Fatalf("packet %d of %d (number %d) does not open: %+v", i, n, s.seq-1, *g.Stats())
		}
	}
}

func guardOf(t *testing.T, k Keys) *Guard {
	t.Helper()
	g := NewGuard("sdes")
	if err := g.Use(k, "sdes"); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestEverySuite(t *testing.T) {
	for _, name := range suites {
		for _, mki := range [][]byte{nil, {0, 0, 0, 1}, {9}} {
			t.Run(fmt.Sprintf("%s mki %x", name, mki), func(t *testing.T) {
				k := keysOf(name, 1, mki...)
				s, g := newSender(t, k), guardOf(t, k)
				s.seq = 65500
				s.opens(g, 100, 0) // over the wrap: ROC 1
				rtcp := []byte{0x80, 200, 0, 6, 0x11, 0x22, 0x33, 0x44, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}
				sealed, err := s.ctx.EncryptRTCP(nil, rtcp, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got := g.Open(sealed, 0); !bytes.Equal(got, rtcp) {
					t.Error("RTCP does not open")
				}
				if got := g.Open(sealed, 0); got != nil {
					t.Error("RTCP opens twice")
				}
				if st := *g.Stats(); st.Opened != 101 || st.Failed != 0 || st.Replays != 1 {
					t.Errorf("%+v", st)
				}
			})
		}
	}
	for _, name := range []string{"NULL_HMAC_SHA1_80", "F8_128_HMAC_SHA1_80", "AES_192_CM_HMAC_SHA1_80", ""} {
		if KeyBytes(name) != 0 {
			t.Errorf("%q is taken", name)
		}
	}
}

func TestSeveralKeysByMKI(t *testing.T) {
	a, b := keysOf(suites[0], 1, 0, 1), keysOf(suites[0], 2, 0, 2)
	g := guardOf(t, Keys{Suite: suites[0], Keys: append(a.Keys[:1:1], b.Keys...)})
	sa, sb := newSender(t, a), newSender(t, b)
	sa.opens(g, 10, 0)
	sb.seq = sa.seq
	sb.opens(g, 10, 0)
}

func TestReplaysFlipsAndPlainPacketsAreCounted(t *testing.T) {
	for _, name := range suites {
		t.Run(name, func(t *testing.T) {
			k := keysOf(name, 1)
			s, g := newSender(t, k), guardOf(t, k)
			s.opens(g, 3, 0)
			_, sealed := s.next()
			for bit := range len(sealed) * 8 {
				bad := bytes.Clone(sealed)
				bad[bit/8] ^= 1 << (bit % 8)
				if g.Open(bad, 0) != nil {
					t.Fatalf("bit %d flipped, and it opens", bit)
				}
			}
			if g.Open(s.plain(), 0) != nil {
				t.Error("a plain packet opens")
			}
			if g.Open(sealed, 0) == nil {
				t.Fatal("the true packet does not open after its forgeries")
			}
			for range 5 {
				if g.Open(sealed, 0) != nil {
					t.Error("a replay opens")
				}
			}
			if st := *g.Stats(); st.Replays < 5 || st.Failed < 1000 || st.Blocked {
				t.Errorf("%+v", st)
			}
		})
	}
}

func TestWhatCannotBeDecryptedIsTold(t *testing.T) {
	right, wrong := keysOf(suites[0], 1), keysOf(suites[0], 2)
	s, g := newSender(t, wrong), guardOf(t, right)
	for i := range 200 {
		_, sealed := s.next()
		if g.Open(sealed, 0) != nil {
			t.Fatal("opens with the wrong key")
		}
		if b := g.Stats().Blocked; b != (i+1 >= blockedAfter) {
			t.Fatalf("blocked %v after %d failures", b, i+1)
		}
	}
	good := newSender(t, right)
	good.opens(g, 1, time.Second)
	if g.Stats().Blocked {
		t.Error("blocked after a success")
	}
	for range 200 { // a burst of junk beside good packets is no alarm
		g.Open(s.plain(), time.Second)
	}
	if g.Stats().Blocked {
		t.Error("a burst of junk blocks")
	}
	for range 200 { // but the client has changed its key and told nobody
		g.Open(s.plain(), 10*time.Second)
	}
	if !g.Stats().Blocked {
		t.Error("a lasting failure is not told")
	}
}

func TestTheSameKeysAgainChangeNothing(t *testing.T) {
	k := keysOf(suites[0], 1)
	s, g := newSender(t, k), guardOf(t, k)
	s.seq = 65000
	s.opens(g, 1000, 0) // ROC 1
	_, old := s.next()
	g.Open(old, 0)
	if err := g.Use(keysOf(suites[0], 1), "sdes"); err != nil { // after a hold
		t.Fatal(err)
	}
	if g.Open(old, 2*time.Minute) != nil {
		t.Error("a packet from before the hold opens again")
	}
	s.opens(g, 100, 2*time.Minute)
}

func TestTheSenderCountsOnThroughALongHold(t *testing.T) {
	for _, skipped := range []int{20000, 40000, 65536, 100000, 140000} {
		for _, first := range []uint16{300, 65450} { // the latter wraps before the hold
			t.Run(fmt.Sprint(skipped, " from ", first), func(t *testing.T) {
				countsOn(t, skipped, first)
			})
		}
	}
}

func countsOn(t *testing.T, skipped int, first uint16) {
	for _, suite := range []string{suites[0], suites[5]} {
		t.Run(suite, func(t *testing.T) {
			k := keysOf(suite, 1)
			s, g := newSender(t, k), guardOf(t, k)
			s.seq = first
			s.opens(g, 200, 0)
			for range skipped {
				s.next()
			}
			s.opens(g, 100, time.Hour)
			if n := g.Stats().Failed; n != 0 {
				t.Errorf("%d failures", n)
			}
		})
	}
}

// In the next call of a session the clock begins anew: what is timed by it, the
// end of old keys and the ration of guesses, goes on as if it had not.
func TestTheNextCallHasAnotherClock(t *testing.T) {
	old, k := newSender(t, keysOf(suites[0], 1)), keysOf(suites[0], 2)
	g := guardOf(t, keysOf(suites[0], 1))
	old.seq = 65500
	old.opens(g, 100, time.Hour)
	if err := g.Use(k, "sdes"); err != nil {
		t.Fatal(err)
	}
	s := newSender(t, k)
	s.opens(g, 10, time.Hour)
	junk := old.plain()
	for i := range maxGuesses { // far ahead: each may be of another cycle
		binary.BigEndian.PutUint16(junk[2:], uint16(30000+i))
		g.Open(junk, time.Hour)
	}
	left := g.guesses.left
	g.Anew(-time.Hour)
	if st := *g.Stats(); st != (Stats{Method: "sdes", Suite: suites[0]}) {
		t.Errorf("a new call begins with %+v", st)
	}
	g.Open(junk, guessRefill*8)
	if left >= maxGuesses-8 || g.guesses.left != left+8-1 {
		t.Errorf("%d guesses left, then %d", left, g.guesses.left)
	}
	old.opens(g, 10, oldKeysLive)
	_, late := old.next()
	if g.Open(late, oldKeysLive+time.Second) != nil {
		t.Error("the old keys are still good")
	}
}

func TestRekeyDropsNothing(t *testing.T) {
	for name, again := range map[string]bool{"the count of rollovers begins again": true, "it goes on": false} {
		t.Run(name, func(t *testing.T) {
			a, b := keysOf(suites[0], 1), keysOf(suites[4], 2)
			sa, sb, g := newSender(t, a), newSender(t, b), guardOf(t, a)
			sa.seq = 65000
			sa.opens(g, 1000, 0)
			if err := g.Use(b, "sdes"); err != nil {
				t.Fatal(err)
			}
			sa.opens(g, 50, time.Second) // still the old key
			_, late := sa.next()
			sb.seq = sa.seq
			if !again {
				sb.ctx.SetROC(ssrc, 1)
			}
			sb.opens(g, 50, 2*time.Second)
			if g.Open(late, 2*time.Second) == nil {
				t.Error("a packet in flight under the old key is lost")
			}
			if st := *g.Stats(); st.Failed != 0 || st.Suite != suites[4] {
				t.Errorf("%+v", st)
			}
			sa.seq = sb.seq
			_, stale := sa.next()
			if g.Open(stale, time.Minute) != nil {
				t.Error("the old key is good for ever")
			}
		})
	}
}

func TestJunkMakesNoState(t *testing.T) {
	k := keysOf(suites[0], 1)
	s, g := newSender(t, k), guardOf(t, k)
	rng := rand.New(rand.NewPCG(1, 2))
	s.opens(g, 10, 0)
	for range 10000 {
		b := make([]byte, rng.IntN(300))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if len(b) > 12 {
			b[0] = 0x80
		}
		if g.Open(b, 0) != nil {
			t.Fatal("junk opens")
		}
	}
	if st := *g.Stats(); st.Failed+st.Replays != 10000 || st.Opened != 10 {
		t.Errorf("%+v", st)
	}
	s.opens(g, 10, 0)
}

func TestKeysDoNotPrint(t *testing.T) {
	k := keysOf(suites[0], 65)
	for _, f := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		for _, v := range []any{k, &k, k.Keys[0], k.Keys[0].KeySalt} {
			s := fmt.Sprintf(f, v)
			if strings.Contains(s, string(k.Keys[0].KeySalt)) || strings.Contains(s, fmt.Sprintf("%x", []byte(k.Keys[0].KeySalt))) ||
				strings.Contains(s, "65") {
				t.Errorf("%s prints %s", f, s)
			}
		}
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	short := keysOf(suites[0], 1)
	short.Keys[0].KeySalt = short.Keys[0].KeySalt[1:]
	for name, k := range map[string]Keys{
		"no suite": {Keys: short.Keys}, "no key": {Suite: suites[0]}, "short": short, "no fingerprint": {DTLS: &DTLS{}},
	} {
		if g := NewGuard("sdes"); g.Use(k, "sdes") == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestOpenAllocatesLittle holds down what a packet costs the collector.
func TestOpenAllocatesLittle(t *testing.T) {
	for _, name := range suites {
		k := keysOf(name, 1)
		s, g := newSender(t, k), guardOf(t, k)
		var packets [][]byte
		for range 1200 {
			_, b := s.next()
			packets = append(packets, b)
		}
		i := 0
		n := testing.AllocsPerRun(1000, func() { g.Open(packets[i], 0); i++ })
		t.Logf("%s: %.2f", name, n)
		if n > 0 {
			t.Errorf("%s: %.2f allocations a packet", name, n)
		}
		if g.Stats().Failed != 0 {
			t.Fatal("failures")
		}
	}
}
