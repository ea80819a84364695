package attack

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"siprecd/cmd/torture/foe"
	"siprecd/cmd/torture/rig"
)

// sizes sends INVITEs of 1 to 60 kB, and such as have answers of 1 to 8 kB, on
// UDP, on TCP, and on TCP a byte at a time: none is left without an answer, and
// the ordinary ones are recorded.
func sizes(l *rig.Lab) error {
	s, err := foe.Start(l)
	if err != nil {
		return err
	}
	var r sized
	for i := range l.Rounds {
		bytes := 1000 + i*59000/max(1, l.Rounds-1)
		lines := 2 + i*30/max(1, l.Rounds-1) // up to 32
		for _, way := range []string{"udp", "tcp", "drop by drop"} {
			r.request(l, s, way, bytes)
		}
		r.answer(l, s, lines)
	}
	l.Figure("requests without a final answer", fmt.Sprintf("%d of %d", r.silent, r.sent), "0", r.silent == 0 && r.sent > 0)
	l.Count("answers of a class that does not fit", r.wrong, 0)
	l.Count("answers that are not whole", r.broken, 0)
	l.Figure("the longest answer on UDP", fmt.Sprintf("%d bytes", r.longest), "> 2,000 bytes", r.longest > 2000)
	return nil
}

type sized struct{ sent, silent, wrong, broken, longest int }

// request sends an INVITE of about so many bytes.
func (z *sized) request(l *rig.Lab, s *rig.Server, way string, size int) {
	network := way
	if way == "drop by drop" {
		network = "tcp"
	}
	p, err := foe.Dial(network, foe.Source(z.sent/4)+":0", s.UDP, nil)
	if err != nil {
		z.silent++
		return
	}
	defer p.Close()
	r := p.Invite("", nil)
	if pad := size - len(p.Bytes(r)); pad > 0 {
		r.Kind, r.Body = foe.Multipart(foe.NewPart("application/sdp", foe.SDP(p.Host(), 40000)),
			foe.NewPart("application/rs-metadata+xml", foe.Document("A Resident", "Council Tax", "<extensiondata id=\"1\">"+strings.Repeat("x", pad)+"</extensiondata>")))
	}
	raw := p.Bytes(r)
	z.sent++
	step := len(raw)
	if way == "drop by drop" {
		step = max(1, len(raw)/5000) // what is not done in 5 s is cut off
	}
	for rest := raw; len(rest) > 0; rest = rest[min(step, len(rest)):] {
		if _, err := p.Write(rest[:min(step, len(rest))]); err != nil {
			break
		}
	}
	z.judge(l, p, r, len(raw), network == "udp" && len(raw) > 32000)
}

// judge takes the answer. Past what a UDP read takes, a refusal is an answer too.
func (z *sized) judge(l *rig.Lab, p *foe.Peer, r foe.Request, size int, mayRefuse bool) foe.Reply {
	a, err := p.Final(10 * time.Second)
	switch {
	case err != nil:
		l.Logf("%d bytes on %s: %v", size, p.Network, err)
		z.silent++
	case a.Code() == 200:
		_ = p.Ack(r, a)
		if _, err := p.Bye(r, a); err != nil {
			z.silent++
		}
	case a.Code()/100 != 4 && a.Code() != 513 || !mayRefuse:
		l.Logf("%d bytes on %s: %d %s", size, p.Network, a.Code(), a.Head.Reason)
		z.wrong++
	}
	return a
}

// answer offers so many streams, whose answer is long.
func (z *sized) answer(l *rig.Lab, s *rig.Server, lines int) {
	p, err := foe.Dial("udp", foe.Source(5000+z.sent/4)+":0", s.UDP, nil)
	if err != nil {
		z.silent++
		return
	}
	defer p.Close()
	var more []string
	for i := 2; i < lines; i++ {
		more = append(more, fmt.Sprintf("m=video %d RTP/AVP 96 97\r\na=rtpmap:96 H264/90000\r\na=rtpmap:97 VP8/90000\r\na=label:%s%d\r\na=sendonly\r\n", 41000+2*i, strings.Repeat("label", 20), i))
	}
	r := p.Invite("application/sdp", foe.SDP(p.Host(), 40000, more...))
	z.sent++
	if err := p.Send(r); err != nil {
		z.silent++
		return
	}
	a := z.judge(l, p, r, len(r.Body), false)
	if a.Code() == 200 && bytes.Count(a.Body, []byte("\nm=")) != lines {
		l.Logf("%d streams were answered by %d", lines, bytes.Count(a.Body, []byte("\nm=")))
		z.broken++
	}
	z.longest = max(z.longest, len(a.Body))
}
