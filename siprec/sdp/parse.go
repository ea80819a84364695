package sdp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Parse reads a session description leniently: lines in any order, ended by
// CRLF, LF or nothing, with blanks or NULs behind them, mandatory lines
// missing. The error wraps ErrTooLarge, ErrMalformed, ErrNoMedia or
// ErrTooManyMedia. The Description shares no memory with b.
func Parse(b []byte) (*Description, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	r := reader{d: &Description{}}
	text := strings.TrimPrefix(string(b), "\ufeff")
	for line := range strings.FieldsFuncSeq(text, isLineEnd) {
		if err := r.line(line); err != nil {
			return nil, err
		}
	}
	if len(r.d.Media) == 0 {
		if !r.known {
			return nil, fmt.Errorf("%w: no line of a session description in it", ErrMalformed)
		}
		return nil, ErrNoMedia
	}
	for i := range r.d.Media {
		r.finish(&r.d.Media[i], r.conns[i])
		r.d.Media[i].Crypto = cryptos(r.secret[i])
	}
	return r.d, nil
}

func isLineEnd(c rune) bool { return c == '\n' || c == '\r' || c == 0 }

// conn is a c= line: given says that there was one, even if it named a host
// that is no address.
type conn struct {
	addr  netip.Addr
	given bool
}

// reader collects lines; defaults from the session level are applied at the
// end, because some clients write c= or a direction behind the m-lines.
type reader struct {
	d     *Description
	known bool   // some line was a v=, o=, s=, c=, t=, m= or a= line
	conn  conn   // of the session
	conns []conn // of each m-line

	secret [][]string // attributes of each m-line that hold keys; kept nowhere else
}

func (r *reader) line(s string) error {
	s = strings.Trim(s, " \t")
	if len(s) < 2 || s[1] != '=' {
		return nil // blank, or no SDP line: nothing in it to rely on
	}
	value := strings.TrimSpace(s[2:])
	switch s[0] {
	case 'm':
		return r.media(value)
	case 'a':
		r.attr(value)
	case 'c':
		c := conn{parseAddr(value), true}
		if n := len(r.conns); n > 0 {
			r.conns[n-1] = c
		} else {
			r.conn = c
		}
	case 'o':
		r.d.Origin = value
	case 's':
		r.d.Name = value
	case 'v', 't':
	default:
		return nil
	}
	r.known = true
	return nil
}

func (r *reader) attr(value string) {
	attrs := &r.d.Attrs
	if n := len(r.d.Media); n > 0 {
		attrs = &r.d.Media[n-1].Attrs
	}
	if keyed(value) {
		if n := len(r.d.Media); n > 0 {
			r.secret[n-1] = append(r.secret[n-1], value)
		}
		return
	}
	*attrs = append(*attrs, value)
}

// media reads "audio 5004 RTP/AVP 0 8", also with "port/count" and with
// doubled blanks.
func (r *reader) media(value string) error {
	if len(r.d.Media) == MaxMedia {
		return fmt.Errorf("%w: more than %d", ErrTooManyMedia, MaxMedia)
	}
	f := strings.Fields(value)
	if len(f) < 3 {
		return fmt.Errorf("%w: m-line %d has no kind, port and protocol", ErrMalformed, len(r.d.Media))
	}
	port, err := strconv.ParseUint(strings.SplitN(f[1], "/", 2)[0], 10, 16)
	if err != nil {
		return fmt.Errorf("%w: m-line %d has no valid port", ErrMalformed, len(r.d.Media))
	}
	if len(f)-3 > MaxFormats {
		return fmt.Errorf("%w: m-line %d lists %d formats", ErrMalformed, len(r.d.Media), len(f)-3)
	}
	r.d.Media = append(r.d.Media, Media{
		Kind: strings.ToLower(f[0]), Port: int(port), Proto: f[2], FormatIDs: f[3:],
	})
	r.conns = append(r.conns, conn{})
	r.secret = append(r.secret, nil)
	return nil
}

// finish gives an m-line its effective values.
func (r *reader) finish(m *Media, own conn) {
	m.Addr = r.conn.addr
	if own.given {
		m.Addr = own.addr
	}
	m.Direction = direction(m.Attrs, direction(r.d.Attrs, SendRecv))
	m.Label = attrValue(m.Attrs, "label")
	m.Ptime = ptime(attrValue(m.Attrs, "ptime"))
	_, m.RTCPMux = findAttr(m.Attrs, "rtcp-mux")
	if m.Prints = fingerprints(m.Attrs); m.Prints == nil {
		m.Prints = fingerprints(r.d.Attrs)
	}
	if m.Setup = strings.ToLower(attrValue(m.Attrs, "setup")); m.Setup == "" {
		m.Setup = strings.ToLower(attrValue(r.d.Attrs, "setup"))
	}
	m.RTCP = rtcpAddr(m)
	if strings.Contains(strings.ToUpper(m.Proto), "RTP/") {
		m.Formats = formats(m.FormatIDs, m.Attrs)
	}
}

// parseAddr reads "IN IP4 192.0.2.1/127" and its like. Only the last word
// counts: clients write the others in any case or leave them out.
func parseAddr(value string) netip.Addr {
	f := strings.Fields(value)
	if len(f) == 0 {
		return netip.Addr{}
	}
	host, _, _ := strings.Cut(f[len(f)-1], "/")
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap()
}

// findAttr returns the value of the first "name" or "name:value", trimmed.
func findAttr(attrs []string, name string) (string, bool) {
	for _, a := range attrs {
		n, v, _ := strings.Cut(a, ":")
		if strings.EqualFold(strings.TrimSpace(n), name) {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

func attrValue(attrs []string, name string) string {
	v, _ := findAttr(attrs, name)
	return v
}

// direction returns the first direction attribute, else the given one.
func direction(attrs []string, otherwise Direction) Direction {
	for _, a := range attrs {
		switch d := Direction(strings.ToLower(strings.TrimSpace(a))); d {
		case SendRecv, SendOnly, RecvOnly, Inactive:
			return d
		}
	}
	return otherwise
}

// ptime reads whole or broken milliseconds up to a second; anything else
// counts as absent.
func ptime(v string) time.Duration {
	ms, err := strconv.ParseFloat(v, 64)
	if err != nil || !(ms > 0 && ms <= 1000) {
		return 0
	}
	return time.Duration(ms * float64(time.Millisecond))
}

// rtcpAddr reads a=rtcp (RFC 3605), "53020" or "53020 IN IP4 192.0.2.1".
func rtcpAddr(m *Media) netip.AddrPort {
	if m.Port == 0 {
		return netip.AddrPort{}
	}
	addr, port := m.Addr, uint16(m.Port)+1 // wraps to 0 behind 65535: no RTCP
	if f := strings.Fields(attrValue(m.Attrs, "rtcp")); len(f) > 0 {
		if p, err := strconv.ParseUint(f[0], 10, 16); err == nil {
			port = uint16(p)
		}
		if a := parseAddr(strings.Join(f[1:], " ")); a.IsValid() {
			addr = a
		}
	}
	return netip.AddrPortFrom(addr, port)
}
