package attack

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"siprecd/cmd/torture/foe"
	"siprecd/cmd/torture/rig"
)

// What one body may cost beyond an ordinary call.
const (
	bodyTime   = 20 * time.Millisecond
	bodyMemory = 4 << 20
)

// hostile is one kind of body, of any size.
type hostile struct {
	name string
	good bool // its session description is, so the call is recorded
	make func(host string, n int) (kind string, body []byte)
}

// bodies sends hostile bodies of growing size: none costs much, those with a
// good description are recorded, and the others get the answer that fits.
func bodies(l *rig.Lab) error {
	s, err := foe.Start(l)
	if err != nil {
		return err
	}
	t := &trial{l: l, s: s}
	for range 5 { // what is made once is made
		if err := t.calibrate(); err != nil {
			return err
		}
	}
	kinds := slices.Concat(documents(), multiparts(), descriptions())
	for i := range l.Rounds {
		k := kinds[i%len(kinds)]
		// From 1 to 1000 over the rounds, whatever their number.
		n := 1 + 999*(i/len(kinds))/max(1, (l.Rounds-1)/len(kinds))
		if err := t.try(k, n); err != nil {
			return fmt.Errorf("%s, %d: %w", k.name, n, err)
		}
	}
	slack := 1
	if l.Rounds < 100 { // on a machine that is busy with other tests
		slack = 4
	}
	l.Count("bodies that got an answer which does not fit", t.wrong, 0)
	l.AtMost("processor time of the dearest: "+t.slowest, t.time, bodyTime*time.Duration(slack))
	l.Figure("memory for the worst of up to 64 KiB: "+t.largest, foe.MiB(t.memory), "≤ 4 MiB", t.memory <= bodyMemory)
	l.Figure("what the worst larger one takes beyond that, in times its size: "+t.greediest, fmt.Sprintf("%.1f", t.times), "≤ 16", t.times <= 16)
	return t.kept()
}

// kept looks for the media of the calls that were to be recorded.
func (t *trial) kept() error {
	if _, err := t.s.Finished(t.recorded, 20*time.Second); err != nil {
		return err
	}
	ms, err := t.s.Manifests()
	if err != nil {
		return err
	}
	heard := 0
	for _, m := range ms {
		if slices.ContainsFunc(m.Streams, func(s rig.Stream) bool { return s.Packets == packetsEach }) {
			heard++
		}
	}
	t.l.Figure("recorded with their media", fmt.Sprintf("%d of %d", heard, t.recorded), "all", heard == t.recorded && heard > 0)
	st, err := foe.Status(t.s)
	t.l.Count("panics", int(st.Refusals["panic"]), 0)
	return err
}

// packetsEach is how many RTP packets every recorded call sends.
const packetsEach = 10

// trial is a run of them all.
type trial struct {
	l *rig.Lab
	s *rig.Server

	usualTime   time.Duration // of an ordinary call; the least seen
	usualMemory int64

	wrong, recorded int
	time            time.Duration
	memory          int64
	slowest         string
	largest         string
	times           float64 // of a body over 64 KiB, its own size
	greediest       string
}

// calibrate measures an ordinary call.
func (t *trial) calibrate() error {
	c, m, err := t.measure(hostile{name: "an ordinary call", good: true, make: func(host string, _ int) (string, []byte) {
		return foe.Multipart(foe.NewPart("application/sdp", foe.SDP(host, 40000)), foe.NewPart("application/rs-metadata+xml", foe.Metadata()))
	}}, 0)
	if t.usualTime == 0 || c < t.usualTime {
		t.usualTime = c
	}
	if t.usualMemory == 0 || m < t.usualMemory {
		t.usualMemory = m
	}
	return err
}

// try measures one body, and once more while it seems dear: other things go on
// in the process too.
func (t *trial) try(k hostile, n int) error {
	var cost time.Duration
	var memory int64
	for i := range 4 {
		c, m, err := t.measure(k, n)
		if err != nil {
			return err
		}
		c, m = c-t.usualTime, m-t.usualMemory
		if i == 0 {
			cost, memory = c, m
		}
		cost, memory = min(cost, c), min(memory, m)
		if cost <= bodyTime && memory <= bodyMemory {
			break
		}
	}
	if name := fmt.Sprintf("%s, %d", k.name, n); cost > t.time {
		t.time, t.slowest = cost, name
	}
	_, body := k.make("127.0.0.1", n)
	times := float64(memory-bodyMemory) / float64(max(1, len(body)))
	switch name := fmt.Sprintf("%s, %d", k.name, n); {
	case len(body) <= 64<<10 && memory > t.memory:
		t.memory, t.largest = memory, name
	case len(body) > 64<<10 && times > t.times:
		t.times, t.greediest = times, name
	}
	return nil
}

