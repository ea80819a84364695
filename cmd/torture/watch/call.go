package watch

import (
	"fmt"
	"net"
	"time"

	"siprecd/cmd/torture/calls"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
)

// told is row G5.
func told(l *rig.Lab) error {
	return sideBySide(l, onCalls, onClients, onFolder, onKeys, onLimits)
}

// begin makes a site with few ports, and runs its server.
func begin(l *rig.Lab, sets ...string) (*site, error) {
	l.Span = 1 // what is left of a block of ports
	s, err := l.Server(append(sets, "shutdown.drain=0s")...)
	if err != nil {
		return nil, err
	}
	_, err = s.Start()
	return &site{Server: s, lab: l}, err
}

// onCalls is what is wrong with calls.
func onCalls(l *rig.Lab) (*site, []trouble, error) {
	s, err := begin(l, "alarms.no_media=4s", "alarms.silence=4s")
	return s, []trouble{
		{name: "one leg without media", told: "one-way", inject: calling(func(o *siprectest.Options) { o.Legs[1].Start = time.Hour })},
		{name: "no media at all", told: "no media", inject: calling(func(o *siprectest.Options) { o.Faults.NoMedia = true })},
		{name: "a muted leg", told: "silent", inject: calling(func(o *siprectest.Options) { o.Legs[0].Audio = audio.Tone(440, -120) })},
		{name: "wrong media keys", told: "undecryptable", inject: calling(func(o *siprectest.Options) {
			o.Legs[0].SRTP = siprectest.SRTP{Suites: []string{"AES_CM_128_HMAC_SHA1_80"}, WrongKey: true}
		})},
		{name: "all media ports in use", told: "ports", refuses: true, inject: calling(func(o *siprectest.Options) { o.Calls, o.Rate = 100, 50 })},
	}, err
}

// onClients is what is wrong with clients.
func onClients(l *rig.Lab) (*site, []trouble, error) {
	s, err := begin(l, "alarms.quiet=5s")
	return s, []trouble{
		{name: "a client falls silent", told: "client", after: 5 * time.Second, inject: silentClient},
		{name: "messages that are no SIP", told: "malformed", lasts: 5 * time.Second, inject: garbage},
	}, err
}

// calling is calls that last until the fault is mended.
func calling(change func(o *siprectest.Options)) func(*site) (func() error, error) {
	return func(s *site) (func() error, error) {
		o := siprectest.Options{Target: "tcp://" + s.TCP, Legs: calls.Tones(), Duration: time.Minute, Timeout: s.lab.Ease(2 * time.Second)}
		change(&o)
		load := s.Place(o)
		return func() error {
			_, err := load.Stop()
			return err
		}, nil
	}
}

// silentClient asks whether the recorder lives, and then no more.
func silentClient(s *site) (func() error, error) {
	if err := options(s); err != nil {
		return nil, err
	}
	return func() error { return options(s) }, nil
}

// options is one keep-alive of a client.
func options(s *site) error {
	conn, err := net.Dial("udp", s.UDP)
	if err != nil {
		return err
	}
	defer conn.Close()
	at := conn.LocalAddr()
	if _, err := fmt.Fprintf(conn, "OPTIONS sip:rec@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%d\r\nMax-Forwards: 70\r\nFrom: <sip:sbc@%s>;tag=1\r\n"+
		"To: <sip:rec@%s>\r\nCall-ID: keep-alive-%d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", s.UDP, at, time.Now().UnixNano(), at, s.UDP, time.Now().UnixNano()); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 4096))
	return err
}

// garbage sends many messages that no parser can read.
func garbage(s *site) (func() error, error) {
	conn, err := net.Dial("udp", s.UDP)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	for range 200 {
		if _, err := conn.Write([]byte("INVITE sip:x SIP/2.0\r\nThis is no header\r\n\r\n")); err != nil {
			return nil, err
		}
	}
	return func() error { return nil }, nil
}
