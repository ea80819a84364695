package recorder_test

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"siprecd/media"
	"siprecd/siprec/siprectest/audio"
)

// vendorCase is what must come of one captured shape: an INVITE of a make of
// recording client, played to a whole recorder, with a tone on every stream
// that the answer takes. Tones count up with the media lines: the first line
// is tone 0, the second 1.
type vendorCase struct {
	file        string
	code        int    // 200 unless set
	line        string // listed line; "" for an unidentified one
	discarded   bool   // answered, not recorded
	left, right []int  // tones heard in each channel; of a mono recording all are left
	flags       []string
}

var vendorCases = []vendorCase{
	{file: "audiocodes-hold", line: "Street services"},
	{file: "audiocodes-legacy-lf", line: "Street services", left: []int{0}, right: []int{1}},
	{file: "audiocodes-rfc7865", line: "Customer portal helpline", left: []int{0}, right: []int{1}},
	{file: "avaya-initial-dummy", line: "Housing demand", left: []int{0}, right: []int{1}, flags: []string{"channels by order"}},
	{file: "broadworks-hold-sdp-only", line: "Street services", left: []int{0}, flags: []string{"no metadata", "channels by order"}},
	{file: "broadworks-outbound", line: "Parks", left: []int{0}},
	{file: "broadworks-queue-number", line: "Street services", left: []int{0}},
	{file: "cube-gtd-no-closing", line: "Customer portal helpline", left: []int{0}, right: []int{1}},
	{file: "cube-initial-inactive", line: "Customer portal helpline", flags: []string{"channels by order"}},
	{file: "cube-nbr-plain-sdp", line: "Facilities management", left: []int{0}, right: []int{1}, flags: []string{"no metadata", "stream without label"}},
	{file: "cucm-farend-no-body", line: "Planning", left: []int{0}, flags: []string{"no metadata", "stream without label"}},
	{file: "cucm-nearend-no-body", line: "Planning", right: []int{0}, flags: []string{"no metadata", "stream without label"}},
	{file: "generic-base64-nested", line: "Customer portal helpline", left: []int{0}, right: []int{1}},
	{file: "generic-doctype", left: []int{0}, right: []int{1}, flags: []string{"bad metadata", "line unidentified", "channels by order"}},
	{file: "generic-hostile-name", line: "Customer portal helpline", left: []int{0}, right: []int{1}},
	{file: "generic-latin1", line: "Customer portal helpline", left: []int{0}, right: []int{1}},
	{file: "generic-preamble-lies-boundary", line: "Customer portal helpline", left: []int{0}, right: []int{1}},
	{file: "generic-sdp-bare", left: []int{0}, flags: []string{"no metadata", "line unidentified", "channels by order"}},
	{file: "jambonz-raw-uuids", line: "Housing benefits", left: []int{0}, right: []int{1}},
	{file: "metaswitch-hold-null-address", line: "Registrars", left: []int{0}},
	{file: "metaswitch-originating", line: "Registrars", left: []int{0}},
	{file: "metaswitch-terminating", line: "Registrars", left: []int{0}},
	{file: "netsapiens-1-0", line: "Social services", left: []int{1}, right: []int{0}},
	{file: "opensips-labels-1-0", line: "Housing repairs", left: []int{0}, right: []int{1}},
	{file: "opensips-unescaped-name", left: []int{0}, right: []int{1}, flags: []string{"bad metadata", "line unidentified", "channels by order"}},
	{file: "opensips-video-labels-missing", line: "Housing repairs", left: []int{0}, right: []int{2}, flags: []string{"channels by order"}},
	{file: "oracle-before-callee", line: "Council tax", left: []int{0}},
	{file: "oracle-complete", line: "Council tax", left: []int{0}, right: []int{1}},
	{file: "phrsite-eight-streams", line: "Housing benefits change of circumstances", left: []int{0}, right: []int{1}},
	{file: "rfc7865-complete", line: "Customer portal helpline", left: []int{0}, right: []int{1}},
	{file: "sems-letter-labels", line: "Grime busters", left: []int{1}, right: []int{0}},
	{file: "sonus-caller-label-2", line: "Mobility", left: []int{1}, right: []int{0}},
	{file: "webex-metadata-first", line: "Business waste", left: []int{0}, right: []int{1}},
	{file: "netsapiens-1-1-internal", discarded: true},
	{file: "ff-quoted-boundary-savp", line: "Pest control", flags: []string{"channels by order", bareKeys, blocked}}, // and plain RTP on it is not heard
	{file: "generic-required-unknown-part", code: 415},
}

