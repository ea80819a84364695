package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
)

// Listener is one address on which SIP is served.
type Listener struct {
	Transport string // udp, tcp or tls
	Address   string // host:port
}

// String gives the form in which it is configured, e.g. udp://10.0.0.5:5060.
func (l Listener) String() string { return l.Transport + "://" + l.Address }

// UnmarshalText reads udp://host:port, tcp://host:port or tls://host:port.
func (l *Listener) UnmarshalText(text []byte) error {
	transport, address, ok := strings.Cut(string(text), "://")
	if !ok {
		return errors.New("must be written as udp://host:port, tcp://host:port or tls://host:port")
	}
	switch transport {
	case "udp", "tcp", "tls":
	default:
		return fmt.Errorf("unknown transport %q: use udp, tcp or tls", transport)
	}
	if err := checkHostPort(address); err != nil {
		return err
	}
	*l = Listener{Transport: transport, Address: address}
	return nil
}

// Port is the port number.
func (l Listener) Port() int {
	_, port, _ := net.SplitHostPort(l.Address)
	n, _ := strconv.Atoi(port)
	return n
}

// checkHostPort refuses what is not host:port with a port of 1 to 65535.
func checkHostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not host:port", s)
	}
	if host == "" {
		return fmt.Errorf("%q has no host: write 0.0.0.0 for all addresses", s)
	}
	if strings.ContainsAny(host, " /@") {
		return fmt.Errorf("%q is not a host", host)
	}
	return checkPort(port)
}

func checkPort(s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("port %q is not a number from 1 to 65535", s)
	}
	return nil
}

// PortRange is a range of UDP ports, both ends included.
type PortRange struct{ Min, Max int }

// String gives the form in which it is configured, e.g. 20000-29999.
func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.Min, r.Max) }

// Streams is how many streams fit: RTP takes the even ports.
func (r PortRange) Streams() int { return r.Max/2 - (r.Min+1)/2 + 1 }

// UnmarshalText reads first-last.
func (r *PortRange) UnmarshalText(text []byte) error {
	first, last, ok := strings.Cut(string(text), "-")
	if !ok {
		return errors.New("must be written as first-last, for example 20000-29999")
	}
	first, last = strings.TrimSpace(first), strings.TrimSpace(last)
	if err := errors.Join(checkPort(first), checkPort(last)); err != nil {
		return err
	}
	lo, _ := strconv.Atoi(first)
	hi, _ := strconv.Atoi(last)
	if lo > hi {
		return fmt.Errorf("first port %d is above last port %d", lo, hi)
	}
	*r = PortRange{Min: lo, Max: hi}
	return nil
}

// Bytes is a size in bytes.
type Bytes uint64

// String gives the size in the largest unit that divides it.
func (b Bytes) String() string {
	for _, u := range byteUnits() {
		if u.size > 1 && b > 0 && uint64(b)%u.size == 0 {
			return fmt.Sprintf("%d%s", uint64(b)/u.size, u.name)
		}
	}
	return strconv.FormatUint(uint64(b), 10)
}

// UnmarshalText reads a whole number with an optional unit: KiB, MiB, GiB, TiB
// (powers of 1024), kB, MB, GB, TB (powers of 1000) or B.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	size := uint64(1)
	for _, u := range byteUnits() {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			s, size = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not a size: write a whole number with a unit, for example 1GiB", text)
	}
	if n > math.MaxInt64/size {
		return fmt.Errorf("%q is too large", text)
	}
	*b = Bytes(n * size)
	return nil
}

type byteUnit struct {
	name string
	size uint64
}

// byteUnits lists the units so that none hides behind a shorter suffix.
func byteUnits() []byteUnit {
	return []byteUnit{
		{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
		{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
	}
}
