package recorder_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"siprecd/media"
	"siprecd/recorder"
	"siprecd/siprec/siprectest/audio"
	"siprecd/store/policy"
)

// offerOf is a plain INVITE to a listed line with these m-lines.
func (p *rawPeer) offer(lines ...string) answer {
	p.t.Helper()
	body := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" + strings.Join(lines, "")
	p.request = "INVITE sip:02088257050@127.0.0.1 SIP/2.0\r\n" +
		"Via: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bKcodecs\r\nMax-Forwards: 70\r\n" +
		"From: <sip:02079460011@127.0.0.1>;tag=c1\r\nTo: <sip:02088257050@127.0.0.1>\r\n" +
		"Call-ID: codecs-" + strconv.Itoa(len(body)) + "@127.0.0.1\r\nCSeq: 1 INVITE\r\n" +
		"Contact: <sip:sbc@127.0.0.1;transport=tcp>;+sip.src\r\nContent-Type: application/sdp"
	p.send(fmt.Sprintf("%s\r\nContent-Length: %d\r\n\r\n%s", p.request, len(body), body))
	for {
		if res := p.response(); res.code >= 200 {
			if m := regexp.MustCompile(`;\s*tag=([^;\s]+)`).FindStringSubmatch(res.head.Get("To")); m != nil {
				p.toTag = m[1]
			}
			return res
		}
	}
}

// sender sends RTP to one port, in time.
type sender struct {
	t    *testing.T
	conn *net.UDPConn
	to   netip.AddrPort
	seq  uint16
	ts   uint32
}

func newSender(t *testing.T, res answer) *sender {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &sender{t: t, conn: conn, to: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(res.taken()[0].port)), ts: 5000}
}

// send sends payloads 20 ms apart, with time stamps that count step each; 0:
// those of one event.
func (s *sender) send(pt uint8, step int, payloads [][]byte) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, p := range payloads {
		b := []byte{0x80, pt, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}
		binary.BigEndian.PutUint16(b[2:], s.seq)
		binary.BigEndian.PutUint32(b[4:], s.ts)
		if _, err := s.conn.WriteToUDPAddrPort(append(b, p...), s.to); err != nil {
			s.t.Fatal(err)
		}
		s.seq, s.ts = s.seq+1, s.ts+uint32(step)
		<-tick.C
	}
}

// coded is a tone as ffmpeg codes it.
func coded(t *testing.T, hz, rate int, to ...string) []byte {
	t.Helper()
	args := append([]string{"-v", "error", "-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=%d:sample_rate=%d:duration=2", hz, rate), "-ac", "1"}, to...)
	out, err := exec.Command("ffmpeg", append(args, "-")...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Wideband codecs are recorded with their whole band and at their true pitch.
func TestWidebandIsRecorded(t *testing.T) {
	for _, c := range []struct {
		name, line string
		pt         uint8
		step, size int
		args       []string
	}{
		{"G722", "m=audio 40000 RTP/AVP 18 9 0\r\na=sendonly\r\n", 9, 160, 160, []string{"-c:a", "g722", "-f", "g722"}},
		{"L16", "m=audio 40000 RTP/AVP 97\r\na=rtpmap:97 L16/16000\r\na=sendonly\r\n", 97, 320, 640, []string{"-f", "s16be"}},
		{"L16 not first", "m=audio 40000 RTP/AVP 8 97\r\na=rtpmap:97 L16/16000\r\na=sendonly\r\n", 97, 320, 640, []string{"-f", "s16be"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			p := dialRaw(t, r.tcp)
			res := p.offer(c.line)
			if res.code != 200 || strings.Contains(res.body, " 18") {
				t.Fatalf("answered %d: %s", res.code, res.body)
			}
			p.ack()
			payloads := slices.Collect(slices.Chunk(coded(t, 6000, 16000, c.args...), c.size))
			began := time.Now()
			newSender(t, res).send(c.pt, c.step, payloads)
			sending := time.Since(began).Seconds() // longer where the machine holds the sender up
			p.bye()
			a := r.heard(r.finished(1)[0].ID)
			pcm := a.Channels[0]
			if l := level(pcm[len(pcm)/3:len(pcm)*2/3], 6000); l < -30 {
				t.Errorf("the tone of 6 kHz is at %.1f dBFS", l)
			}
			if s := float64(len(pcm)) / media.DecodedRate; s < 1.9 || s > sending+0.6 {
				t.Errorf("two seconds, sent in %.2f, became %.2f", sending, s)
			}
		})
	}
}

// An offer of nothing that we play is told everything that we do play.
func TestNoCommonCodecNamesAll(t *testing.T) {
	r := newRig(t, nil)
	res := dialRaw(t, r.tcp).offer("m=audio 40000 RTP/AVP 3 4 15\r\na=fmtp:4 annexa=no\r\n")
	if res.code != 488 {
		t.Fatalf("answered %d", res.code)
	}
	for _, c := range []string{"PCMU/8000", "PCMA/8000", "G722/8000", "opus/48000/2", "L16/16000"} {
		if !strings.Contains(res.head.Get("Warning"), c) {
			t.Errorf("%s is not in %q", c, res.head.Get("Warning"))
		}
	}
}

// Keys are heard by nobody, and are in the history only where the line's policy
// keeps them.
func TestKeysByPolicy(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(strconv.FormatBool(keep), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(cfg *recorder.Config) {
				p := council()
				for i := range p.Lines {
					p.Lines[i].DTMF = keep
				}
				rules, err := policy.New(p)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Rules = rules
			})
			p := dialRaw(t, r.tcp)
			res := p.offer("m=audio 40000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendonly\r\n")
			p.ack()
			s := newSender(t, res)
			quiet := slices.Repeat([][]byte{bytes.Repeat([]byte{audio.EncodeMuLaw(0)}, 160)}, 25)
			s.send(0, 160, quiet)
			for _, key := range []byte{4, 2} {
				event := make([][]byte, 8)
				for i := range event {
					end := byte(10)
					if i > 5 {
						end |= 0x80
					}
					event[i] = []byte{key, end, 0, 160}
				}
				s.send(101, 0, event)
				s.ts += 160 * 8
				s.send(0, 160, quiet)
			}
			p.bye()
			id := r.finished(1)[0].ID
			var pressed []string
			for _, e := range r.details(id).History {
				if e.Kind == "dtmf" {
					pressed = append(pressed, e.Text[len(e.Text)-1:])
				}
			}
			want := ""
			if keep {
				want = "42"
			}
			if got := strings.Join(pressed, ""); got != want {
				t.Errorf("the history has %q, want %q", got, want)
			}
			for i, v := range r.heard(id).Channels[0] {
				if math.Abs(float64(v)) > 200 {
					t.Fatalf("sample %d is %d", i, v)
				}
			}
		})
	}
}