// toneHz is the frequency that the stream of a media line carries.
func toneHz(line int) float64 { return float64(400 + 300*line) }

func TestVendorInvites(t *testing.T) {
	for _, c := range vendorCases {
		t.Run(c.file, func(t *testing.T) {
			t.Parallel()
			c.play(t)
		})
	}
}

func (c vendorCase) play(t *testing.T) {
	r := newRig(t, nil)
	p := dialRaw(t, r.tcp)
	res := p.invite(c.file)
	if want := max(c.code, 200); res.code != want {
		t.Fatalf("answered %d, want %d", res.code, want)
	}
	if res.code != 200 {
		if rows := r.rows(); len(rows) != 0 {
			t.Errorf("a refused call is listed: %+v", rows)
		}
		return
	}
	p.ack()
	sendTones(t, res.taken(), 1500*time.Millisecond)
	p.bye()
	if c.discarded {
		if rows := r.rows(); len(rows) != 0 {
			t.Errorf("a discarded call is listed: %+v", rows)
		}
		return
	}
	row := r.finished(1)[0]
	if row.Line != c.line || !slices.Equal(row.Flags, c.flags) {
		t.Errorf("listed on line %q with flags %q, want %q, %q", row.Line, row.Flags, c.line, c.flags)
	}
	c.listen(t, r.heard(row.ID))
}

// listen checks which tones are in which channel.
func (c vendorCase) listen(t *testing.T, a *media.Audio) {
	t.Helper()
	for ch, pcm := range a.Channels {
		want := c.left
		if ch == 1 {
			want = c.right
		}
		middle := pcm[len(pcm)/3 : len(pcm)*2/3]
		for tone := range 6 {
			l := level(middle, toneHz(tone))
			if heard := l > -35; heard != slices.Contains(want, tone) {
				t.Errorf("channel %d: the tone of media line %d is at %.1f dBFS", ch, tone, l)
			}
		}
	}
}

// rawPeer is a recording client that sends captured bytes over TCP.
type rawPeer struct {
	t       *testing.T
	conn    net.Conn
	in      *bufio.Reader
	request string // the INVITE's head
	toTag   string
}

// answer is a final response.
type answer struct {
	code int
	head textproto.MIMEHeader
	body string
}

func dialRaw(t *testing.T, target string) *rawPeer {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(target, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &rawPeer{t: t, conn: conn, in: bufio.NewReader(conn)}
}

// invite sends a file of testdata/siprec and waits for its final response.
func (p *rawPeer) invite(name string) answer {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "siprec", name+".txt"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.request, _, _ = strings.Cut(string(b), "\r\n\r\n")
	p.send(string(b))
	for {
		if res := p.response(); res.code >= 200 {
			if m := regexp.MustCompile(`;\s*tag=([^;\s]+)`).FindStringSubmatch(res.head.Get("To")); m != nil {
				p.toTag = m[1]
			}
			return res
		}
	}
}

func (p *rawPeer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.conn, s); err != nil {
		p.t.Fatal(err)
	}
}

