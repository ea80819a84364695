package attack

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"siprecd/cmd/torture/foe"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/trace"
)

// wide lets everything through that is not broken: these rows are about the
// parsers, and not about how many requests come.
func wide() []string {
	return []string{"sip.flood.rate=10000", "sip.flood.burst=10000", "sip.flood.pending=10000"}
}

// messages sends requests that lack headers, oddities in the manner of RFC 4475
// and mutations, over UDP, TCP and TLS: the server lives, what can be answered
// is, and nobody can fill its log.
func messages(l *rig.Lab) error {
	s, secure, err := withTLS(l, wide()...)
	if err != nil {
		return err
	}
	pid := s.Pid()
	missing := min(2048, l.Rounds/2)
	silent, wrong, err := incomplete(l, s, missing)
	if err != nil {
		return err
	}
	l.Figure("requests that could be answered and were not", fmt.Sprintf("%d of %d", silent, missing), "0", silent == 0)
	l.Count("requests taken that lack what each must have", wrong, 0)
	silent, wrong = oddities(l, s)
	l.Count("oddities without an answer", silent, 0)
	l.Count("oddities with an answer of another class", wrong, 0)
	rng := rand.New(rand.NewPCG(1, 2))
	rest := l.Rounds - missing
	for i, to := range []string{s.UDP, s.TCP, secure} {
		if err := pour(to, []string{"udp", "tcp", "tls"}[i], rest/3, func(p *foe.Peer) []byte {
			return mutate(rng, p.Bytes(p.Invite("", nil)))
		}); err != nil {
			return err
		}
	}
	perMessage := len(s.Output()) / max(1, l.Rounds)
	l.Figure("log", fmt.Sprintf("%d bytes a message", perMessage), "≤ 1 KiB", perMessage <= 1024)
	return alive(l, s, pid)
}

// alive looks whether the server is as it was.
func alive(l *rig.Lab, s *rig.Server, pid int) error {
	st, err := foe.Status(s)
	if err != nil {
		return err
	}
	l.Count("panics", int(st.Refusals["panic"]), 0)
	l.Figure("the same process", fmt.Sprint(s.Pid() == pid && !s.Ended()), "true", s.Pid() == pid && !s.Ended())
	ok := 0
	if l.Await("a call goes through once those have ended that nobody acknowledged", time.Minute, func() bool { return call(s) }) == nil {
		ok = 1
	}
	l.Count("a call afterwards", ok, 1)
	return nil
}

// call is whether a whole call goes through.
func call(s *rig.Server) bool {
	p, err := foe.Dial("tcp", "", s.TCP, nil)
	if err != nil {
		return false
	}
	defer p.Close()
	return cycle(p) == nil
}

// incomplete leaves out headers in all ways: of those that a foe.Request must have
// to be answered, and of others.
func incomplete(l *rig.Lab, s *rig.Server, n int) (silent, taken int, err error) {
	p, err := foe.Dial("udp", "", s.UDP, nil)
	if err != nil {
		return 0, 0, err
	}
	defer p.Close()
	answers := collect(p)
	methods := []string{"OPTIONS", "INVITE", "BYE", "UPDATE", "INFO", "REGISTER", "CANCEL", "ACK"}
	headers := []string{"Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Contact", "Content-Length"}
	want := map[string]bool{} // by Call-ID: must it be answered
	for i := range n {
		method, mask := methods[i%len(methods)], i/len(methods)%256
		id := fmt.Sprint("missing", i)
		raw := string(p.Bytes(foe.Request{Method: method, ID: id, Tag: "t", CSeq: 1}))
		for bit, h := range headers {
			if mask&(1<<bit) != 0 {
				raw = without(raw, h)
			}
		}
		want[id] = mask&31 == 0 && method != "ACK"
		_, _ = p.Write([]byte(raw)) // an ICMP error of before is no news
		if i%50 == 49 {
			foe.Wait(l, 5*time.Millisecond)
		}
	}
	silent, taken = fits(l, answers, want)
	return silent, taken, nil
}

// fits waits for the answers that must come; how many did not, and how many
// requests were taken that should not have been.
func fits(l *rig.Lab, answers *answers, want map[string]bool) (silent, taken int) {
	_ = l.Await("answers", 10*time.Second, func() bool {
		for id, must := range want {
			if must && answers.of(id) == 0 {
				return false
			}
		}
		return true
	})
	for id, must := range want {
		code := answers.of(id)
		if must && code == 0 {
			silent++
		}
		if !must && code/100 == 2 {
			taken++
		}
	}
	return silent, taken
}

// without takes a header line out.
func without(raw, name string) string {
	i := strings.Index(raw, "\r\n"+name+":")
	if i < 0 {
		return raw
	}
	end := strings.Index(raw[i+2:], "\r\n")
	return raw[:i] + raw[i+2+end:]
}

// answers are the final responses that came, by Call-ID.
type answers struct {
	mu    sync.Mutex
	codes map[string]int
}

func (a *answers) of(id string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.codes[id]
}

