// Package inject holds the rows in which somebody attacks the media: RTP and
// SRTP of others (D1, D3), and what may leave the recorder at all (D2).
//
//	live call ◄── its own packets           what is heard must be these alone
//	    ▲
//	    └── wrong address, wrong port, guessed SSRC; replayed, changed, plain, made up
package inject

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"siprecd/cmd/torture/foe"
	"siprecd/cmd/torture/hear"
	"siprecd/cmd/torture/rig"
	"siprecd/recorder"
	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
)

// Rows are D1 to D3 of the goal table.
func Rows() []rig.Row {
	return []rig.Row{
		{ID: "D1", What: "injected RTP", Rounds: 1000000, Short: 20000, Run: injected},
		{ID: "D2", What: "what leaves the recorder", Rounds: 40, Short: 21, Needs: []rig.Need{rig.Tool("tcpdump"), rig.Root()}, Run: sent},
		{ID: "D3", What: "replayed, changed, stripped and made-up SRTP", Rounds: 100000, Short: 4000, Run: forgedSRTP},
	}
}

// quietAndTone are two legs for the ear: digital silence, in which every sample
// that is not ours shows, and a tone, in which every one that is missing does.
func quietAndTone() []siprectest.Leg {
	return []siprectest.Leg{
		{Name: "A Resident", Audio: audio.Silence(), Codec: siprectest.PCMU, SSRC: 0x11111111},
		{Name: "Council Tax", Audio: audio.Tone(500, -18), Codec: siprectest.PCMU, SSRC: 0x22222222},
	}
}

// injected floods a live call with loud noise: from another address, from the
// right one and another port, and with its SSRC. A second call is left in
// peace: nothing may tell the two recordings apart.
func injected(l *rig.Lab) error {
	s, err := foe.Start(l, "sip.peers=[127.0.0.1/32]")
	if err != nil {
		return err
	}
	perSecond := 12000
	if l.Short {
		perSecond = 4000 // what a machine reads that does other things as well
	}
	span := time.Duration(l.Rounds) * time.Second / time.Duration(perSecond)
	b, err := foe.Play(l, s, 2, siprectest.Options{Duration: span + 4*time.Second, Legs: quietAndTone()})
	if err != nil {
		return err
	}
	foe.Wait(l, 1200*time.Millisecond) // the senders are known
	victim := b.Calls[0].Report()
	if err := noise(l, l.Rounds, perSecond, victim); err != nil {
		return err
	}
	sent, missing, err := b.Settle(l, s)
	if err != nil {
		return err
	}
	st, err := foe.Status(s)
	if err != nil {
		return err
	}
	l.Figure("packets of the call itself that were lost", fmt.Sprintf("%d of %d", missing, sent), "0", missing == 0 && sent > 0)
	seen := uint64(0)
	for _, c := range st.Calls {
		for _, leg := range c.Legs {
			seen += leg.WrongSource + leg.Stray
		}
	}
	l.Figure("injected packets that came as far as the recorder and were turned away", fmt.Sprint(seen), "> 0", seen > 0)
	l.Count("calls that ended otherwise than by their BYE", b.End(l), 0)
	if err := compare(l, s, st.Calls); err != nil {
		return err
	}
	return control(l, s)
}