// response reads the next response.
func (p *rawPeer) response() answer {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	tp := textproto.NewReader(p.in)
	line, err := tp.ReadLine()
	if err != nil {
		p.t.Fatalf("read a response: %v", err)
	}
	head, err := tp.ReadMIMEHeader()
	if err != nil {
		p.t.Fatalf("read a response: %v", err)
	}
	n, _ := strconv.Atoi(head.Get("Content-Length"))
	body := make([]byte, n)
	if _, err := io.ReadFull(p.in, body); err != nil {
		p.t.Fatalf("read a response: %v", err)
	}
	fields := strings.Fields(line)
	if len(fields) < 2 {
		p.t.Fatalf("not a response: %q", line)
	}
	code, _ := strconv.Atoi(fields[1])
	return answer{code, head, string(body)}
}

// inDialog makes a request of the dialog without a body.
func (p *rawPeer) inDialog(method string, cseq int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s sip:siprecd@127.0.0.1 SIP/2.0\r\n", method)
	for _, l := range strings.Split(p.request, "\r\n")[1:] {
		name, value, _ := strings.Cut(l, ":")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "via", "v":
			fmt.Fprintf(&b, "Via:%s%s%d\r\n", value, method, cseq)
		case "from", "f", "call-id", "i", "max-forwards":
			fmt.Fprintf(&b, "%s\r\n", l)
		case "to", "t":
			fmt.Fprintf(&b, "%s;tag=%s\r\n", l, p.toTag)
		}
	}
	fmt.Fprintf(&b, "CSeq: %d %s\r\nContent-Length: 0\r\n\r\n", cseq, method)
	return b.String()
}

// cseq is the INVITE's sequence number.
func (p *rawPeer) cseq() int {
	m := regexp.MustCompile(`(?i)\r\ncseq:\s*(\d+)`).FindStringSubmatch(p.request)
	if m == nil {
		p.t.Fatal("the INVITE has no CSeq")
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

func (p *rawPeer) ack() { p.send(p.inDialog("ACK", p.cseq())) }

func (p *rawPeer) bye() {
	p.t.Helper()
	p.send(p.inDialog("BYE", p.cseq()+1))
	if res := p.response(); res.code != 200 {
		p.t.Errorf("BYE answered %d", res.code)
	}
}

// taken is what an answer takes of one media line.
type taken struct {
	port int // 0: nothing
	alaw bool
}

// taken reads the answer's media lines: those that receive, with mu-law where
// it may be sent and A-law elsewhere.
func (a answer) taken() []taken {
	var out []taken
	for _, m := range strings.Split(a.body, "m=")[1:] {
		fields := strings.Fields(strings.SplitN(m, "\r\n", 2)[0])
		x := taken{alaw: !slices.Contains(fields[3:], "0")}
		if strings.Contains(m, "a=recvonly") {
			x.port, _ = strconv.Atoi(fields[1])
		}
		out = append(out, x)
	}
	return out
}

// sendTones sends each line that is taken its tone.
func sendTones(t *testing.T, lines []taken, length time.Duration) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := range int(length / (20 * time.Millisecond)) {
		for i, l := range lines {
			if l.port == 0 {
				continue
			}
			to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(l.port))
			if _, err := conn.WriteToUDPAddrPort(tonePacket(i, n, l.alaw), to); err != nil {
				t.Fatal(err)
			}
		}
		<-tick.C
	}
}

// tonePacket is packet n of a media line's tone, 20 ms of G.711.
func tonePacket(line, n int, alaw bool) []byte {
	p := []byte{0x80, 0, byte(n >> 8), byte(n), 0, 0, 0, 0, 1, 2, 3, byte(line)}
	ts := uint32(n * 160)
	p[4], p[5], p[6], p[7] = byte(ts>>24), byte(ts>>16), byte(ts>>8), byte(ts)
	encode := audio.EncodeMuLaw
	if alaw {
		p[1], encode = 8, audio.EncodeALaw
	}
	for i := range 160 {
		p = append(p, encode(int16(4000*math.Sin(2*math.Pi*toneHz(line)*float64(n*160+i)/8000))))
	}
	return p
}

// identities reads an age identity file.
func identities(t *testing.T, path string) []age.Identity {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ids, err := age.ParseIdentities(f)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}
