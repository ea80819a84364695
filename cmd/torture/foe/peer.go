package foe

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"siprecd/siprec/trace"
)

// Peer is a client that writes its own bytes.
type Peer struct {
	net.Conn
	Network string // as Via writes it
	in      *bufio.Reader
}

// Dial connects from an address ("" for any port of 127.0.0.1; host:0 for any
// port of another).
func Dial(network, from, to string, secure *tls.Config) (*Peer, error) {
	if from == "" {
		from = "127.0.0.1:0"
	}
	p := &Peer{Network: strings.ToUpper(network)}
	if network == "udp" {
		at, err := net.ResolveUDPAddr("udp", from)
		if err != nil {
			return nil, err
		}
		d := net.Dialer{LocalAddr: at}
		p.Conn, err = d.Dial("udp", to)
		return p, err
	}
	at, err := net.ResolveTCPAddr("tcp", from)
	if err != nil {
		return nil, err
	}
	d := &net.Dialer{LocalAddr: at, Timeout: 5 * time.Second}
	if network == "tls" {
		p.Conn, err = tls.DialWithDialer(d, "tcp", to, secure)
	} else {
		p.Conn, err = d.Dial("tcp", to)
	}
	if err == nil {
		p.in = bufio.NewReader(p.Conn)
	}
	return p, err
}

// Request is what a Request says. Empty fields get what is usual.
type Request struct {
	Method, ID, Tag, To, Branch string // To: its tag
	CSeq                        int
	Fields                      string // more header lines
	Kind                        string // Content-Type
	Body                        []byte
}

// Bytes are the request as this peer writes it.
func (p *Peer) Bytes(r Request) []byte {
	if r.Branch == "" {
		r.Branch = "z9hG4bK" + rand.Text()
	}
	if r.To != "" {
		r.To = ";tag=" + r.To
	}
	local := p.LocalAddr().String()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s sip:rec@%s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=%s;rport\r\nMax-Forwards: 70\r\n",
		r.Method, p.RemoteAddr(), p.Network, local, r.Branch)
	fmt.Fprintf(&b, "From: <sip:02079460123@%s>;tag=%s\r\nTo: <sip:02088257050@%s>%s\r\nCall-ID: %s\r\nCSeq: %d %s\r\n",
		local, r.Tag, p.RemoteAddr(), r.To, r.ID, r.CSeq, r.Method)
	fmt.Fprintf(&b, "Contact: <sip:src@%s;transport=%s>;+sip.src\r\n%s", local, strings.ToLower(p.Network), r.Fields)
	if r.Kind != "" {
		fmt.Fprintf(&b, "Content-Type: %s\r\n", r.Kind)
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(r.Body))
	b.Write(r.Body)
	return b.Bytes()
}

// Invite is an ordinary first INVITE, with a body of its own if kind is not "".
func (p *Peer) Invite(kind string, body []byte) Request {
	r := Request{Method: "INVITE", ID: rand.Text(), Tag: rand.Text()[:8], CSeq: 1, Fields: "Require: siprec\r\n", Kind: kind, Body: body}
	if kind == "" {
		r.Kind, r.Body = Multipart(Part{"application/sdp", SDP(p.Host(), 40000)}, Part{"application/rs-metadata+xml", Metadata()})
	}
	return r
}

// Host is our address.
func (p *Peer) Host() string {
	host, _, _ := net.SplitHostPort(p.LocalAddr().String())
	return host
}

// Ack acknowledges an answer.
func (p *Peer) Ack(r Request, a Reply) error {
	return p.Send(Request{Method: "ACK", ID: r.ID, Tag: r.Tag, To: a.Head.ToTag, CSeq: r.CSeq})
}

// Bye ends a call.
func (p *Peer) Bye(r Request, a Reply) (Reply, error) {
	if err := p.Send(Request{Method: "BYE", ID: r.ID, Tag: r.Tag, To: a.Head.ToTag, CSeq: r.CSeq + 1}); err != nil {
		return Reply{}, err
	}
	for { // a copy of an earlier answer may come first
		if a, err := p.Final(5 * time.Second); err != nil || a.Head.Method == "BYE" {
			return a, err
		}
	}
}

// Send writes a request.
func (p *Peer) Send(r Request) error {
	_, err := p.Write(p.Bytes(r))
	return err
}

// Call writes an INVITE and waits for its final answer.
func (p *Peer) Call(r Request, limit time.Duration) (Reply, error) {
	if err := p.Send(r); err != nil {
		return Reply{}, err
	}
	for {
		if a, err := p.Final(limit); err != nil || a.Head.CallID == r.ID {
			return a, err
		}
	}
}

// Reply is one message that came back.
type Reply struct {
	Head trace.Head
	Body []byte
}

// Code is its status.
func (r Reply) Code() int { return r.Head.Status }

