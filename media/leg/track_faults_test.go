package leg

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// arrival is a packet on its way.
type arrival struct {
	at   time.Duration
	seq  uint16
	ts   uint32
	ssrc uint32
	pcm  []int16
}

// stream cuts audio into packets of 20 ms that arrive on time.
func stream(pcm []int16, ssrc uint32) (list []arrival) {
	for n := range len(pcm) / frame20 {
		list = append(list, arrival{at(n), uint16(n + 100), uint32(n*frame20 + 5000), ssrc, pcm[n*frame20 : (n+1)*frame20]})
	}
	return list
}

func (r *trackRig) deliver(list []arrival, end time.Duration) {
	slices.SortStableFunc(list, func(a, b arrival) int { return int(a.at - b.at) })
	for _, a := range list {
		r.send(a.at, a.seq, a.ts, a.ssrc, a.pcm)
	}
	r.run(end)
}

func (r *trackRig) gaps() []Gap { return r.Gaps(int64(len(r.out))) }

// quietBetween fails unless the timeline is digital silence there.
func (r *trackRig) quietBetween(t *testing.T, from, to int) {
	t.Helper()
	for i, v := range r.out[from:to] {
		if v != 0 {
			t.Fatalf("sample %d is %d, want silence", from+i, v)
		}
	}
}

func TestLateLeg(t *testing.T) {
	r := newTrackRig(t)
	pcm := speechlike(2 * SampleRate)
	list := stream(pcm, 1)
	for i := range list {
		list[i].at += 11 * time.Second
	}
	r.deliver(list, 15*time.Second)
	r.quietBetween(t, 0, 11*SampleRate)
	r.same(t, 11*SampleRate, pcm)
	if g := r.gaps(); len(g) == 0 || g[0].From != 0 || g[0].To != 11*time.Second || g[0].Reason != reasonNoMedia {
		t.Errorf("gaps: %+v", g)
	}
}

// Silence suppression: the sequence goes on, the time stamps count the silence.
func TestSilenceSuppression(t *testing.T) {
	r := newTrackRig(t)
	pcm := speechlike(6 * SampleRate)
	var list []arrival
	for n, a := range stream(pcm, 1) {
		if n < 50 || n >= 90 {
			a.seq = uint16(n)
			if n >= 90 {
				a.seq = uint16(n - 40)
			}
			list = append(list, a)
		}
	}
	r.deliver(list, 8*time.Second)
	r.same(t, 0, pcm[:50*frame20])
	r.quietBetween(t, 50*frame20, 90*frame20)
	r.same(t, 90*frame20, pcm[90*frame20:])
	if g := r.gaps(); r.stats.Lost != 0 || len(g) != 1 || g[0].From < 6*time.Second { // only the end
		t.Errorf("lost %d, gaps %+v", r.stats.Lost, g)
	}
}

// A pause after which the time stamps go on as if nothing had been: the audio
// is heard when it comes, and none of it is lost.
func TestPauseWithoutTimestamps(t *testing.T) {
	for _, pause := range []time.Duration{60 * time.Millisecond, 140 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond, 400 * time.Millisecond, 500 * time.Millisecond, 5 * time.Second, time.Minute} {
		r := newTrackRig(t)
		pcm := speechlike(4 * SampleRate)
		list := stream(pcm, 1)
		for i := 100; i < len(list); i++ {
			list[i].at += pause
		}
		r.deliver(list, pause+6*time.Second)
		r.same(t, 0, pcm[:100*frame20])
		if pause > 150*time.Millisecond { // a shorter one is made up for bit by bit
			r.same(t, 2*SampleRate+int(Samples(pause, SampleRate)), pcm[100*frame20:])
		}
		if r.stats.Late != 0 || r.stats.Lost != 0 {
			t.Errorf("%v: %+v", pause, r.stats)
		}
	}
}