// measure makes one call: what the process used until the answer came.
func (t *trial) measure(k hostile, n int) (time.Duration, int64, error) {
	p, err := foe.Dial("tcp", "", t.s.TCP, nil)
	if err != nil {
		return 0, 0, err
	}
	defer p.Close()
	r := p.Invite(k.make(p.Host(), n))
	raw := p.Bytes(r)
	m0, err := t.s.Metric("go_memstats_alloc_bytes_total")
	if err != nil {
		return 0, 0, err
	}
	c0 := foe.CPU(t.s.Pid())
	if _, err := p.Write(raw); err != nil {
		return 0, 0, err
	}
	a, err := p.Final(20 * time.Second)
	used := foe.CPU(t.s.Pid()) - c0
	if err != nil {
		return 0, 0, fmt.Errorf("no answer: %w", err)
	}
	m1, err := t.s.Metric("go_memstats_alloc_bytes_total")
	t.judge(k, n, a)
	if a.Code() == 200 {
		_ = p.Ack(r, a)
		if k.good {
			t.recorded++
			speak(p.Host(), a)
		}
		_, _ = p.Bye(r, a)
	}
	return used, int64(m1 - m0), err
}

func (t *trial) judge(k hostile, n int, a foe.Reply) {
	ok := a.Code() == 200
	if !k.good {
		switch a.Code() {
		case 400, 413, 415, 488:
			ok = true
		default:
			ok = false
		}
	}
	if !ok {
		t.l.Logf("%s, %d: %d %s", k.name, n, a.Code(), a.Head.Reason)
		t.wrong++
	}
}

// speak sends some RTP to where an answer says.
func speak(host string, a foe.Reply) {
	at := foe.Ports(a.Body)
	if len(at) == 0 {
		return
	}
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(host)}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at[0]})
	if err != nil {
		return
	}
	defer c.Close()
	for i := range packetsEach {
		_, _ = c.Write(foe.RTP(8, uint16(i), uint32(160*i), 4711, bytes.Repeat([]byte{0xd5}, 160))) // counted at the other end
	}
	<-time.After(5 * time.Millisecond)
}

// documents are hostile metadata. n goes from 1 to 1000, here and below.
func documents() []hostile {
	xml := func(name string, doc func(n int) string) hostile {
		return hostile{name, true, func(host string, n int) (string, []byte) {
			return foe.Multipart(foe.NewPart("application/sdp", foe.SDP(host, 40000)), foe.NewPart("application/rs-metadata+xml", []byte(doc(n))))
		}}
	}
	wrapped := func(first, second string) string { return string(foe.Document(first, second, "")) }
	within := func(more string) string { return string(foe.Document("A", "B", more)) }
	return []hostile{
		xml("entity bomb", func(n int) string {
			var b strings.Builder
			b.WriteString(`<!DOCTYPE r [<!ENTITY a0 "lol">`)
			for i := range 5 + n/50 {
				fmt.Fprintf(&b, `<!ENTITY a%d "%s">`, i+1, strings.Repeat(fmt.Sprintf("&a%d;", i), 10))
			}
			return b.String() + `]><recording xmlns="urn:ietf:params:xml:ns:recording:1">&a5;</recording>`
		}),
		xml("outside entity", func(int) string {
			return `<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><recording xmlns="urn:ietf:params:xml:ns:recording:1">&x;</recording>`
		}),
		xml("nesting", func(n int) string {
			return within(strings.Repeat("<x>", 100*n) + strings.Repeat("</x>", 100*n))
		}),
		xml("unclosed", func(n int) string { return within(strings.Repeat("<x a='b'>", 100*n)) }),
		xml("attributes", func(n int) string {
			var b strings.Builder
			for i := range 50 * n {
				fmt.Fprintf(&b, " a%d='x'", i)
			}
			return within("<x" + b.String() + "/>")
		}),
		xml("participants", func(n int) string {
			return within(strings.Repeat(`<participant participant_id="p"><nameID aor="sip:a@b"/></participant>`, 12*n))
		}),
		xml("streams", func(n int) string {
			return within(strings.Repeat(`<stream stream_id="s" session_id="hVpd7YQgRW2nD22h7q60JQ=="><label>1</label></stream>`, 10*n))
		}),
		xml("bidi and breaks in names", func(n int) string {
			return wrapped("&#x202e;drowssap"+strings.Repeat("&#x202e;", n), "a&#13;&#10;X-Evil: 1"+strings.Repeat("&#13;&#10;", n))
		}),
		xml("script in names", func(n int) string {
			return wrapped("&lt;script&gt;alert("+fmt.Sprint(n)+")&lt;/script&gt;", "&quot;onload=&quot;"+strings.Repeat("A", 10*n))
		}),
		xml("long name", func(n int) string { return wrapped(strings.Repeat("x", 900*n), "B") }),
		xml("comment", func(n int) string { return within("<!--" + strings.Repeat(" x", 400*n) + "-->") }),
		xml("not UTF-8", func(n int) string { return within(strings.Repeat("\xff\xfe\x00", 50*n)) }),
		xml("declared UTF-16", func(n int) string {
			return `<?xml version="1.0" encoding="UTF-16"?>` + strings.Repeat("\x00<", 100*n)
		}),
		xml("no XML at all", func(n int) string { return strings.Repeat("]]>&<", 100*n) }),
		xml("namespaces", func(n int) string {
			var b strings.Builder
			for i := range 20 * n {
				fmt.Fprintf(&b, `<x%d:y xmlns:x%d="u%d"/>`, i, i, i)
			}
			return within(b.String())
		}),
	}
}

