package secure

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"
)

// Link is how a handshake reaches its peer: the stream's socket, which is
// swept and not waited on. Both are called from the handshake's goroutines.
type Link interface {
	// Send sends a datagram from the stream's port.
	Send(b []byte, to netip.AddrPort)
	// Poll empties the socket now, so that a handshake does not wait for the
	// next sweep at every step.
	Poll()
}

// Times and limits of a handshake.
const (
	maxAttempts  = 8 // a forged packet must not end it, and must not keep it going
	retryAfter   = time.Second
	pollEvery    = 10 * time.Millisecond
	pollFor      = 10 * time.Second // after the last packet of a handshake under way
	maxWaiting   = 32               // datagrams
	maxDatagram  = 2048
	firstFlight  = 20 // DTLS is first byte 20 to 63 (RFC 7983)
	lastOfDTLS   = 63
	flightsAgain = 200 * time.Millisecond
)

// IsDTLS says whether a datagram on a media port is DTLS (RFC 7983 section 7).
func IsDTLS(b []byte) bool { return len(b) > 0 && b[0] >= firstFlight && b[0] <= lastOfDTLS }

// Handshake is the DTLS side of one stream: from the first flight until the
// stream ends, because a last flight that was lost must be sent again. Its
// owner runs Run in a goroutine, gives it what arrives, and closes it.
type Handshake struct {
	id   *Identity
	dtls DTLS
	pipe *pipe
	once sync.Once
}

// NewHandshake prepares a handshake with the peer at to. Without a port it is
// wherever its packets come from.
func NewHandshake(id *Identity, d DTLS, to netip.AddrPort, link Link) *Handshake {
	return &Handshake{id: id, dtls: d, pipe: newPipe(link, to, d.Active)}
}

// Deliver hands over a datagram that arrived. It never blocks: what finds no
// room is lost, and sent again.
func (h *Handshake) Deliver(b []byte, from netip.AddrPort) { h.pipe.deliver(b, from) }

// Close ends the handshake, and Run with it. It does not wait.
func (h *Handshake) Close() { h.once.Do(func() { close(h.pipe.quit) }) }

// Run does the handshake and stays with the association until Close. done is
// called with the peer's keys, or with why there are none: ErrFingerprint
// first of all. After a failure the next attempt may still succeed.
func (h *Handshake) Run(done func(Keys, error)) {
	for range maxAttempts {
		conn, k, err := h.attempt()
		if h.closed() {
			h.drop(conn)
			return
		}
		done(k, err)
		if err == nil {
			h.serve(conn)
			return
		}
		h.drop(conn)
		select {
		case <-h.pipe.quit:
			return
		case <-time.After(retryAfter):
		}
	}
}

func (h *Handshake) closed() bool {
	select {
	case <-h.pipe.quit:
		return true
	default:
		return false
	}
}

// drop gives up an association. Nobody reads the reply, so its error is no news.
func (h *Handshake) drop(conn *dtls.Conn) {
	if conn != nil {
		_ = conn.Close()
	}
}

// serve reads what comes after the handshake: repeated flights are answered
// inside, a farewell ends it. The keys stay good: the signalling ends a stream.
func (h *Handshake) serve(conn *dtls.Conn) {
	h.pipe.settle()
	buf := make([]byte, maxDatagram)
	for {
		if _, err := conn.Read(buf); err != nil {
			h.drop(conn)
			return
		}
	}
}

// attempt does one handshake.
func (h *Handshake) attempt() (*dtls.Conn, Keys, error) {
	conn, err := h.open(
		dtls.WithCertificates(h.id.cert),
		dtls.WithInsecureSkipVerify(true), // certificates are self-signed: the fingerprint is what counts
		dtls.WithVerifyPeerCertificate(h.verify),
		dtls.WithExtendedMasterSecret(dtls.RequestExtendedMasterSecret),
		dtls.WithFlightInterval(flightsAgain),
		dtls.WithSRTPProtectionProfiles(profiles()...),
	)
	if err != nil {
		return nil, Keys{}, fmt.Errorf("secure: begin the handshake: %w", err)
	}
	if err := conn.Handshake(); err != nil {
		if errors.Is(err, ErrFingerprint) {
			err = ErrFingerprint
		}
		return conn, Keys{}, fmt.Errorf("secure: handshake: %w", err)
	}
	k, err := h.export(conn)
	return conn, k, err
}

// open makes our side of an association, which has not begun yet.
func (h *Handshake) open(common ...dtls.Option) (*dtls.Conn, error) {
	if h.dtls.Active {
		var opts []dtls.ClientOption
		for _, o := range common {
			opts = append(opts, o)
		}
		return dtls.ClientWithOptions(h.pipe, h.pipe.remote(), opts...)
	}
	opts := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
	for _, o := range common {
		opts = append(opts, o)
	}
	return dtls.ServerWithOptions(h.pipe, h.pipe.remote(), opts...)
}

func (h *Handshake) verify(raw [][]byte, _ [][]*x509.Certificate) error {
	if len(raw) == 0 {
		return ErrFingerprint
	}
	return matches(raw[0], h.dtls.Prints)
}

// profiles are the protection profiles of RFC 5764 and RFC 7714, best first.
func profiles() []dtls.SRTPProtectionProfile {
	return []dtls.SRTPProtectionProfile{
		dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AEAD_AES_128_GCM,
		dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AES128_CM_HMAC_SHA1_32,
	}
}

// suiteOf names a profile as SDES does.
func suiteOf(p dtls.SRTPProtectionProfile) string {
	switch p {
	case dtls.SRTP_AEAD_AES_256_GCM:
		return "AEAD_AES_256_GCM"
	case dtls.SRTP_AEAD_AES_128_GCM:
		return "AEAD_AES_128_GCM"
	case dtls.SRTP_AES128_CM_HMAC_SHA1_80:
		return "AES_CM_128_HMAC_SHA1_80"
	case dtls.SRTP_AES128_CM_HMAC_SHA1_32:
		return "AES_CM_128_HMAC_SHA1_32"
	}
	return ""
}

// export takes the peer's keys from a finished handshake (RFC 5764 section 4.2).
func (h *Handshake) export(conn *dtls.Conn) (Keys, error) {
	p, ok := conn.SelectedSRTPProtectionProfile()
	name := suiteOf(p)
	s, known := lookup(name)
	if !ok || !known {
		return Keys{}, errors.New("secure: the handshake agreed on no SRTP profile")
	}
	state, ok := conn.ConnectionState()
	if !ok {
		return Keys{}, errors.New("secure: the handshake left no state")
	}
	c := srtp.Config{Profile: s.profile}
	if err := c.ExtractSessionKeysFromDTLS(&state, h.dtls.Active); err != nil {
		return Keys{}, fmt.Errorf("secure: export the keys: %w", err)
	}
	keySalt := append(append([]byte(nil), c.Keys.RemoteMasterKey...), c.Keys.RemoteMasterSalt...)
	return Keys{Suite: name, Keys: []Master{{KeySalt: keySalt}}}, nil
}
