package interop_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// message is one SIP message that came back.
type message struct {
	first string // the first line
	code  int    // 0 for a request
	head  textproto.MIMEHeader
	body  string
	at    time.Time
}

func (m message) method() string { return strings.SplitN(m.first, " ", 2)[0] }

func (m message) cseq() string { return m.head.Get("Cseq") }

// peer is a recording client that writes its own bytes.
type peer struct {
	t       *testing.T
	r       *rig
	network string
	conn    net.Conn
	from    string // local address

	mu  sync.Mutex
	got []message
	// reply answers a request of the recorder; nil: 200 without a body.
	reply func(message) string
}

// dial opens a connection of a network (udp, tcp, tls) to the recorder.
func (r *rig) dial(network string) *peer {
	r.t.Helper()
	return r.dialFrom(network, "127.0.0.1:0", nil)
}

func (r *rig) dialFrom(network, local string, conf *tls.Config) *peer {
	r.t.Helper()
	conn, err := connect(network, r.target(network), local, conf)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.attach(network, conn)
}

// attach reads a connection that is open already.
func (r *rig) attach(network string, conn net.Conn) *peer {
	r.t.Helper()
	p := &peer{t: r.t, r: r, network: network, conn: conn, from: conn.LocalAddr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.read()
	}()
	r.t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return p
}

func connect(network, target, local string, conf *tls.Config) (net.Conn, error) {
	if network == "udp" {
		from, err := net.ResolveUDPAddr("udp", local)
		if err != nil {
			return nil, err
		}
		d := net.Dialer{LocalAddr: from}
		return d.Dial("udp", target)
	}
	from, err := net.ResolveTCPAddr("tcp", local)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{LocalAddr: from, Timeout: 5 * time.Second}
	if network == "tls" {
		return tls.DialWithDialer(&d, "tcp", target, conf)
	}
	return d.Dial("tcp", target)
}

func (p *peer) read() {
	if p.network == "udp" {
		buf := make([]byte, 65536)
		for {
			n, err := p.conn.Read(buf)
			if err != nil {
				return
			}
			if m, err := readMessage(bufio.NewReader(strings.NewReader(string(buf[:n])))); err == nil {
				p.take(m)
			}
		}
	}
	in := bufio.NewReader(p.conn)
	for {
		m, err := readMessage(in)
		if err != nil {
			return
		}
		p.take(m)
	}
}

func readMessage(in *bufio.Reader) (message, error) {
	tp := textproto.NewReader(in)
	m := message{}
	for m.first == "" { // blank lines are keep-alives
		line, err := tp.ReadLine()
		if err != nil {
			return m, err
		}
		m.first = line
	}
	head, err := tp.ReadMIMEHeader()
	if err != nil {
		return m, err
	}
	m.head, m.at = head, time.Now()
	n, _ := strconv.Atoi(head.Get("Content-Length"))
	body := make([]byte, n)
	if _, err := io.ReadFull(in, body); err != nil {
		return m, err
	}
	m.body = string(body)
	if strings.HasPrefix(m.first, "SIP/") {
		m.code, _ = strconv.Atoi(strings.Fields(m.first)[1])
	}
	return m, nil
}

// take keeps a message, and answers a request.
func (p *peer) take(m message) {
	p.mu.Lock()
	p.got = append(p.got, m)
	reply := p.reply
	p.mu.Unlock()
	if m.code != 0 || m.method() == "ACK" {
		return
	}
	text := ""
	if reply != nil {
		text = reply(m)
	} else {
		text = respond(m, "200 OK", "")
	}
	if text != "" {
		_, _ = io.WriteString(p.conn, text)
	}
}

// respond makes a response to a request of the recorder.
func respond(m message, status, sdp string, head ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %s\r\n", status)
	for _, name := range []string{"Via", "From", "To", "Call-Id", "Cseq"} {
		for _, v := range m.head[name] {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	for _, h := range head {
		b.WriteString(h + "\r\n")
	}
	if sdp != "" {
		b.WriteString("Contact: <sip:src@127.0.0.1>;+sip.src\r\nContent-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(sdp), sdp)
	return b.String()
}

// find is the first message that fits.
func (p *peer) find(ok func(message) bool) (message, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.got {
		if ok(m) {
			return m, true
		}
	}
	return message{}, false
}

// count is how many messages fit.
func (p *peer) count(ok func(message) bool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, m := range p.got {
		if ok(m) {
			n++
		}
	}
	return n
}

// await waits for a message that fits.
func (p *peer) await(what string, ok func(message) bool) message {
	p.t.Helper()
	var m message
	await(p.t, what, func() (found bool) {
		m, found = p.find(ok)
		return found
	})
	return m
}

// final waits for the final response to a request.
func (p *peer) final(callID, cseq string) message {
	p.t.Helper()
	return p.await("a response to "+cseq, func(m message) bool {
		return m.code >= 200 && m.cseq() == cseq && m.head.Get("Call-Id") == callID
	})
}

// asked waits for a request of the recorder.
func (p *peer) asked(method string) message {
	p.t.Helper()
	return p.await("a "+method, func(m message) bool { return m.code == 0 && m.method() == method })
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.conn, s); err != nil {
		p.t.Fatal(err)
	}
}

// request writes a request as it is to be sent; lines are whole header lines.
func request(first string, lines []string, body string) string {
	return fmt.Sprintf("%s SIP/2.0\r\n%s\r\nContent-Length: %d\r\n\r\n%s", first, strings.Join(lines, "\r\n"), len(body), body)
}

// fixture reads a file of testdata/siprec.
func fixture(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "siprec", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// field is a header field of a text message.
func field(text, name string) string {
	m := regexp.MustCompile(`(?im)^` + name + `[ \t]*:[ \t]*([^\r\n]*)`).FindStringSubmatch(strings.SplitN(text, "\r\n\r\n", 2)[0])
	if m == nil {
		return ""
	}
	return strings.TrimSpace(m[1])
}