// multiparts are hostile bodies of many parts.
func multiparts() []hostile {
	return []hostile{
		{"many parts", true, func(host string, n int) (string, []byte) {
			kind, body := foe.Multipart(foe.NewPart("application/sdp", foe.SDP(host, 40000)), foe.NewPart("text/plain", []byte("x")))
			return kind, append(body, bytes.Repeat([]byte("--torture\r\n\r\n"), n)...)
		}},
		{"too many parts", false, func(host string, n int) (string, []byte) {
			var all []foe.Part
			for range 10 + 5*n {
				all = append(all, foe.NewPart("text/plain", []byte("x")))
			}
			return foe.Multipart(append(all, foe.NewPart("application/sdp", foe.SDP(host, 40000)))...)
		}},
		{"parts in parts", true, func(host string, n int) (string, []byte) {
			inner := []byte("x")
			for i := range min(n, 200) {
				inner = fmt.Appendf(nil, "--b%d\r\nContent-Type: multipart/mixed;boundary=b%d\r\n\r\n%s\r\n--b%d--\r\n", i, i-1, inner, i)
			}
			return foe.Multipart(foe.NewPart("application/sdp", foe.SDP(host, 40000)), foe.NewPart(fmt.Sprintf("multipart/mixed;boundary=b%d", min(n, 200)-1), inner))
		}},
		{"a foe.Part's endless header", true, func(host string, n int) (string, []byte) {
			kind, body := foe.Multipart(foe.NewPart("application/sdp", foe.SDP(host, 40000)))
			return kind, append(bytes.TrimSuffix(body, []byte("--\r\n")), "\r\nX: "+strings.Repeat("y", 900*n)...)
		}},
		{"no closing boundary", true, func(host string, n int) (string, []byte) {
			return "multipart/mixed;boundary=torture", fmt.Appendf(nil, "--torture\r\nContent-Type: application/sdp\r\n\r\n%s\r\n--torture\r\nContent-Type: x/%s", foe.SDP(host, 40000), strings.Repeat("y", 50*n))
		}},
		{"base64 of nothing", true, func(host string, n int) (string, []byte) {
			return foe.Multipart(foe.NewPart("application/sdp", foe.SDP(host, 40000)), foe.NewPart("application/rs-metadata+xml\r\nContent-Transfer-Encoding: base64", bytes.Repeat([]byte("=?"), 400*n)))
		}},
	}
}

// descriptions are hostile session descriptions, and none at all.
func descriptions() []hostile {
	lines := func(name string, good bool, line func(n int) string) hostile {
		return hostile{name, good, func(host string, n int) (string, []byte) {
			return "application/sdp", foe.SDP(host, 40000, line(n))
		}}
	}
	return []hostile{
		lines("too many m-lines", false, func(n int) string {
			return strings.Repeat("m=audio 40010 RTP/AVP 8\r\n", 31+2*n)
		}),
		lines("many attributes", true, func(n int) string { return strings.Repeat("a=x:y\r\n", 8*n) }),
		lines("a long attribute", true, func(n int) string { return "a=" + strings.Repeat("x", 50*n) + "\r\n" }),
		lines("many payload types", true, func(n int) string {
			return "m=audio 40010 RTP/AVP" + strings.Repeat(" 96", n/9) + "\r\n" + strings.Repeat("a=rtpmap:96 x/8000\r\n", 2*n)
		}),
		lines("many keys", true, func(n int) string {
			return strings.Repeat("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n", 1+n/2)
		}),
		lines("numbers out of range", false, func(n int) string {
			return fmt.Sprintf("m=audio 99999%d RTP/AVP -1 300\r\na=ptime:-%d\r\nb=AS:99999999999999999999\r\n", n, n)
		}),
		{"a description of noise", false, func(_ string, n int) (string, []byte) {
			return "application/sdp", bytes.Repeat([]byte("\x00\xff="), 100*n)
		}},
		{"an unknown type", false, func(_ string, n int) (string, []byte) {
			return "application/" + strings.Repeat("x", n), bytes.Repeat([]byte("x"), 900*n)
		}},
	}
}