// noise sends n packets of noise to a call's ports, in turns of three kinds.
func noise(l *rig.Lab, n, perSecond int, victim siprectest.CallReport) error {
	var from [3]*net.UDPConn
	for i, host := range []string{"127.6.6.6", "127.0.0.1", "127.0.0.1"} {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host)})
		if err != nil {
			return err
		}
		defer c.Close()
		from[i] = c
	}
	loud := loudNoise()
	began := time.Now()
	for i := range n {
		kind, leg := i%3, i/3%2
		seq, ts := uint16(rand.Uint32()), rand.Uint32()
		ssrc := rand.Uint32()
		if kind == 2 { // as one who has seen the stream would
			passed := uint32(time.Since(began)/(20*time.Millisecond)) + 60
			ssrc = victim.Legs[leg].SSRC
			seq = victim.Legs[leg].FirstSequence + uint16(passed)
			ts = victim.Legs[leg].FirstTimestamp + 160*passed
		}
		a := victim.Answer[leg]
		_, _ = from[kind].WriteToUDP(foe.RTP(0, seq, ts, ssrc, loud), &net.UDPAddr{IP: a.Addr.AsSlice(), Port: a.Port}) // ICMP is no news
		if i%60 == 59 {
			due := time.Duration(i) * time.Second / time.Duration(perSecond)
			foe.Wait(l, max(0, due-time.Since(began)))
		}
	}
	return nil
}

// loudNoise is a packet's payload at full scale, mu-law.
func loudNoise() []byte {
	b := make([]byte, 160)
	for i := range b {
		b[i] = byte(rand.IntN(2)<<7 | rand.IntN(16))
	}
	return b
}

// compare lets ffmpeg decode the recordings of the calls and holds each against
// what was sent.
func compare(l *rig.Lab, s *rig.Server, calls []recorder.LiveCall) error {
	if _, err := s.Finished(len(calls), 20*time.Second); err != nil {
		return err
	}
	loud, holes := 0, 0
	for _, c := range calls {
		path, err := s.Export(c.ID)
		if err != nil {
			return err
		}
		pcm, err := hear.Decode(l, path, 2)
		if err != nil {
			return err
		}
		n, h := foreign(pcm)
		loud, holes = loud+n, holes+h
		l.Logf("%d samples decoded", len(pcm[0]))
	}
	l.Count("samples that are not silence in the silent channel", loud, 0)
	l.Count("windows of 20 ms without the tone, or with more than it, in the other", holes, 0)
	return nil
}

// foreign counts the samples of the first channel that are not zero, and the
// windows of the second that are not the tone alone: its ends are left out.
func foreign(pcm [][]int16) (loud, holes int) {
	for _, v := range pcm[0] {
		if v != 0 {
			loud++
		}
	}
	const window, edge = hear.Rate / 50, hear.Rate / 2
	for at := edge; at+window < len(pcm[1])-hear.Rate*3/2; at += window {
		w := pcm[1][at : at+window]
		power := 0.0
		for _, v := range w {
			power += float64(v) * float64(v)
		}
		rms := power / window
		if tone := hear.Level(w, 500); tone < -24 || tone > -15 || rms > 7000*7000 {
			holes++
		}
	}
	return loud, holes
}

// control sends the same noise from the call's own socket: that must be heard.
func control(l *rig.Lab, s *rig.Server) error {
	b, err := foe.Play(l, s, 1, siprectest.Options{Duration: 3 * time.Second, Legs: quietAndTone()})
	if err != nil {
		return err
	}
	foe.Wait(l, time.Second)
	loud := loudNoise()
	for i := range 20 {
		r := b.Calls[0].Report().Legs[0]
		passed := uint32(80 + i)
		if err := b.Calls[0].SendRTP(0, foe.RTP(0, r.FirstSequence+uint16(passed), r.FirstTimestamp+160*passed, r.SSRC, loud)); err != nil {
			return err
		}
	}
	if err := b.Calls[0].Wait(l); err != nil {
		return err
	}
	b.End(l)
	rows, err := s.Finished(3, 20*time.Second)
	if err != nil {
		return err
	}
	path, err := s.Export(rows[0].ID)
	if err != nil {
		return err
	}
	pcm, err := hear.Decode(l, path, 2)
	if err != nil {
		return err
	}
	caught := 0
	if n, _ := foreign(pcm); n > 0 {
		caught = 1
	}
	l.Control("noise from the call's own socket is heard", caught, 1)
	return nil
}

