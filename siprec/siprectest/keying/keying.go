// Package keying is how a leg of a recording client encrypts what it sends:
// SDES keys or a DTLS handshake, offered as clients in the field do, right or
// wrong on purpose. It shares no code with the recorder's own keying.
//
//	SRTP ──New──► Secret ──Line──► a=crypto, a=fingerprint of the offer
//	                 │
//	   answer ───────┴─ Answered, Shake ──► Protect, for the leg's stream
//
// A Secret belongs to one call; its methods are called by one goroutine at a
// time, but Shake, which may run beside them.
package keying

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"siprecd/siprec/siprectest/offer"
	"siprecd/siprec/siprectest/rtpsend"
)

// SRTP is how a leg is encrypted. The zero SRTP offers nothing and sends plain
// RTP.
type SRTP struct {
	Suites   []string // SDES: an a=crypto line each, in this order (RFC 4568); the one answered is used
	DTLS     string   // DTLS-SRTP instead: a=setup, "actpass", "active" or "passive" (RFC 5763)
	Proto    string   // of the m-line; empty: RTP/SAVP, or UDP/TLS/RTP/SAVP
	Unpadded bool     // base64 without "=", as rtpengine writes it
	Lifetime string   // behind the key, e.g. "2^31"
	MKI      []byte   // master key identifier, 1 to 4 bytes; nil: none
	Session  string   // session parameters behind the key
	Attrs    []string // further a= values before the keys

	WrongKey bool // sends with other keys than it offers, or another certificate than its fingerprint
	Plain    bool // sends plain RTP whatever is agreed
}

// On says whether the leg offers keys.
func (s *SRTP) On() bool { return len(s.Suites) > 0 || s.DTLS != "" }

// maxMKIBytes is the longest identifier that the options take.
const maxMKIBytes = 4

// Check says what is wrong with the options.
func (s *SRTP) Check() error {
	if len(s.MKI) > maxMKIBytes {
		return fmt.Errorf("a master key identifier of %d bytes: want 1 to %d", len(s.MKI), maxMKIBytes)
	}
	if s.DTLS != "" && len(s.Suites) > 0 {
		return errors.New("either Suites or DTLS")
	}
	switch s.DTLS {
	case "", "actpass", "active", "passive":
		return nil
	}
	return fmt.Errorf("setup %q: want actpass, active or passive", s.DTLS)
}

// Secret is the keying of one leg of one call.
type Secret struct {
	SRTP
	keys   [][]byte // by place in Suites; what the leg sends with
	chosen int      // the answered one, counted from 1; 0: none yet
	fresh  bool     // the key is not the one in use
	peer   *peer    // of a DTLS leg
}

// suiteBytes are master key and salt of the suites that there are, those that
// nobody should take among them.
func suiteBytes(suite string) (key, salt int) {
	salt = 14
	if strings.HasPrefix(suite, "AEAD_") {
		salt = 12
	}
	switch {
	case strings.Contains(suite, "_256_"):
		return 32, salt
	case strings.Contains(suite, "_192_"):
		return 24, salt
	}
	return 16, salt
}

// New makes a leg's keys.
func New(s SRTP) (*Secret, error) {
	t := &Secret{SRTP: s}
	for _, suite := range s.Suites {
		k, salt := suiteBytes(suite)
		key := make([]byte, k+salt)
		_, _ = rand.Read(key) // never fails
		t.keys = append(t.keys, key)
	}
	if s.DTLS == "" {
		return t, nil
	}
	var err error
	t.peer, err = newPeer(s)
	return t, err
}

// Line completes an offered m-line: once a suite was answered, only that one is
// offered, as rtpengine does.
func (t *Secret) Line(m *offer.Line) {
	m.Proto, m.Attrs = t.Proto, append([]string(nil), t.Attrs...)
	if t.peer != nil {
		if m.Proto == "" {
			m.Proto = "UDP/TLS/RTP/SAVP"
		}
		m.Attrs = append(m.Attrs, "fingerprint:"+t.peer.print, "setup:"+t.DTLS)
		return
	}
	if m.Proto == "" {
		m.Proto = "RTP/SAVP"
	}
	for i, suite := range t.Suites {
		if t.chosen == 0 || t.chosen == i+1 {
			m.Attrs = append(m.Attrs, t.crypto(i, suite))
		}
	}
}