// collect reads responses until the connection is closed.
func collect(p *foe.Peer) *answers {
	a := &answers{codes: map[string]int{}}
	go func() {
		for {
			raw, err := p.Message(time.Now().Add(time.Hour))
			if err != nil && strings.Contains(err.Error(), "closed") {
				return
			}
			if h := trace.ReadHead(raw); h.Status >= 200 {
				a.mu.Lock()
				a.codes[h.CallID] = h.Status
				a.mu.Unlock()
			}
		}
	}()
	return a
}

// odd is a foe.Request that is unusual, and the classes of answer that fit.
type odd struct {
	name  string
	want  string // first digits of the codes that fit
	write func(p *foe.Peer) string
}

// oddities sends requests in the manner of RFC 4475 and 5118.
func oddities(l *rig.Lab, s *rig.Server) (silent, wrong int) {
	for i, o := range odds() {
		p, err := foe.Dial("udp", "", s.UDP, nil)
		if err != nil {
			silent++
			continue
		}
		_, _ = p.Write([]byte(o.write(p)))
		a, err := p.Final(3 * time.Second)
		p.Close()
		switch {
		case err != nil:
			l.Logf("%d %s: %v", i, o.name, err)
			silent++
		case !strings.Contains(o.want, fmt.Sprint(a.Code()/100)):
			l.Logf("%d %s: %d %s", i, o.name, a.Code(), a.Head.Reason)
			wrong++
		}
	}
	return silent, wrong
}

func odds() []odd {
	swap := func(pairs ...string) func(*foe.Peer) string {
		return func(p *foe.Peer) string {
			return strings.NewReplacer(pairs...).Replace(string(p.Bytes(foe.Request{Method: "OPTIONS", ID: "odd", Tag: "t", CSeq: 7})))
		}
	}
	return []odd{
		{"folded lines and blanks", "2", swap("Max-Forwards: 70", "Max-Forwards : \r\n  70", "Contact:", "Contact \t:")},
		{"compact names", "2", swap("Via:", "v:", "From:", "f:", "To:", "t:", "Call-ID:", "i:", "Contact:", "m:", "Content-Length:", "l:")},
		{"case", "2", swap("Via:", "vIA:", "CSeq:", "cseq:", "Call-ID:", "CALL-id:")},
		{"escapes in the URI", "2", swap("sip:rec@", "sip:re%63%00%2a@")},
		{"no user in the URI", "2", swap("sip:rec@", "sip:")},
		{"unknown parameters", "2", swap(";rport", ";rport;x=\"y;z\";null=%00")},
		{"quoted display name", "2", swap("From: <", "From: \"a \\\\ \\\" <b>; tag=x\" <")},
		{"a long Call-ID", "2", swap("Call-ID: odd", "Call-ID: "+strings.Repeat("x", 2000))},
		{"many headers", "2", swap("Max-Forwards:", strings.Repeat("X: y\r\n", 300)+"Max-Forwards:")},
		{"UTF-8", "2", swap("Max-Forwards:", "Subject: \u0416\u202e\u0000\r\nMax-Forwards:")},
		{"an unknown method", "4", func(p *foe.Peer) string {
			return string(p.Bytes(foe.Request{Method: "NEWMETHOD", ID: "odd", Tag: "t", CSeq: 7}))
		}},
		{"an unknown scheme", "245", swap("OPTIONS sip:rec", "OPTIONS nobodyKnowsThisScheme:rec")},
		{"the method differs in CSeq", "4", swap("7 OPTIONS", "7 INVITE")},
		{"a CSeq that is no number", "4", swap("CSeq: 7", "CSeq: seven")},
		{"a CSeq of 36 bits", "4", swap("CSeq: 7", "CSeq: 36893488147419103232")},
		{"an unknown version", "45", swap(" SIP/2.0\r\nVia", " SIP/7.0\r\nVia")},
		{"Require of an unknown thing", "4", swap("Max-Forwards:", "Require: nothingSupportsThis\r\nMax-Forwards:")},
		{"no Max-Forwards left", "24", swap("Max-Forwards: 70", "Max-Forwards: 0")},
		{"Max-Forwards of a word", "24", swap("Max-Forwards: 70", "Max-Forwards: many")},
		{"two Call-IDs", "24", swap("Max-Forwards:", "Call-ID: other\r\nMax-Forwards:")},
		{"a longer Content-Length", "4", swap("Content-Length: 0", "Content-Length: 9999")},
		{"a negative Content-Length", "4", swap("Content-Length: 0", "Content-Length: -999")},
		{"an unclosed quote", "24", swap("From: <", "From: \"x <")},
		{"an unclosed bracket", "24", swap("To: <", "To: <<")},
		{"IPv6 without brackets", "24", swap("sip:rec@", "sip:rec@2001:db8::9:1;x=")},
		{"a line break of another kind", "4", swap("\r\nMax", "\nMax")},
		{"an INVITE of noise", "4", func(p *foe.Peer) string {
			return string(p.Bytes(p.Invite("application/sdp", []byte("\x00\x01v=0"))))
		}},
		{"an unknown body", "4", func(p *foe.Peer) string { return string(p.Bytes(p.Invite("application/unknown", []byte("x")))) }},
	}
}

