package interop_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"siprecd/media"
)

func mediaRows() []row {
	return []row{
		{numbers: "117", name: "one SSRC on both lines", run: sending(func(s []*source) { s[1].ssrc = s[0].ssrc })},
		{numbers: "118", name: "two SSRCs on one port are not interleaved", run: twoSenders},
		{numbers: "119 R14", name: "another SSRC, a jump of the stamps: one timeline", run: newSender},
		{numbers: "120", name: "RTP from elsewhere is taken from an allowed source", run: sending(func(s []*source) {
			for _, x := range s {
				x.rebind(func(int) bool { return true })
			}
		})},
		{numbers: "120", name: "RTP from a stranger is not", with: func(s *setup) {
			s.media.Allow = func(netip.Addr) bool { return false }
		}, run: spoofed},
		{numbers: "121", name: "RTP before the ACK is recorded", run: beforeAck},
		{numbers: "122 R18", name: "loss, disorder and duplicates", run: impaired},
		{numbers: "123", name: "a clock that is off keeps its place", run: skewed},
		{numbers: "125", name: "silence on one leg: both channels run to the end", run: oneSilent},
		{numbers: "126", name: "RTCP beside and muxed is no audio", run: rtcp},
		{numbers: "126 R12 R15 R17", name: "receiver reports come back, which keep the path open", run: reports},
		{numbers: "127", name: "STUN, DTLS and garbage are ignored", run: garbage},
		{numbers: "128", name: "a static codec that was not agreed is played, and flagged", run: notAgreed},
		{numbers: "129 R54", name: "DTMF is kept out of audio and metadata", run: events(101, false)},
		{numbers: "129 R54", name: "DTMF is in the history where the line's policy asks for it", with: func(s *setup) {
			for i := range s.policy.Lines {
				s.policy.Lines[i].DTMF = true
			}
		}, run: events(101, true)},
	}
}

// sending places an ordinary call whose sources change has altered after the
// offer was written.
func sending(change func([]*source)) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		d, _ := r.basic()
		change(d.sources)
		talk := time.Now()
		d.play(500)
		d.bye()
		k := r.one()
		k.heard(talk, d.over, "0", "1")
		k.spans(d)
	}
}

// twoSenders lets a second sender speak on the first line's port. Both are
// mixed, or one is kept to; what must not be is the two interleaved.
func twoSenders(t *testing.T, r *rig) {
	d, _ := r.basic()
	barge := newSource(t, 4)
	barge.to = d.sources[0].to
	talk := time.Now()
	play(700*time.Millisecond, d.sources[0], d.sources[1], barge)
	d.bye()
	k := r.one()
	if got := k.tones(0, k.at(talk)+0.25, k.at(d.over)-0.05, share); got != "0" && got != "4" && got != "04" {
		t.Errorf("heard %q", got)
	}
	k.spans(d)
	// A torn tone is weaker than a whole one.
	pcm := k.audio.Channels[0][int((k.at(talk)+0.25)*media.DecodedRate):int((k.at(d.over)-0.05)*media.DecodedRate)]
	if a, b := level(pcm, toneHz(0)), level(pcm, toneHz(4)); max(a, b) < -23 {
		t.Errorf("the tones are at %.1f and %.1f dBFS", a, b)
	}
}

func newSender(t *testing.T, r *rig) {
	d, _ := r.basic()
	talk := time.Now()
	d.play(400)
	moved := time.Now()
	d.sources[0].ssrc ^= 0xabcdef
	d.sources[0].seq = 3
	d.sources[0].ts += 1 << 30
	d.sources[1].ts += 8000 * 3600 // the same sender, an hour on
	d.play(600)
	d.bye()
	k := r.one()
	k.heard(talk, moved, "0", "1")
	k.heard(moved.Add(200*time.Millisecond), d.over, "0", "1")
	k.spans(d)
}

func spoofed(t *testing.T, r *rig) {
	d, _ := r.basic()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	liar := newSource(t, 5)
	for range 15 { // while nobody else speaks it would be believed
		_, _ = conn.WriteToUDPAddrPort(liar.packet(), d.sources[0].to)
		play(20*time.Millisecond, liar)
	}
	talk := time.Now()
	d.play(400)
	d.bye()
	k := r.one()
	k.heard(d.begun, talk, "", "")
	k.heard(talk, d.over, "0", "1")
}

func beforeAck(t *testing.T, r *rig) {
	s, l := r.two()
	p := r.dial("tcp")
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p), s...).ok()
	talk := time.Now()
	d.play(350)
	d.ack().play(200)
	d.bye()
	r.one().heard(talk, d.over, "0", "1")
}

// impaired has loss, disorder and duplicates on both lines.
func impaired(t *testing.T, r *rig) {
	var talk time.Time
	d, k := r.steady(func(d *dialog) {
		for _, s := range d.sources {
			s.impair()
		}
		talk = time.Now()
		d.play(1000)
	})
	k.heard(talk, d.over, "0", "1")
	k.spans(d)
	for at := k.at(talk) + 0.1; at < k.at(d.over)-0.2; at += 0.1 {
		k.hears(at, at+0.15, "0", "1")
	}
}