// A stalled network: everything sent meanwhile comes at once. What is too late
// is lost, what follows stays in its place.
func TestStallKeepsItsPlace(t *testing.T) {
	for _, stall := range []int{10, 25, 100} { // packets
		r := newTrackRig(t)
		pcm := speechlike(6 * SampleRate)
		list := stream(pcm, 1)
		for i := 100; i < 100+stall; i++ {
			list[i].at = at(100 + stall)
		}
		r.deliver(list, 8*time.Second)
		r.same(t, 0, pcm[:100*frame20])
		r.same(t, (100+stall)*frame20, pcm[(100+stall)*frame20:])
		if r.stats.Late+r.stats.Packets != 300 || r.clock.epoch != 1 {
			t.Errorf("stall of %d: %+v, epoch %d", stall, r.stats, r.clock.epoch)
		}
	}
}

// Breaks in SSRC, sequence and time stamps, after which the audio must go on
// within 40 ms of where it belongs and no packet be lost.
func TestBreaks(t *testing.T) {
	const broken = 100
	for _, c := range []struct {
		name   string
		change func(a *arrival)
	}{
		{"ssrc", func(a *arrival) { a.ssrc = 77 }},
		{"ssrc, sequence and time stamps", func(a *arrival) { a.ssrc, a.seq, a.ts = 77, a.seq+20000, a.ts+0x70000000 }},
		{"time stamps an hour ahead", func(a *arrival) { a.ts += 3600 * SampleRate }},
		{"time stamps an hour back", func(a *arrival) { a.ts -= 3600 * SampleRate }},
		{"time stamps 200 ms ahead", func(a *arrival) { a.ts += 1600 }},
		{"sequence and time stamps restart", func(a *arrival) { a.seq, a.ts = a.seq-30000, a.ts-900000 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newTrackRig(t)
			pcm := speechlike(4 * SampleRate)
			list := stream(pcm, 1)
			for i := broken; i < len(list); i++ {
				c.change(&list[i])
			}
			r.deliver(list, 6*time.Second)
			r.same(t, 0, pcm[:broken*frame20])
			r.same(t, broken*frame20, pcm[broken*frame20:])
			if s := r.stats; s.Packets != 200 || s.Lost+s.Late+s.Stray != 0 {
				t.Errorf("counts: %+v", s)
			}
		})
	}
}

func TestStraysDoNotSteal(t *testing.T) {
	pcm := speechlike(10 * SampleRate)
	noise := speechlike(20 * SampleRate)[10*SampleRate:]
	stranger := netip.AddrPortFrom(sbc.Addr(), sbc.Port()+2)
	r := newTrackRig(t)
	strays, wrong := uint64(0), uint64(0)
	for n, a := range stream(pcm, 1) {
		r.send(a.at, a.seq, a.ts, a.ssrc, a.pcm)
		x := encodeLaw(aLaw, noise[n*frame20:(n+1)*frame20])
		r.Push(rtpBytes(8, uint16(n), uint32(n*frame20), 2, x), sbc, a.at) // another SSRC of the same address, all the time
		strays++
		for k := range 20 { // a flood from another port that guessed the SSRC
			r.Push(rtpBytes(8, a.seq+uint16(k), a.ts+uint32(k*frame20), 1, x), stranger, a.at+time.Duration(k)*time.Microsecond)
			strays++
		}
		r.Push(rtpBytes(8, a.seq+1, a.ts+frame20, 1, x), netip.MustParseAddrPort("127.9.9.9:5004"), a.at)
		wrong++
	}
	r.run(12 * time.Second)
	r.same(t, 0, pcm)
	s := r.stats
	held := uint64(len(r.rivals))
	if s.Stray+held != strays || s.WrongSource != wrong || s.Packets != 500 {
		t.Errorf("counts: %+v, sent %d strays, %d from elsewhere", s, strays, wrong)
	}
}

