package media

import (
	"context"
	"crypto/sha256"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/srtp/v3"

	"siprecd/media/rtcp"
)

// handRig is a client, and an engine of two workers with two calls, one on each.
type handRig struct {
	t     *testing.T
	eng   *Engine
	conn  *net.UDPConn // the client's
	cfg   StreamConfig
	calls [2]*Call
	seal  *srtp.Context // the client's; nil: it sends in the clear
	sent  int           // packets
}

func newHandRig(t *testing.T) *handRig {
	t.Helper()
	local := netip.MustParseAddr("127.0.0.1")
	// Below the system's own range: there nobody else is given the port for RTCP.
	e, err := Open(Config{Address: local, PortMin: 11600, PortMax: 11619, Workers: 2, Sweep: 20 * time.Millisecond,
		Allow: func(a netip.Addr) bool { return a == local }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	r := &handRig{t: t, eng: e, conn: socket(t), cfg: mono()}
	r.cfg.Source = r.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	for i, w := range e.workers {
		for _, other := range e.workers { // looks full but for this one
			if other != w {
				other.load.Add(few)
			}
		}
		if r.calls[i], err = e.NewCall(CallConfig{Start: time.Now().Add(time.Duration(-i) * 5 * time.Second), Layout: Mono, Rate: 8000, Sink: nullSink{}}); err != nil {
			t.Fatal(err)
		}
		for _, other := range e.workers {
			if other != w {
				other.load.Add(-few)
			}
		}
	}
	if r.calls[0].w == r.calls[1].w {
		t.Fatal("both calls are of one worker")
	}
	return r
}

// socket is a socket on a free port.
func socket(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (r *handRig) add() *Stream {
	r.t.Helper()
	s, err := r.calls[0].Add(r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// hand gives the stream to the other call.
func (r *handRig) hand(s *Stream, to *Call) *Stream {
	r.t.Helper()
	n, err := s.Hand(to, r.cfg)
	if err != nil || n.Port() != s.Port() {
		r.t.Fatalf("handed on: %v", err)
	}
	return n
}

// send sends packets to the stream's port, from shortly before the sequence
// number's end on.
func (r *handRig) send(s *Stream, packets int) {
	r.t.Helper()
	for range packets {
		b := rtpBytes(8, uint16(65500+r.sent), uint32(r.sent*160), 77, make([]byte, 160))
		if r.seal != nil {
			var err error
			if b, err = r.seal.EncryptRTP(nil, b, nil); err != nil {
				r.t.Fatal(err)
			}
		}
		r.sent++
		if _, err := r.conn.WriteToUDP(b, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.Port()}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// until waits for what the workers do.
func (r *handRig) until(what string, done func() bool) {
	r.t.Helper()
	late := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			r.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// opened finishes a call and wants that its only stream has opened so many
// packets, and every one that it was sent.
func (r *handRig) opened(c *Call, want uint64) {
	r.t.Helper()
	sum := c.Finish(time.Now())
	if len(sum.Streams) != 1 {
		r.t.Fatalf("%d streams", len(sum.Streams))
	}
	if s := sum.Streams[0]; s.Security.Opened != want || s.Security.Failed+s.Security.Replays+s.Security.Early != 0 || s.Security.Blocked {
		r.t.Errorf("want %d packets opened: %+v", want, s.Security)
	} else if s.Packets == 0 {
		r.t.Error("nothing is recorded")
	}
}

// The RTCP port goes along: receiver reports go on, and the port is free once
// the call has ended which the stream was given to.
func TestHandTakesTheControlPortAlong(t *testing.T) {
	r := newHandRig(t)
	s := r.add()
	if s.rtcp == nil {
		t.Fatalf("the port above %d is somebody else's", s.Port())
	}
	ctl := socket(t)
	above := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.Port() + 1}
	r.send(s, 10)
	s = r.hand(s, r.calls[1])
	r.calls[0].Finish(time.Now())
	r.send(s, 10)
	if _, err := ctl.WriteToUDP(senderReport(77, time.Second, 0), above); err != nil {
		t.Fatal(err)
	}
	r.until("the client's report", func() bool { return r.calls[1].Stats()[0].RTCP == 1 })
	s.call.w.do(func() { // a report is due, and it need not be waited for
		if s.rtcp != nil {
			s.rtcp.due, s.rtcp.look = 0, 0
		}
	})
	if err := ctl.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1500)
	n, from, err := ctl.ReadFromUDP(buf)
	if err != nil || from.Port != above.Port {
		t.Fatalf("no report: %v from %v", err, from)
	}
	if got, err := rtcp.Parse(buf[:n]); err != nil || got.Sender {
		t.Errorf("%+v, %v", got, err)
	}
	r.calls[1].Finish(time.Now())
	again, err := net.ListenUDP("udp4", above)
	if err != nil {
		t.Fatalf("the RTCP port is still bound: %v", err)
	}
	again.Close()
}

// A call that has ended takes no stream; both ports are free then.
func TestHandToAnEndedCallFreesThePorts(t *testing.T) {
	r := newHandRig(t)
	id, err := r.eng.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	r.cfg.Keys = &Keys{DTLS: &DTLS{Prints: []Fingerprint{id}}} // a handshake that never begins must end
	s := r.add()
	r.calls[1].Finish(time.Now())
	if _, err := s.Hand(r.calls[1], r.cfg); err != ErrClosed {
		t.Errorf("handed on: %v", err)
	}
	if l := r.eng.Load(); l.PortsUsed != 1 || l.Streams != 0 { // the discard port
		t.Errorf("%+v", l)
	}
	for port := s.Port(); port <= s.Port()+1; port++ {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

// The sender has counted a rollover before the next call, and has sent all of
// it that the decryption can tell the rollover by.
func TestHandKeepsTheRollovers(t *testing.T) {
	for _, suite := range []string{"AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM"} {
		t.Run(suite, func(t *testing.T) {
			r := newHandRig(t)
			k := make([]byte, KeyBytes(suite))
			for i := range k {
				k[i] = byte(i * 7)
			}
			r.cfg.Keys = &Keys{Suite: suite, Keys: []MasterKey{{KeySalt: k}}}
			profile := srtp.ProtectionProfileAes128CmHmacSha1_80
			if suite == "AEAD_AES_128_GCM" {
				profile = srtp.ProtectionProfileAeadAes128Gcm
			}
			var err error
			if r.seal, err = srtp.CreateContext(k[:16], k[16:], profile); err != nil {
				t.Fatal(err)
			}
			s := r.add()
			r.send(s, 100) // of which 36 are before the rollover
			s = r.hand(s, r.calls[1])
			r.send(s, 50)
			s.Update(r.cfg) // the same keys again
			r.send(s, 50)
			r.opened(r.calls[0], 100)
			r.opened(r.calls[1], 100)
		})
	}
}

// peer makes the client's side of a handshake, and agrees on its certificate.
func (r *handRig) peer() []dtls.Option {
	r.t.Helper()
	cert, err := selfsign.GenerateSelfSigned()
	if err != nil {
		r.t.Fatal(err)
	}
	sum := sha256.Sum256(cert.Certificate[0])
	r.cfg.Keys = &Keys{DTLS: &DTLS{Prints: []Fingerprint{{Hash: "sha-256", Sum: sum[:]}}}}
	return []dtls.Option{
		dtls.WithCertificates(cert), dtls.WithInsecureSkipVerify(true), dtls.WithFlightInterval(50 * time.Millisecond),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AES128_CM_HMAC_SHA1_80),
	}
}

// shake begins a handshake with the stream's port; what it comes to is sent on
// the channel when it is done, and the client can seal.
func (r *handRig) shake(p []dtls.Option, s *Stream) <-chan error {
	r.t.Helper()
	var opts []dtls.ClientOption
	for _, o := range p {
		opts = append(opts, o)
	}
	c, err := dtls.ClientWithOptions(r.conn, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.Port()}, opts...)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	done := make(chan error, 1)
	go func() {
		defer cancel()
		err := c.HandshakeContext(ctx)
		if state, ok := c.ConnectionState(); err == nil && ok {
			k := srtp.Config{Profile: srtp.ProtectionProfileAes128CmHmacSha1_80}
			if err = k.ExtractSessionKeysFromDTLS(&state, true); err == nil {
				r.seal, err = srtp.CreateContext(k.Keys.LocalMasterKey, k.Keys.LocalMasterSalt, k.Profile)
			}
		}
		done <- err
	}()
	r.t.Cleanup(func() { c.Close() })
	return done
}

// keyed waits until a call's latest stream has keys.
func (r *handRig) keyed(c *Call) {
	r.t.Helper()
	r.until("the keys", func() bool { st := c.Stats(); return st[len(st)-1].Security.Suite != "" })
}

// The next call has no handshake of its own: the keys of the first are good.
func TestHandKeepsTheKeysOfAHandshake(t *testing.T) {
	r := newHandRig(t)
	p := r.peer()
	s := r.add()
	if err := <-r.shake(p, s); err != nil {
		t.Fatal(err)
	}
	r.keyed(r.calls[0])
	r.send(s, 100)
	s = r.hand(s, r.calls[1])
	r.send(s, 50)
	s.Update(r.cfg) // the same fingerprint again: the association goes on
	r.send(s, 50)
	r.opened(r.calls[0], 100)
	r.opened(r.calls[1], 100)
}

// The first call ends before the handshake has begun: it is done in the next.
func TestHandshakeBeginsInTheNextCall(t *testing.T) {
	r := newHandRig(t)
	p := r.peer()
	s := r.hand(r.add(), r.calls[1])
	r.calls[0].Finish(time.Now())
	if err := <-r.shake(p, s); err != nil {
		t.Fatal(err)
	}
	r.keyed(r.calls[1])
	r.send(s, 100)
	r.opened(r.calls[1], 100)
}

// However often a stream changes hands while a handshake is under way, its keys
// come to where it is.
func TestHandInTheMiddleOfAHandshake(t *testing.T) {
	r := newHandRig(t)
	p := r.peer()
	s := r.add()
	done := r.shake(p, s)
	at := 0
	for n, over := 0, false; !over || n%2 == 0; n++ {
		at = 1 - at
		s = r.hand(s, r.calls[at])
		select {
		case err := <-done:
			if over = true; err != nil {
				t.Fatal(err)
			}
		default:
		}
	}
	for range 20 { // the last flight may be ours
		at = 1 - at
		s = r.hand(s, r.calls[at])
	}
	r.keyed(r.calls[at])
	before := r.calls[at].Stats()
	r.send(s, 100)
	sum := r.calls[at].Finish(time.Now())
	if st := sum.Streams[len(before)-1].Security; st.Opened != 100 || st.Failed+st.Early != 0 || st.Error != "" {
		t.Errorf("%+v", st)
	}
	r.calls[1-at].Finish(time.Now())
}
