// Package keying decides how one media line of a call is protected, by what
// the client offers and what is wanted of that client.
//
//	a=crypto, a=fingerprint ─┐
//	profile of the m-line  ──┼─► Chooser.Choose ─► Protection: keys for the media path, our half for the answer
//	off | prefer | require ──┘                └──► Refused: the line is rejected, and says why
//
// Promises. A profile that needs keys is never answered without, a plain one
// with keys (OSRTP, RFC 8643) is taken encrypted where the keys are good and
// plain where they are not, and one way of keying is answered, never two. The
// first suite that the media path has is taken, NULL never, with the client's
// tag and a key of our own, which stays while the line stays. It holds keys
// and prints none.
//
// Caveats. Where encryption is required, a plain profile is refused even with
// keys (RFC 8643 section 4).
package keying

import (
	"crypto/rand"
	"strings"

	"siprecd/media"
	"siprecd/siprec/sdp"
)

// Policy says what is wanted of a client.
type Policy string

// The policies.
const (
	Off     Policy = "off"     // no keys are taken: what is offered encrypted only is refused
	Prefer  Policy = "prefer"  // encrypted where the client offers it, plain where not
	Require Policy = "require" // what is not encrypted is refused
)

// Refused is why a line is refused, in words for the client.
type Refused string

// Why lines are refused.
const (
	EncryptedUnwanted Refused = "encrypted media is not accepted: offer RTP/AVP"
	PlainUnwanted     Refused = "unencrypted media is not accepted: offer RTP/SAVP with a=crypto, or UDP/TLS/RTP/SAVP"
	NoCommonSuite     Refused = "no SRTP suite in common: offer AES_CM_128_HMAC_SHA1_80 in a=crypto"
	NoFingerprint     Refused = "no a=fingerprint for DTLS-SRTP"
)

// Warning is the value of a Warning header that says why (RFC 3261 section
// 20.43): 302 for the transport, 304 for what the media lacks.
func (r Refused) Warning() string {
	code := "304"
	if r == EncryptedUnwanted || r == PlainUnwanted {
		code = "302"
	}
	return code + ` siprecd "` + string(r) + `"`
}

// Protection is how one media line is protected. The zero Protection is plain
// RTP.
type Protection struct {
	Keys   *media.Keys      // what opens the stream; nil: it is plain
	Crypto *sdp.Crypto      // SDES: our half of the answer
	Print  *sdp.Fingerprint // DTLS: of our certificate
	Setup  string           // DTLS: our role
}

// String says in a few words what protects a stream. It tells no key.
func (p Protection) String() string {
	switch {
	case p.Keys == nil:
		return "plain RTP"
	case p.Print != nil:
		return "DTLS-SRTP, " + p.Setup
	}
	return "SRTP, " + p.Crypto.Suite
}

// Plain says that a transport protocol is RTP without encryption.
func Plain(proto string) bool { return proto == "RTP/AVP" || proto == "RTP/AVPF" }

// overTLS says that a transport protocol is keyed by a handshake.
func overTLS(proto string) bool { return strings.HasPrefix(proto, "UDP/TLS/") }

// Chooser chooses for one client.
type Chooser struct {
	Policy Policy
	Own    func() (media.Fingerprint, error) // of our certificate
}

// Choose decides about one RTP line. was is how the line is protected so far.
// A Refused that is not "" says that it must be rejected.
func (c Chooser) Choose(m sdp.Media, was Protection) (Protection, Refused) {
	plain := Plain(m.Proto)
	switch {
	case plain && c.Policy == Require:
		return Protection{}, PlainUnwanted
	case plain && c.Policy == Off:
		return Protection{}, ""
	case c.Policy == Off:
		return Protection{}, EncryptedUnwanted
	}
	if p, ok := c.keyed(m, was); ok || plain {
		return p, ""
	}
	if overTLS(m.Proto) {
		return Protection{}, NoFingerprint
	}
	return Protection{}, NoCommonSuite
}

// keyed takes the keys of a line, SDES before DTLS unless the profile says
// which; false when none are good.
func (c Chooser) keyed(m sdp.Media, was Protection) (Protection, bool) {
	if !overTLS(m.Proto) {
		if p, ok := sdes(m, was); ok {
			return p, true
		}
	}
	if overTLS(m.Proto) || Plain(m.Proto) {
		return c.handshake(m, was)
	}
	return Protection{}, false
}

// sdes takes the first a=crypto line whose suite the media path has, with a
// key of our own in return (RFC 4568 section 5.1.2).
func sdes(m sdp.Media, was Protection) (Protection, bool) {
	for _, c := range m.Crypto {
		n := media.KeyBytes(c.Suite)
		if n == 0 || len(c.Keys[0].KeySalt) != n {
			continue
		}
		p := Protection{Keys: &media.Keys{Suite: c.Suite}, Crypto: was.Crypto}
		for _, key := range c.Keys {
			p.Keys.Keys = append(p.Keys.Keys, media.MasterKey{KeySalt: []byte(key.KeySalt), MKI: key.MKI})
		}
		if !answers(p.Crypto, c) {
			own := make([]byte, n)
			_, _ = rand.Read(own) // never fails
			p.Crypto = &sdp.Crypto{Tag: c.Tag, Suite: c.Suite, UnencryptedRTCP: c.UnencryptedRTCP,
				Keys: []sdp.MasterKey{{KeySalt: own}}}
		}
		return p, true
	}
	return Protection{}, false
}

// answers says whether our half so far still answers a line.
func answers(own *sdp.Crypto, c sdp.Crypto) bool {
	return own != nil && own.Tag == c.Tag && own.Suite == c.Suite && own.UnencryptedRTCP == c.UnencryptedRTCP
}

// handshake agrees on DTLS-SRTP (RFC 5763 section 5): we begin it unless the
// client wants to. Who began stays who begins, whatever a later offer leaves
// open (RFC 8842 section 5.3).
func (c Chooser) handshake(m sdp.Media, was Protection) (Protection, bool) {
	if len(m.Prints) == 0 {
		return Protection{}, false
	}
	own, err := c.Own()
	if err != nil {
		return Protection{}, false // without a certificate there is no handshake
	}
	d := &media.DTLS{Active: m.Setup == "actpass" || m.Setup == "passive"}
	if was.Print != nil && m.Setup == "actpass" {
		d.Active = was.Keys.DTLS.Active
	}
	for _, p := range m.Prints {
		d.Prints = append(d.Prints, media.Fingerprint{Hash: p.Hash, Sum: p.Sum})
	}
	setup := "passive"
	if d.Active {
		setup = "active"
	}
	return Protection{Keys: &media.Keys{DTLS: d}, Print: &sdp.Fingerprint{Hash: own.Hash, Sum: own.Sum}, Setup: setup}, true
}
