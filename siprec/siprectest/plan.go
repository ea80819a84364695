package siprectest

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"siprecd/siprec/siprectest/audio"
	"siprecd/siprec/siprectest/offer"
	"siprecd/siprec/siprectest/rtpsend"
	"siprecd/testdata/speech"
)

// plan is Options checked, completed, and encoded once for all calls.
type plan struct {
	Options
	streams []rtpsend.Config // one a leg, without what differs between calls
	media   time.Duration
}

// target splits a target into network (udp, tcp, tls) and host:port.
func target(s string) (network, addr string, err error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", "", fmt.Errorf("%w: target %q: %w", ErrOptions, s, err)
	}
	network, addr = u.Scheme, u.Host
	port := "5060"
	switch u.Scheme {
	case "udp", "tcp":
	case "tls", "sips":
		network, port = "tls", "5061"
	case "sip":
		network = "udp"
	default:
		return "", "", fmt.Errorf("%w: target %q: want udp://, tcp:// or tls:// and host:port", ErrOptions, s)
	}
	if addr == "" {
		addr = u.Opaque
	}
	if addr == "" {
		return "", "", fmt.Errorf("%w: target %q names no host", ErrOptions, s)
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(addr, port)
	}
	return network, addr, nil
}

// makePlan checks o, fills in what it leaves out, and encodes the audio.
func makePlan(o Options) (*plan, error) {
	p := &plan{Options: o}
	p.defaults()
	if err := p.check(); err != nil {
		return nil, err
	}
	if err := p.legs(); err != nil {
		return nil, err
	}
	p.encode()
	return p, nil
}

func (p *plan) defaults() {
	setDefault(&p.From, "02079460123")
	setDefault(&p.To, "02088257050")
	setDefault(&p.UserAgent, "siprecd-src")
	setDefault(&p.Dialect, RFC7865)
	setDefault(&p.Codec, PCMA)
	setDefault(&p.Ptime, 20*time.Millisecond)
	setDefault(&p.Calls, 1)
	setDefault(&p.Timeout, 32*time.Second)
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (p *plan) check() error {
	switch p.Dialect {
	case RFC7865, Draft, BroadWorks, NoMetadata:
	default:
		return fmt.Errorf("%w: dialect %q: want %s, %s, %s or %s",
			ErrOptions, p.Dialect, RFC7865, Draft, BroadWorks, NoMetadata)
	}
	if p.Ptime < 5*time.Millisecond || p.Ptime > 60*time.Millisecond || p.Ptime%time.Millisecond != 0 {
		return fmt.Errorf("%w: ptime %v: want whole milliseconds from 5 to 60", ErrOptions, p.Ptime)
	}
	if p.Calls < 0 || p.Concurrent < 0 || p.Rate < 0 || p.Duration < 0 {
		return fmt.Errorf("%w: calls, rate, concurrent and duration cannot be negative", ErrOptions)
	}
	return checkFractions(p.Loss, p.Reorder, p.Duplicate)
}

func checkFractions(fs ...float64) error {
	for _, f := range fs {
		if !(f >= 0 && f <= 1) {
			return fmt.Errorf("%w: loss, reorder and duplicate are fractions from 0 to 1, not %v", ErrOptions, f)
		}
	}
	return nil
}

// legs completes the legs and checks each.
func (p *plan) legs() error {
	legs := append([]Leg(nil), p.Legs...)
	if len(legs) == 0 {
		var err error
		if legs, err = Conversation(); err != nil {
			return err
		}
	}
	numbers := []string{p.From, p.To}
	for i := range legs {
		l := &legs[i]
		setDefault(&l.Label, strconv.Itoa(i+1))
		if i < len(numbers) {
			setDefault(&l.AoR, "sip:"+numbers[i]+"@example.org")
		}
		setDefault(&l.Codec, p.Codec)
		l.Loss, l.Reorder, l.Duplicate = max(l.Loss, p.Loss), max(l.Reorder, p.Reorder), max(l.Duplicate, p.Duplicate)
		if err := l.check(); err != nil {
			return fmt.Errorf("leg %s: %w", l.Label, err)
		}
	}
	p.Legs = legs
	return nil
}

func (l *Leg) check() error {
	if l.Codec != PCMA && l.Codec != PCMU {
		return fmt.Errorf("%w: codec %q: want %s or %s", ErrOptions, l.Codec, PCMA, PCMU)
	}
	for _, e := range l.Events {
		if _, ok := rtpsend.EventCode(e.Digit); !ok {
			return fmt.Errorf("%w: DTMF digit %q", ErrOptions, e.Digit)
		}
	}
	if l.SkewPPM < -100_000 || l.SkewPPM > 100_000 {
		return fmt.Errorf("%w: skew of %v ppm", ErrOptions, l.SkewPPM)
	}
	if err := l.SRTP.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return checkFractions(l.Loss, l.Reorder, l.Duplicate)
}

// Conversation is what is sent when no legs are given: a caller and an agent in
// turns, from the built-in speech, looping.
func Conversation() ([]Leg, error) {
	caller, err := audio.ReadWAV(speech.Caller())
	if err != nil {
		return nil, fmt.Errorf("read the built-in caller: %w", err)
	}
	agent, err := audio.ReadWAV(speech.Agent())
	if err != nil {
		return nil, fmt.Errorf("read the built-in agent: %w", err)
	}
	caller[0].Loop, agent[0].Loop = true, true
	return []Leg{{Name: "Caller", Audio: caller[0]}, {Name: "Agent", Audio: agent[0]}}, nil
}

// encode turns each leg's audio into payload and settles how long calls are.
func (p *plan) encode() {
	p.media = p.Duration
	for _, l := range p.Legs {
		if p.Duration == 0 {
			p.media = max(p.media, l.Start+l.Audio.Length())
		}
	}
	for _, l := range p.Legs {
		pt, enc := uint8(8), audio.EncodeALaw
		if l.Codec == PCMU {
			pt, enc = 0, audio.EncodeMuLaw
		}
		payload := make([]byte, len(l.Audio.PCM))
		for i, v := range l.Audio.PCM {
			payload[i] = enc(v)
		}
		p.streams = append(p.streams, rtpsend.Config{
			Label: l.Label, Payload: payload, Loop: l.Audio.Loop, Silence: enc(0),
			PayloadType: pt, EventPT: offer.EventPT, Ptime: p.Ptime,
			Start: l.Start, End: p.media, Impair: l.Impair,
		})
	}
}

// stream opens the stream of leg i of a call. What its random source gives
// depends on the seed, the call's number and the leg's place alone.
func (p *plan) stream(pacer *rtpsend.Pacer, from netip.Addr, call, i int) (*rtpsend.Stream, error) {
	c := p.streams[i]
	c.SSRC = p.Legs[i].SSRC
	if c.SSRC == 0 {
		c.SSRC = offer.Random32()
	}
	c.Sequence, c.Timestamp = uint16(offer.Random32()), offer.Random32()
	if n := p.Legs[i].First; n != 0 {
		c.Sequence = n
	}
	c.Seed = [2]uint64{p.Seed, uint64(call)<<16 | uint64(i)}
	return pacer.NewStream(c, rtpsend.Socket{Addr: from, Shared: p.SharePorts, Number: i})
}

// mediaAddr is the address that RTP is sent from: as chosen, or as SIP's.
func (p *plan) mediaAddr(local netip.Addr) netip.Addr {
	if p.MediaAddr.IsValid() {
		return p.MediaAddr
	}
	return local
}