// forgedSRTP sends, from the very socket of an encrypted call: packets that were
// sent before, changed ones, plain ones and made-up ones.
func forgedSRTP(l *rig.Lab) error {
	s, err := foe.Start(l)
	if err != nil {
		return err
	}
	perSecond := 2000
	if l.Short {
		perSecond = 800
	}
	legs := quietAndTone()
	for i := range legs {
		legs[i].First = 1000 // far from where the numbers turn over
		legs[i].SRTP = siprectest.SRTP{Suites: []string{"AES_CM_128_HMAC_SHA1_80"}}
	}
	b, err := foe.Play(l, s, 1, siprectest.Options{Duration: time.Duration(l.Rounds)*time.Second/time.Duration(perSecond) + 4*time.Second, Legs: legs})
	if err != nil {
		return err
	}
	call := b.Calls[0]
	var tap tap
	call.Copy(0, tap.keep)
	if err := l.Await("packets to copy", 5*time.Second, func() bool { return tap.len() > 30 }); err != nil {
		return err
	}
	replays, bad, err := forge(l, call, &tap, l.Rounds, perSecond)
	if err != nil {
		return err
	}
	sent, missing, err := b.Settle(l, s)
	if err != nil {
		return err
	}
	st, err := foe.Status(s)
	if err != nil || len(st.Calls) != 1 {
		return fmt.Errorf("the call is not up: %d calls, %w", len(st.Calls), err)
	}
	leg := st.Calls[0].Legs[0]
	l.Figure("packets of the call itself that were lost", fmt.Sprintf("%d of %d", missing, sent), "0", missing == 0 && sent > 0)
	l.Count("forged packets that were accepted", max(0, int(leg.Packets+st.Calls[0].Legs[1].Packets)-sent), 0)
	l.Count("counted as replays", int(leg.Replays), replays)
	l.Count("counted as not authentic", int(leg.AuthFailed), bad)
	l.Count("calls that ended otherwise than by their BYE", b.End(l), 0)
	return compare(l, s, st.Calls)
}

// forge sends n packets that are none of the call's; how many of them are
// replays, and how many are not authentic.
func forge(l *rig.Lab, call *siprectest.Call, t *tap, n, perSecond int) (replays, bad int, err error) {
	began, loud := time.Now(), loudNoise()
	for i := range n {
		p := bytes.Clone(t.recent())
		switch i % 4 {
		case 0:
			replays++
		case 1: // a bit of the payload or of the tag
			ahead(p)
			p[12+rand.IntN(len(p)-12)] ^= 1 << rand.IntN(8)
			bad++
		case 2: // one of the next, plain
			p = foe.RTP(0, ahead(p), rand.Uint32(), 0x11111111, loud)
			bad++
		case 3:
			p = foe.RTP(0, uint16(rand.Uint32()), rand.Uint32(), rand.Uint32(), loud)
			bad++
		}
		if err := call.SendRTP(0, p); err != nil && !strings.Contains(err.Error(), "refused") {
			return replays, bad, err
		}
		if i%20 == 19 {
			foe.Wait(l, max(0, time.Duration(i)*time.Second/time.Duration(perSecond)-time.Since(began)))
		}
	}
	return replays, bad, context.Cause(l)
}

// ahead gives a packet a number that is yet to come, or it would be a replay.
func ahead(p []byte) uint16 {
	seq := binary.BigEndian.Uint16(p[2:]) + 100
	binary.BigEndian.PutUint16(p[2:], seq)
	return seq
}

// tap keeps the latest packets of a stream as they are on the wire.
type tap struct {
	mu  sync.Mutex
	all [][]byte
}

func (t *tap) keep(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all = append(t.all, bytes.Clone(p)); len(t.all) > 200 {
		t.all = t.all[100:]
	}
}

func (t *tap) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all)
}

// recent is one that left a moment ago: it has been received by now.
func (t *tap) recent() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all[max(0, len(t.all)-2-rand.IntN(20))]
}