// pour writes n messages without waiting for answers. A stream that is closed
// by the server is opened anew.
func pour(to, network string, n int, next func(*foe.Peer) []byte) error {
	var p *foe.Peer
	var err error
	for i := range n {
		if p == nil {
			if p, err = foe.Dial(network, "", to, anyone()); err != nil {
				return err
			}
			collect(p)
		}
		if _, err := p.Write(next(p)); err != nil && network != "udp" || i%100 == 99 {
			p.Close()
			p = nil
		}
		if i%20 == 19 {
			<-time.After(4 * time.Millisecond)
		}
	}
	if p != nil {
		p.Close()
	}
	return nil
}

// mutate changes some of a message: bits, bytes, stretches, lines.
func mutate(rng *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + rng.IntN(4) {
		if len(b) < 8 {
			return b
		}
		at := rng.IntN(len(b) - 4)
		n := 1 + rng.IntN(min(64, len(b)-at-1))
		switch rng.IntN(7) {
		case 0:
			b[at] ^= 1 << rng.IntN(8)
		case 1:
			b[at] = byte(rng.IntN(256))
		case 2:
			b = append(b[:at:at], b[at+n:]...)
		case 3:
			b = append(b[:at:at], append(bytes.Repeat(b[at:at+n], 1+rng.IntN(20)), b[at:]...)...)
		case 4:
			b = append(b[:at:at], append([]byte([]string{"\r\n", "\x00", "%", "<", ">", "\"", ";", ":", "--", "&#x0;", "9999999999"}[rng.IntN(11)]), b[at:]...)...)
		case 5: // a digit
			if i := bytes.IndexAny(b[at:], "0123456789"); i >= 0 {
				b[at+i] = byte('0' + rng.IntN(10))
			}
		case 6: // swap two lines
			lines := bytes.SplitAfter(b, []byte("\n"))
			i, j := rng.IntN(len(lines)), rng.IntN(len(lines))
			lines[i], lines[j] = lines[j], lines[i]
			b = bytes.Join(lines, nil)
		}
	}
	return b
}

// mutants sends calls whose bodies are mutated, so that most get through to the
// metadata and the index; the long form lets Go's fuzzer look for more.
func mutants(l *rig.Lab) error {
	s, err := foe.Start(l, wide()...)
	if err != nil {
		return err
	}
	pid := s.Pid()
	rng := rand.New(rand.NewPCG(3, 4))
	broken := func(p *foe.Peer) []byte {
		r := p.Invite("", nil)
		switch rng.IntN(3) {
		case 0:
			r.Body = mutate(rng, r.Body)
		case 1:
			r.Kind, r.Body = foe.Multipart(foe.NewPart("application/sdp", mutate(rng, foe.SDP(p.Host(), 40000))), foe.NewPart("application/rs-metadata+xml", foe.Metadata()))
		case 2:
			r.Kind, r.Body = foe.Multipart(foe.NewPart("application/sdp", foe.SDP(p.Host(), 40000)), foe.NewPart("application/rs-metadata+xml", mutate(rng, foe.Metadata())))
		}
		return p.Bytes(r)
	}
	answered, unanswered := 0, 0
	p, err := foe.Dial("tcp", "", s.TCP, nil)
	if err != nil {
		return err
	}
	defer func() { p.Close() }()
	for range l.Rounds {
		if _, err := p.Write(broken(p)); err != nil {
			return err
		}
		a, err := p.Final(20 * time.Second)
		if err != nil {
			unanswered++
			p.Close()
			if p, err = foe.Dial("tcp", "", s.TCP, nil); err != nil {
				return err
			}
			continue
		}
		answered++
		if a.Code() == 200 { // end it, whatever its names are by now
			r := foe.Request{ID: a.Head.CallID, Tag: a.Head.FromTag, CSeq: 1}
			_ = p.Ack(r, a)
			_, _ = p.Bye(r, a)
		}
	}
	l.Figure("calls without a final answer", fmt.Sprintf("%d of %d", unanswered, unanswered+answered), "0", unanswered == 0)
	if err := alive(l, s, pid); err != nil {
		return err
	}
	return fuzz(l)
}

// fuzz runs Go's fuzzer on the way from a SIP message to the index, where the
// sources are at hand and there is time.
func fuzz(l *rig.Lab) error {
	if _, err := os.Stat("siprec/way_test.go"); err != nil || l.Rounds < 10000 {
		return nil
	}
	out, err := l.Tool("go", "test", "-run", "^$", "-fuzz", "^FuzzWholeWay$", "-fuzztime", "60s", "-fuzzminimizetime", "10x", "./siprec")
	last := strings.Split(strings.TrimSpace(out), "\n")
	l.Logf("%s", strings.Join(last[max(0, len(last)-3):], "; "))
	l.Figure("Go's fuzzer, from SIP to the index, for a minute", fmt.Sprint(err == nil), "nothing found", err == nil)
	return nil
}
