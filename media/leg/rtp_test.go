package leg

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtp"
)

func TestParse(t *testing.T) {
	full := &rtp.Packet{
		Header:  rtp.Header{Version: 2, Marker: true, PayloadType: 8, SequenceNumber: 65535, Timestamp: 0xfffffff0, SSRC: 0xdeadbeef, CSRC: []uint32{1, 2, 3}},
		Payload: []byte{1, 2, 3, 4, 5},
	}
	if err := full.SetExtension(1, []byte{7, 7}); err != nil {
		t.Fatal(err)
	}
	full.Padding, full.Header.PaddingSize = true, 3
	whole, err := full.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	p, w := parseRTP(whole)
	if w != wireRTP || p.pt != 8 || p.seq != 65535 || p.ts != 0xfffffff0 || p.ssrc != 0xdeadbeef || !bytes.Equal(p.payload, full.Payload) {
		t.Errorf("%v %+v", w, p)
	}
	for n := range len(whole) - 1 { // cut anywhere before the payload it is refused
		if _, w := parseRTP(whole[:n]); n < 32 && w == wireRTP {
			t.Errorf("cut at %d it is taken for RTP", n)
		}
	}
	for name, c := range map[string]struct {
		b    []byte
		want wire
	}{
		"RTCP":            {[]byte{0x81, 201, 0, 7, 0, 0, 0, 1}, wireRTCP},
		"RTCP, short":     {[]byte{0x80, 203}, wireRTCP},
		"STUN":            {[]byte{0, 1, 0, 0}, wireOther},
		"one byte":        {[]byte{0x80}, wireOther},
		"padding of none": {append([]byte{0xa0, 8}, make([]byte, 20)...), wireOther},
		"header only":     {append([]byte{0x80, 8}, make([]byte, 10)...), wireRTP},
	} {
		if _, w := parseRTP(c.b); w != c.want {
			t.Errorf("%s: %v", name, w)
		}
	}
}

// FuzzParse: whatever pion takes for a packet is one here, with the same
// content.
func FuzzParse(f *testing.F) {
	f.Add(rtpBytes(8, 1, 2, 3, []byte{1, 2}))
	f.Add([]byte{0xbf, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, w := parseRTP(b)
		var want rtp.Packet
		if len(b) < 12 || b[0]>>6 != 2 || b[1] >= 192 && b[1] <= 223 || want.Unmarshal(b) != nil {
			return
		}
		if w != wireRTP || p.seq != want.SequenceNumber || p.ts != want.Timestamp || p.ssrc != want.SSRC || !bytes.Equal(p.payload, want.Payload) {
			t.Errorf("%x: %+v, want %+v", b, p, want)
		}
	})
}

// FuzzTrack: packets that say anything at any time neither stop the timeline
// nor pile up.
func FuzzTrack(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0, 160, 1, 20, 8, 0, 2, 1, 64, 1, 20, 101, 0, 3, 1, 64, 1, 20})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &Track{}
		*r = *New(mono(), Place{Start: time.Unix(1e9, 0), Depth: depth})
		now := time.Duration(0)
		payload := make([]byte, 160)
		out := make([]int16, 2400)
		read := time.Duration(0)
		for ; len(b) >= 7; b = b[7:] {
			ts := uint32(b[3])<<8 | uint32(b[4])
			if b[6]&1 != 0 {
				ts <<= 16
			}
			from := netip.AddrPortFrom(sbc.Addr(), sbc.Port()+uint16(b[5]>>6))
			r.Push(rtpBytes(b[0], uint16(b[1])<<8|uint16(b[2]), ts, uint32(b[5]&3), payload[:b[5]%161]), from, now)
			now += time.Duration(b[6]) * time.Millisecond
			r.Settle(Samples(now, SampleRate))
			for read+batchTime <= now-depth {
				r.Read(out)
				read += batchTime
			}
			if n := len(r.queue.items) + len(r.queue.pool.free) + len(r.rivals) + len(r.lagging); n > maxQueued+2*maxHeld+2 {
				t.Fatalf("%d packets kept", n)
			}
		}
		r.End(now)
		r.Settle(Samples(now+time.Second, SampleRate))
		for !r.Over() {
			r.Read(out)
		}
		for i, g := range r.Gaps(Samples(now, SampleRate)) {
			if g.From >= g.To {
				t.Errorf("gap %d: %+v", i, g)
			}
		}
	})
}
