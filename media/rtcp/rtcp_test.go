package rtcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"
)

// sender is a sender report with a name, as in RFC 3550 section 6.4.1.
func sender(ssrc uint32, ntp uint64, rtp uint32) []byte {
	b := []byte{0x80, 200, 0, 6}
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = binary.BigEndian.AppendUint64(b, ntp)
	b = binary.BigEndian.AppendUint32(b, rtp)
	b = binary.BigEndian.AppendUint32(b, 50)
	b = binary.BigEndian.AppendUint32(b, 8000)
	b = append(b, 0x81, 202, 0, 2)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	return append(b, 1, 1, 'a', 0)
}

func TestParse(t *testing.T) {
	sr := sender(7, 0x0102030405060708, 99)
	bye := []byte{0x81, 203, 0, 1, 0, 0, 0, 7}
	for _, c := range []struct {
		name string
		in   []byte
		want Report
		bad  bool
	}{
		{"sender report", sr, Report{SSRC: 7, Sender: true, NTP: 0x0102030405060708, RTP: 99}, false},
		{"with bye", append(bytes.Clone(sr), bye...), Report{SSRC: 7, Sender: true, NTP: 0x0102030405060708, RTP: 99, Bye: true}, false},
		{"bye alone", bye, Report{SSRC: 7, Bye: true}, false},
		{"receiver report", []byte{0x80, 201, 0, 1, 0, 0, 0, 5}, Report{SSRC: 5}, false},
		{"short sender report", []byte{0x80, 200, 0, 1, 0, 0, 0, 5}, Report{SSRC: 5}, true},
		{"length beyond the end", []byte{0x80, 201, 0, 9, 0, 0, 0, 5}, Report{}, true},
		{"tail", append(bytes.Clone(bye), 1, 2), Report{SSRC: 7, Bye: true}, true},
		{"RTP", []byte{0x80, 8, 0, 1, 0, 0, 0, 5}, Report{}, true},
		{"nothing", nil, Report{}, true},
	} {
		got, err := Parse(c.in)
		if got != c.want || errors.Is(err, ErrFormat) != c.bad {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func TestAppend(t *testing.T) {
	prior := Source{Expected: 100, Received: 100}
	s := Source{SSRC: 7, Highest: 1<<16 | 4, Expected: 200, Received: 175, LastSR: 0x0102030405060708, Since: 1500 * time.Millisecond}
	b := Append(nil, 42, "siprecd", s, prior)
	if r, err := Parse(b); err != nil || r.SSRC != 42 || r.Sender || r.Bye {
		t.Fatalf("%+v, %v", r, err)
	}
	for at, want := range map[int]uint32{8: 7, 12: 64<<24 | 25, 16: 1<<16 | 4, 24: 0x03040506, 28: 98304} {
		if got := binary.BigEndian.Uint32(b[at:]); got != want {
			t.Errorf("word at %d is %#x, want %#x", at, got, want)
		}
	}
	for n := range 9 { // padding ends every name
		if _, err := Parse(Append(nil, 1, "abcdefghi"[:n], s, prior)); err != nil {
			t.Errorf("name of %d bytes: %v", n, err)
		}
	}
	if buf := make([]byte, 0, 128); testing.AllocsPerRun(10, func() { Append(buf, 1, "x", s, prior) }) > 0 {
		t.Error("allocates")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sender(1, 2, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := Parse(b); err == nil && r.Sender && len(b) < 28 {
			t.Error("a sender report out of nothing")
		}
	})
}