// Final is the next final response. A BYE of the recorder is answered.
func (p *Peer) Final(limit time.Duration) (Reply, error) {
	late := time.Now().Add(limit)
	for {
		raw, err := p.Message(late)
		if err != nil {
			return Reply{}, err
		}
		head := trace.ReadHead(raw)
		switch {
		case head.Status >= 200:
			_, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
			return Reply{head, body}, nil
		case head.Status == 0 && head.Method == "BYE":
			_, _ = p.Write(answer(raw)) // if it is lost, it comes again
		}
	}
}

// answer is the 200 to a Request.
func answer(raw []byte) []byte {
	head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	out := []byte("SIP/2.0 200 OK\r\n")
	for line := range bytes.Lines(append(head, '\r', '\n')) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch strings.ToLower(string(name)) {
		case "via", "from", "to", "call-id", "cseq":
			out = append(out, line...)
		}
	}
	return append(out, "Content-Length: 0\r\n\r\n"...)
}

var errNoLength = errors.New("a message without a Content-Length")

// Message is the next message, whole.
func (p *Peer) Message(late time.Time) ([]byte, error) {
	if err := p.SetReadDeadline(late); err != nil {
		return nil, err
	}
	if p.in == nil {
		buf := make([]byte, 65536)
		n, err := p.Read(buf)
		return buf[:n], err
	}
	var head []byte
	size := -1
	for {
		line, err := p.in.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			if len(head) == 0 {
				continue // an answered keep-alive
			}
			break
		}
		if name, value, _ := strings.Cut(string(line), ":"); strings.EqualFold(name, "Content-Length") {
			size, _ = strconv.Atoi(strings.TrimSpace(value))
		}
		head = append(head, line...)
	}
	if size < 0 {
		return nil, errNoLength
	}
	body := make([]byte, size)
	_, err := io.ReadFull(p.in, body)
	return append(append(head, '\r', '\n'), body...), err
}

// Part is one part of a multipart body.
type Part struct {
	Kind string
	Data []byte
}

// NewPart makes a part.
func NewPart(kind string, data []byte) Part { return Part{Kind: kind, Data: data} }

// Multipart puts parts together.
func Multipart(parts ...Part) (kind string, body []byte) {
	var b bytes.Buffer
	for _, p := range parts {
		fmt.Fprintf(&b, "--torture\r\nContent-Type: %s\r\n\r\n%s\r\n", p.Kind, p.Data)
	}
	b.WriteString("--torture--\r\n")
	return "multipart/mixed;boundary=torture", b.Bytes()
}

// SDP offers two streams from an address, and what else is given.
func SDP(host string, port int, more ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "v=0\r\no=src 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\n", host, host)
	for i := range 2 {
		fmt.Fprintf(&b, "m=audio %d RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=label:%d\r\na=sendonly\r\n", port+2*i, i+1)
	}
	for _, m := range more {
		b.WriteString(m)
	}
	return b.Bytes()
}

// Metadata is an ordinary document (RFC 7865).
func Metadata() []byte { return Document("A Resident", "Council Tax", "") }

// Document is metadata with two names and what else is given.
func Document(first, second, more string) []byte {
	return []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\r\n" +
		`<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode>` +
		`<session session_id="hVpd7YQgRW2nD22h7q60JQ=="><start-time>2027-05-01T10:00:00Z</start-time></session>` +
		`<participant participant_id="srfBElmCRp2QB23b7Mpk0w=="><nameID aor="sip:02079460123@example.org"><name>` + first + `</name></nameID></participant>` +
		`<participant participant_id="zSfPoSvdSDCmU3A3TRDxAw=="><nameID aor="sip:02088257050@example.org"><name>` + second + `</name></nameID></participant>` +
		`<stream stream_id="UAAMm5GRQKSCMVvLyl4rFw==" session_id="hVpd7YQgRW2nD22h7q60JQ=="><label>1</label></stream>` +
		`<stream stream_id="i1Pz3to5hGk8fuXl+PbwCw==" session_id="hVpd7YQgRW2nD22h7q60JQ=="><label>2</label></stream>` +
		`<participantstreamassoc participant_id="srfBElmCRp2QB23b7Mpk0w=="><send>UAAMm5GRQKSCMVvLyl4rFw==</send></participantstreamassoc>` +
		`<participantstreamassoc participant_id="zSfPoSvdSDCmU3A3TRDxAw=="><send>i1Pz3to5hGk8fuXl+PbwCw==</send></participantstreamassoc>` +
		more + `</recording>`)
}

// Ports are those of the audio lines of an answer.
func Ports(sdp []byte) (out []int) {
	for line := range bytes.Lines(sdp) {
		var port int
		if _, err := fmt.Sscanf(string(line), "m=audio %d", &port); err == nil {
			out = append(out, port)
		}
	}
	return out
}
