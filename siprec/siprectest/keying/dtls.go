package keying

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"

	"siprecd/siprec/siprectest/offer"
	"siprecd/siprec/siprectest/rtpsend"
)

// shakeTime is how long a handshake may take.
const shakeTime = 15 * time.Second

// peer is the DTLS side of one leg.
type peer struct {
	cert  tls.Certificate
	print string // as in a=fingerprint
}

func newPeer(s SRTP) (*peer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for DTLS: %w", err)
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for DTLS: %w", err)
	}
	p := &peer{cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, print: printOf(der)}
	if s.WrongKey {
		p.print = printOf([]byte("another certificate"))
	}
	return p, nil
}

// printOf is a certificate's fingerprint as SDP writes it (RFC 8122).
func printOf(der []byte) string {
	sum := sha256.Sum256(der)
	var parts []string
	for _, b := range sum {
		parts = append(parts, strings.ToUpper(hex.EncodeToString([]byte{b})))
	}
	return "sha-256 " + strings.Join(parts, ":")
}

// Handshakes says that the keys come from a handshake.
func (t *Secret) Handshakes() bool { return t.peer != nil }

// Shake does the handshake with the recorder over a stream's socket, calls done
// with what encrypts the stream, and stays until ctx ends: the other side may
// ask for the last flight again.
func (t *Secret) Shake(ctx context.Context, conn *net.UDPConn, a offer.AnswerLine, done func(rtpsend.Protect)) error {
	active := a.Setup == "passive"
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.Addr, uint16(a.Port)))
	c, err := associate(keptOpen{conn}, to, active,
		dtls.WithCertificates(t.peer.cert), dtls.WithInsecureSkipVerify(true),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AES128_CM_HMAC_SHA1_80),
		dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) == 0 || printOf(raw[0]) != a.Fingerprint {
				return errors.New("the recorder's certificate is not the one it answered")
			}
			return nil
		}))
	if err != nil {
		return fmt.Errorf("begin DTLS: %w", err)
	}
	defer func() { _ = c.Close() }() // the call is over: nobody asks
	timed, cancel := context.WithTimeout(ctx, shakeTime)
	defer cancel()
	if err := c.HandshakeContext(timed); err != nil {
		return fmt.Errorf("DTLS handshake: %w", err)
	}
	f, err := exported(c, active)
	if err != nil {
		return err
	}
	done(f)
	<-ctx.Done()
	return nil
}

// associate makes our side of an association, which has not begun yet.
func associate(conn net.PacketConn, to net.Addr, active bool, common ...dtls.Option) (*dtls.Conn, error) {
	if active {
		var opts []dtls.ClientOption
		for _, o := range common {
			opts = append(opts, o)
		}
		return dtls.ClientWithOptions(conn, to, opts...)
	}
	opts := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
	for _, o := range common {
		opts = append(opts, o)
	}
	return dtls.ServerWithOptions(conn, to, opts...)
}

// exported takes our own keys from a finished handshake (RFC 5764 section 4.2).
func exported(c *dtls.Conn, active bool) (rtpsend.Protect, error) {
	state, ok := c.ConnectionState()
	if !ok {
		return nil, errors.New("DTLS left no state")
	}
	k := srtp.Config{Profile: srtp.ProtectionProfileAes128CmHmacSha1_80}
	if err := k.ExtractSessionKeysFromDTLS(&state, active); err != nil {
		return nil, fmt.Errorf("DTLS keys: %w", err)
	}
	return protector("AES_CM_128_HMAC_SHA1_80", k.Keys.LocalMasterKey, k.Keys.LocalMasterSalt, nil)
}

// keptOpen is a stream's socket for a handshake, which must not close it.
type keptOpen struct{ *net.UDPConn }

// Close implements net.PacketConn; the stream closes its socket.
func (keptOpen) Close() error { return nil }
