package rtpsend

import (
	"encoding/binary"
	"strings"
	"time"
)

// eventEnds is how often the last packet of an event is sent (RFC 4733
// 2.5.1.4).
const eventEnds = 3

// EventCode is the event number of a DTMF digit (RFC 4733 3.2).
func EventCode(digit byte) (byte, bool) {
	i := strings.IndexByte("0123456789*#ABCD", digit)
	return byte(i), i >= 0 && digit != 0
}

// event sends an RTP event instead of audio, if one is on at this moment of
// the stream. The timestamp stays at the event's beginning, the duration grows
// with every packet, and the last one is sent three times.
func (s *Stream) event(at time.Duration) bool {
	for _, e := range s.c.Events {
		if at < e.At || at >= e.At+e.For {
			continue
		}
		ptime := time.Duration(s.samples) * time.Second / SampleRate
		done := (at-e.At)/ptime + 1 // packets of this event, with this one
		code, _ := EventCode(e.Digit)
		begin := s.pos - int(done-1)*s.samples
		last := at+ptime >= e.At+e.For
		times := 1
		if last {
			times = eventEnds
		}
		s.marker = done == 1
		for range times {
			s.header(s.c.EventPT, s.c.Timestamp+uint32(begin))
			b := s.pkt.b[rtpHeader:]
			b[0], b[1] = code, 10 // volume -10 dBm0
			if last {
				b[1] |= 0x80
			}
			binary.BigEndian.PutUint16(b[2:], uint16(min(int(done)*s.samples, 0xffff)))
			s.pkt.n = rtpHeader + 4
			s.seal()
			s.stats.Events++
			s.write(&s.pkt)
		}
		return true
	}
	return false
}
