package main

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rawClient is a recording client made of a TCP connection: it says what it is
// told, byte by byte, from the address that it is given.
type rawClient struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	seq  int
	id   string // Call-ID
}

// dialRaw connects to the server's TCP listener from one of the machine's
// loopback addresses.
func (s *server) dialRaw(from string) *rawClient {
	s.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 20 * time.Second}
	conn, err := d.DialContext(s.t.Context(), "tcp", s.tcp)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return &rawClient{t: s.t, conn: conn, in: bufio.NewReader(conn)}
}

// invite is a request in the shape of RFC 7866; change may alter its text.
func (c *rawClient) invite(to, body string, change func(string) string) rawAnswer {
	c.t.Helper()
	c.seq++
	c.id = rand.Text()
	text := "INVITE sip:" + to + "@srs.example SIP/2.0\r\n" + c.head("INVITE", to) +
		"Contact: <sip:src@" + c.conn.LocalAddr().String() + ";transport=tcp>;+sip.src\r\nRequire: siprec\r\n" +
		"Content-Type: application/sdp\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
	if change != nil {
		text = change(text)
	}
	return c.send(text)
}

func (c *rawClient) head(method, to string) string {
	return fmt.Sprintf("Via: SIP/2.0/TCP %s;branch=z9hG4bK%s%s\r\nMax-Forwards: 70\r\nFrom: <sip:02079460123@src.example>;tag=raw%d\r\n"+
		"To: <sip:%s@srs.example>\r\nCall-ID: %s\r\nCSeq: %d %s\r\n", c.conn.LocalAddr(), method, c.id, c.seq, to, c.id, c.seq, method)
}

// options is a keep-alive.
func (c *rawClient) options() rawAnswer {
	c.t.Helper()
	c.seq++
	c.id = rand.Text()
	return c.send("OPTIONS sip:anything@srs.example SIP/2.0\r\n" + c.head("OPTIONS", "anything") + "Content-Length: 0\r\n\r\n")
}

// rawAnswer is a final response.
type rawAnswer struct {
	code       int
	head, body string
}

// tell writes something that has no answer, or one that is read later.
func (c *rawClient) tell(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// send writes a request and reads until its final response.
func (c *rawClient) send(text string) rawAnswer {
	c.t.Helper()
	c.tell(text)
	for {
		if a := c.read(); a.code >= 200 {
			return a
		}
	}
}

// read reads one message; a request of the server's has code 0.
func (c *rawClient) read() rawAnswer {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	var a rawAnswer
	length := 0
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			c.t.Fatalf("no whole answer: %v\n%s", err, a.head)
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" && a.head != "" {
			break
		}
		if v, ok := strings.CutPrefix(strings.ToLower(line), "content-length:"); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(v))
		}
		a.head += line + "\n"
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(c.in, body); err != nil {
		c.t.Fatal(err)
	}
	a.body = string(body)
	if f := strings.Fields(a.head); strings.HasPrefix(f[0], "SIP/") {
		a.code, _ = strconv.Atoi(f[1])
	}
	return a
}

// ports are the ports of an answer's media lines.
func (a rawAnswer) ports() []int {
	var out []int
	for line := range strings.Lines(a.body) {
		if f := strings.Fields(line); strings.HasPrefix(line, "m=") && len(f) > 1 {
			p, _ := strconv.Atoi(f[1])
			out = append(out, p)
		}
	}
	return out
}

// rawSDP is an offer of one audio line, and of what else is given.
func rawSDP(proto string, extra ...string) string {
	return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" +
		"m=audio 46000 " + proto + " 8\r\na=sendonly\r\na=label:1\r\n" + strings.Join(extra, "")
}