// A sender that moves to another port without a word is followed after a short
// silence, and nothing is lost.
func TestPortChange(t *testing.T) {
	r := newTrackRig(t)
	pcm := speechlike(4 * SampleRate)
	moved := netip.AddrPortFrom(sbc.Addr(), 30010)
	for n, a := range stream(pcm, 1) {
		r.run(a.at)
		from := sbc
		if n >= 100 {
			from = moved
		}
		r.Push(rtpBytes(8, a.seq, a.ts, 1, encodeLaw(aLaw, a.pcm)), from, a.at)
	}
	r.run(6 * time.Second)
	r.same(t, 0, pcm)
	if r.stats.Stray != 0 || r.stats.Late != 0 {
		t.Errorf("counts: %+v", r.stats)
	}
}

func TestEventsAreSilenceNotGaps(t *testing.T) {
	r := newTrackRig(t)
	pcm := speechlike(2 * SampleRate)
	list := stream(pcm, 1)
	for n, a := range list {
		if n < 50 || n >= 70 {
			r.send(a.at, a.seq, a.ts, a.ssrc, a.pcm)
			continue
		}
		r.run(a.at)
		long := (n - 49) * frame20
		event := []byte{5, 10, byte(long >> 8), byte(long)}
		r.Push(rtpBytes(101, a.seq, list[50].ts, 1, event), sbc, a.at)
	}
	r.run(4 * time.Second)
	r.same(t, 0, pcm[:50*frame20])
	r.quietBetween(t, 50*frame20, 70*frame20)
	r.same(t, 70*frame20, pcm[70*frame20:])
	s := r.stats
	if s.Events != 20 || s.Lost+s.Late+s.Duplicate != 0 || s.Packets != 80 {
		t.Errorf("counts: %+v", s)
	}
	if g := r.gaps(); len(g) != 1 || g[0].From != 2*time.Second {
		t.Errorf("gaps: %+v", g)
	}
}

func TestComfortNoiseIsNoGap(t *testing.T) {
	r := newTrackRig(t)
	pcm := speechlike(6 * SampleRate)
	for n, a := range stream(pcm, 1) {
		switch {
		case n < 50 || n >= 250:
			if n >= 250 {
				a.seq -= 199
			}
			r.send(a.at, a.seq, a.ts, a.ssrc, a.pcm)
		case n == 50:
			r.run(a.at)
			r.Push(rtpBytes(13, a.seq, a.ts, 1, []byte{60}), sbc, a.at)
		}
	}
	r.run(6*time.Second + 200*time.Millisecond)
	r.same(t, 250*frame20, pcm[250*frame20:len(r.out)])
	if g := r.gaps(); len(g) != 0 || r.stats.Lost != 0 {
		t.Errorf("gaps: %+v, lost %d", g, r.stats.Lost)
	}
}