// impair loses one packet in twenty, swaps neighbours and sends some twice.
func (s *source) impair() {
	var late []byte
	s.drop = func(n int) bool { return n%20 == 7 }
	s.wrap = func(b []byte) []byte {
		switch {
		case late != nil:
			s.write(b)
			b, late = late, nil
		case s.n%10 == 3:
			late = b
			return nil
		case s.n%9 == 4:
			s.write(b)
		}
		return b
	}
}

// skewed runs one clock 2 % fast, far more than any real one, for a second.
func skewed(t *testing.T, r *rig) {
	d, _ := r.basic()
	d.sources[1].ptime = 19600 * time.Microsecond
	s := d.sources[1]
	s.encode = func(pcm []int16) []byte {
		s.ts += uint32(160 - len(pcm))
		return muLaw(append(pcm, s.samples(160-len(pcm))...))
	}
	talk := time.Now()
	d.play(1200)
	d.bye()
	k := r.one()
	k.heard(talk, d.over.Add(-40*time.Millisecond), "0", "1")
	k.spans(d)
}

func oneSilent(t *testing.T, r *rig) {
	d, _ := r.basic()
	d.sources[1].muted = true
	talk := time.Now()
	d.play(700)
	d.bye()
	k := r.one()
	k.heard(talk, d.over, "0", "")
	if len(k.audio.Channels[0]) != len(k.audio.Channels[1]) {
		t.Error("the channels are of different length")
	}
	k.spans(d)
}

// report is an RTCP sender report of a source.
func (s *source) report() []byte {
	now := time.Now()
	ntp := uint64(now.Unix()+2208988800)<<32 | uint64(now.Nanosecond())<<32/1e9
	b := []byte{0x80, 200, 0, 6, byte(s.ssrc >> 24), byte(s.ssrc >> 16), byte(s.ssrc >> 8), byte(s.ssrc)}
	for i := 7; i >= 0; i-- {
		b = append(b, byte(ntp>>(8*i)))
	}
	for _, v := range []uint32{s.ts, uint32(s.n), uint32(s.n * 160)} {
		b = append(b, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	return b
}

func rtcp(t *testing.T, r *rig) {
	s, l := r.two()
	for i := range l {
		l[i].attrs = []string{"a=rtcp-mux"}
	}
	p := r.dial("tcp")
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p), s...).ok().ack()
	talk := time.Now()
	for n := range 30 {
		play(20*time.Millisecond, s...)
		for _, x := range s {
			if n%5 == 0 {
				b := x.report()
				x.write(b) // muxed
				beside := netip.AddrPortFrom(x.to.Addr(), x.to.Port()+1)
				_, _ = x.conn.WriteToUDPAddrPort(b, beside)
			}
			if n == 29 {
				bye := []byte{0x81, 203, 0, 1, byte(x.ssrc >> 24), byte(x.ssrc >> 16), byte(x.ssrc >> 8), byte(x.ssrc)}
				x.write(bye)
			}
		}
	}
	end := time.Now()
	d.bye()
	k := r.one()
	k.heard(talk, end, "0", "1")
	noAudioBack(t, s...)
}

func garbage(t *testing.T, r *rig) {
	d, _ := r.basic()
	talk := time.Now()
	for n := range 25 {
		play(20*time.Millisecond, d.sources...)
		for _, s := range d.sources {
			s.write([]byte("\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl"))               // STUN
			s.write([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, byte(n), 0, 4, 1, 2, 3, 4}) // DTLS
			s.write([]byte("\r\n"))
			s.write(nil)
			s.write([]byte{0x80})
			s.write([]byte(fmt.Sprintf("\x9f\xff%0200d", n))) // more CSRCs than bytes
			s.write([]byte(fmt.Sprintf("\xff\x80%0300d", n)))
		}
	}
	d.bye()
	k := r.one()
	k.heard(talk, d.over, "0", "1")
	k.spans(d)
}

// notAgreed sends A-law where mu-law was answered, as a client was seen to.
func notAgreed(t *testing.T, r *rig) {
	s, l := r.two()
	for i := range l {
		l[i].fmts = "0"
		s[i].codec(8, aLaw)
	}
	p := r.dial("tcp")
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p), s...).ok().ack()
	talk := time.Now()
	d.play(500)
	d.bye()
	k := r.one()
	k.heard(talk, d.over, "0", "1")
	k.hasFlag("codec not agreed")
}

// reports waits for the receiver reports of two lines, one of them on hold:
// they come from the port above that of the media, and keep the path open.
func reports(t *testing.T, r *rig) {
	d, l := r.basic()
	beside := []*source{newSource(t, 6), newSource(t, 7)}
	tell := func() {
		for i, b := range beside {
			to := lines(d.answer.body)[i].port + 1
			_, _ = b.conn.WriteToUDPAddrPort(d.sources[i].report(), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(to)))
		}
	}
	d.play(300)
	l[1].dir = "inactive"
	d.reoffer(l...)
	for range 110 {
		tell()
		d.play(100)
		if len(beside[0].received()) > 0 && len(beside[1].received()) > 0 {
			break
		}
	}
	for i, b := range beside {
		got := b.received()
		if len(got) == 0 {
			t.Errorf("line %d: no report within eleven seconds", i)
			continue
		}
		if m := got[0]; len(m) < 8 || m[0]>>6 != 2 || m[1] != 201 {
			t.Errorf("line %d: not a receiver report: %x", i, m[:min(len(m), 8)])
		}
	}
	d.bye()
	r.one()
}