// crypto writes one a=crypto value.
func (t *Secret) crypto(i int, suite string) string {
	enc := base64.StdEncoding
	if t.Unpadded {
		enc = base64.RawStdEncoding
	}
	s := fmt.Sprintf("crypto:%d %s inline:%s", i+1, suite, enc.EncodeToString(t.keys[i]))
	if t.Lifetime != "" {
		s += "|" + t.Lifetime
	}
	if t.MKI != nil {
		n := 0
		for _, b := range t.MKI {
			n = n<<8 | int(b)
		}
		s += fmt.Sprintf("|%d:%d", n, len(t.MKI))
	}
	if t.Session != "" {
		s += " " + t.Session
	}
	return s
}

// ErrNoKeys says that the recorder answered a keyed line without keys.
var ErrNoKeys = errors.New("the answer has no keys for a stream that needs them")

// Answered takes the recorder's answer to an SDES leg and returns what encrypts the leg from
// now on; changed is false when that goes on as it is.
func (t *Secret) Answered(a offer.AnswerLine) (f rtpsend.Protect, changed bool, err error) {
	if a.CryptoTag == 0 || a.CryptoTag > len(t.Suites) || t.Suites[a.CryptoTag-1] != a.Suite {
		if a.Proto == "RTP/AVP" && a.CryptoTag == 0 {
			return nil, true, nil // OSRTP declined
		}
		return nil, false, ErrNoKeys
	}
	if t.chosen == a.CryptoTag && !t.fresh {
		return nil, false, nil
	}
	t.chosen, t.fresh = a.CryptoTag, false
	key := t.keys[t.chosen-1]
	if t.WrongKey {
		key = append([]byte{key[0] ^ 1}, key[1:]...)
	}
	n, _ := suiteBytes(a.Suite)
	f, err = protector(a.Suite, key[:n], key[n:], t.MKI)
	return f, true, err
}

// protector encrypts RTP under a key.
func protector(suite string, key, salt, mki []byte) (rtpsend.Protect, error) {
	profile, ok := map[string]srtp.ProtectionProfile{
		"AES_CM_128_HMAC_SHA1_80": srtp.ProtectionProfileAes128CmHmacSha1_80,
		"AES_CM_128_HMAC_SHA1_32": srtp.ProtectionProfileAes128CmHmacSha1_32,
		"AES_256_CM_HMAC_SHA1_80": srtp.ProtectionProfileAes256CmHmacSha1_80,
		"AES_256_CM_HMAC_SHA1_32": srtp.ProtectionProfileAes256CmHmacSha1_32,
		"AEAD_AES_128_GCM":        srtp.ProtectionProfileAeadAes128Gcm,
		"AEAD_AES_256_GCM":        srtp.ProtectionProfileAeadAes256Gcm,
	}[suite]
	if !ok {
		return nil, fmt.Errorf("the recorder took the suite %s, which this client cannot send", suite)
	}
	var opts []srtp.ContextOption
	if mki != nil {
		opts = append(opts, srtp.MasterKeyIndicator(mki))
	}
	ctx, err := srtp.CreateContext(key, salt, profile, opts...)
	if err != nil {
		return nil, fmt.Errorf("encrypt with %s: %w", suite, err)
	}
	header := new(rtp.Header)
	return func(b []byte, n int) int {
		sealed, err := ctx.EncryptRTP(b[:0], b[:n], header)
		if err != nil {
			return 0 // the system will not take it, and counts it
		}
		return len(sealed)
	}, nil
}

// Rekey makes new keys, for the next offer.
func (t *Secret) Rekey() {
	for _, k := range t.keys {
		_, _ = rand.Read(k) // never fails
	}
	t.fresh = true
}