func TestForeignDatagrams(t *testing.T) {
	r := newTrackRig(t)
	pcm := speechlike(2 * SampleRate)
	for _, a := range stream(pcm, 1) {
		r.send(a.at, a.seq, a.ts, a.ssrc, a.pcm)
		x := encodeLaw(aLaw, a.pcm)
		r.Push(rtpBytes(18, a.seq+1, a.ts+frame20, 1, x), sbc, a.at)    // a payload type not agreed, with the next packet's number
		r.Push([]byte{0x80, 200, 0, 6, 0, 0, 0, 1}, sbc, a.at)          // RTCP
		r.Push([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, sbc, a.at)   // STUN
		r.Push([]byte{22, 254, 253, 0, 0}, sbc, a.at)                   // DTLS
		r.Push(nil, sbc, a.at)                                          //
		r.Push(append([]byte{0xbf, 8}, make([]byte, 30)...), sbc, a.at) // lengths that do not fit
		r.Push(rtpBytes(8, a.seq+1, a.ts+frame20, 1, nil), sbc, a.at)   // a keep-alive
		r.Push(rtpBytes(8, a.seq, a.ts, 1, x), netip.AddrPort{}, a.at)  // from nowhere
	}
	r.run(4 * time.Second)
	r.same(t, 0, pcm)
	s := r.stats
	if s.Packets != 100 || s.NotAgreed != 100 || s.RTCP != 100 || s.Malformed != 400 || s.WrongSource != 100 || s.Lost != 0 {
		t.Errorf("counts: %+v", s)
	}
}

// Random loss: every gap is in the ledger, everything else is in its place.
func TestLossLedger(t *testing.T) {
	for _, percent := range []int{5, 30} {
		rnd := rand.New(rand.NewPCG(9, uint64(percent)))
		r := newTrackRig(t)
		pcm := speechlike(30 * SampleRate)
		var list []arrival
		lost := map[int]bool{}
		for n, a := range stream(pcm, 1) {
			a.at += time.Duration(rnd.IntN(50)) * time.Millisecond
			if n == 0 {
				a.at = 0
			}
			if n > 0 && n < 1499 && rnd.IntN(100) < percent {
				lost[n] = true
				continue
			}
			list = append(list, a)
		}
		r.deliver(list, 31*time.Second)
		for n := range 1500 {
			if !lost[n] {
				r.same(t, n*frame20, pcm[n*frame20:(n+1)*frame20])
			}
		}
		missing := 0
		for _, g := range r.gaps() {
			if g.Reason != reasonLoss {
				continue
			}
			missing += g.Packets
			for p := g.From; p < g.To; p += 20 * time.Millisecond {
				if !lost[int(p/(20*time.Millisecond))] {
					t.Fatalf("gap at %v, where nothing was lost", p)
				}
			}
		}
		if missing != len(lost) || r.stats.Lost != uint64(len(lost)) {
			t.Errorf("%d %%: ledger has %d, counter %d, lost were %d", percent, missing, r.stats.Lost, len(lost))
		}
	}
}

// A short loss in a steady tone is covered up, a long one falls silent.
func TestConcealment(t *testing.T) {
	r := newTrackRig(t)
	pcm := tone(200, 10000, 4*SampleRate)
	var list []arrival
	for n, a := range stream(pcm, 1) {
		if n != 50 && (n < 100 || n >= 120) {
			list = append(list, a)
		}
	}
	r.deliver(list, 6*time.Second)
	if e := rms(r.out[50*frame20 : 51*frame20]); e < 3000 {
		t.Errorf("a lost packet leaves a hole: rms %.0f", e)
	}
	if j := worstJump(r.out[45*frame20 : 55*frame20]); j > 5000 {
		t.Errorf("a click of %d at the joint", j)
	}
	if e := rms(r.out[104*frame20 : 120*frame20]); e != 0 {
		t.Errorf("a long loss is not silent: rms %.0f", e)
	}
}

func TestHold(t *testing.T) {
	r := newTrackRig(t)
	pcm := speechlike(4 * SampleRate)
	list := stream(pcm, 1)
	for i := 100; i < len(list); i++ { // 60 s of hold, then time stamps as if nothing had been
		list[i].at += time.Minute
	}
	for _, a := range list[:100] {
		r.send(a.at, a.seq, a.ts, a.ssrc, a.pcm)
	}
	cfg := mono()
	cfg.Hold = true
	r.run(2 * time.Second)
	r.Configure(cfg, 2*time.Second)
	r.run(62*time.Second - 1)
	r.Configure(mono(), 62*time.Second)
	for _, a := range list[100:] {
		r.send(a.at, a.seq, a.ts, a.ssrc, a.pcm)
	}
	r.run(64*time.Second + 200*time.Millisecond)
	r.same(t, 62*SampleRate, pcm[100*frame20:len(r.out)-60*SampleRate])
	if g := r.gaps(); len(g) != 1 || g[0].Reason != reasonHold || g[0].From != 2*time.Second || g[0].To != 62*time.Second {
		t.Errorf("gaps: %+v", g)
	}
}

// A re-INVITE that moves the sender to another address: heard at once, and the
// old address no longer.
func TestUpdateMovesTheSource(t *testing.T) {
	r := newTrackRig(t)
	pcm := speechlike(4 * SampleRate)
	moved := netip.MustParseAddrPort("127.0.0.2:30002")
	for n, a := range stream(pcm, 1) {
		r.run(a.at)
		from := sbc
		if n >= 100 {
			from = moved
			r.Push(rtpBytes(8, a.seq, a.ts, 1, encodeLaw(aLaw, pcm[:frame20])), sbc, a.at)
		}
		if n == 100 {
			cfg := mono()
			cfg.Source = moved
			r.Configure(cfg, a.at)
		}
		if n == 100 { // the packet above came before the change
			continue
		}
		r.Push(rtpBytes(8, a.seq, a.ts, 1, encodeLaw(aLaw, a.pcm)), from, a.at)
	}
	r.run(6 * time.Second)
	r.same(t, 0, pcm[:100*frame20])
	r.same(t, 101*frame20, pcm[101*frame20:])
	if s := r.stats; s.WrongSource != 99 || s.Late+s.Stray != 0 || s.Packets != 200 {
		t.Errorf("counts: %+v", s)
	}
}

// The packet that a stream begins with may itself be late, or be overtaken:
// those around it say where it belongs.
func TestLateBeginning(t *testing.T) {
	for _, delay := range []time.Duration{15 * time.Millisecond, 50 * time.Millisecond, 150 * time.Millisecond} {
		for _, fifo := range []bool{true, false} { // what is behind waits, or overtakes
			r := newTrackRig(t)
			pcm := speechlike(4 * SampleRate)
			list := stream(pcm, 1)
			for i := range list {
				list[i].at += time.Second
				if first := at(50) + delay; i == 0 || fifo && list[i].at < first {
					list[i].at = first
				}
			}
			r.deliver(list, 7*time.Second)
			r.same(t, SampleRate, pcm)
			if r.stats.Late != 0 || r.stats.Packets != 200 {
				t.Errorf("%v, in order %v: %+v", delay, fifo, r.stats)
			}
		}
	}
}

// Jitter from the first packet on never puts anything further off than 20 ms.
func TestJitterFromTheStart(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		r := newTrackRig(t)
		list := stream(clicks(SampleRate, 20*SampleRate), 1)
		for i := range list {
			list[i].at += time.Second + time.Duration(rnd.IntN(50))*time.Millisecond
		}
		r.deliver(list, 22*time.Second)
		at := onsets(r.out)
		if len(at) != 20 {
			t.Fatalf("seed %d: %d clicks", seed, len(at))
		}
		for i, p := range at {
			if d := p - (i+1)*SampleRate; d > 20*ms || d < -20*ms {
				t.Errorf("seed %d: click %d is %d ms off", seed, i, d/ms)
			}
		}
	}
}

// A sender that is short of time sends later and later, a little each time:
// nothing of it is lost.
func TestSenderFallsBehind(t *testing.T) {
	for _, step := range []time.Duration{20 * time.Millisecond, 60 * time.Millisecond, 90 * time.Millisecond} {
		r := newTrackRig(t)
		list := stream(speechlike(20*SampleRate), 1)
		behind := time.Duration(0)
		for i := range list {
			if i%40 == 39 {
				behind += step
			}
			list[i].at += behind
		}
		r.deliver(list, 26*time.Second)
		if s := r.stats; s.Packets != 1000 || s.Late+s.Lost != 0 {
			t.Errorf("%v at a time: %+v", step, s)
		}
	}
}

// Jitter of 200 ms is within the ring's depth: nothing is lost or moved.
func TestStrongJitter(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 8))
	r := newTrackRig(t)
	pcm := speechlike(60 * SampleRate)
	list := stream(pcm, 1)
	for i := range list[1:] {
		list[i+1].at += time.Duration(rnd.IntN(195)) * time.Millisecond
	}
	r.deliver(list, 62*time.Second)
	r.same(t, 0, pcm)
	if s := r.stats; s.Late+s.Lost != 0 {
		t.Errorf("%+v", s)
	}
}
