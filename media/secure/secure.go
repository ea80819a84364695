// Package secure takes the encryption off the packets of one stream: SRTP with
// keys from the signalling (SDES, RFC 4568) or from a DTLS handshake on the
// media port (RFC 5763, RFC 5764).
//
//	SDES:  Keys from the SDP ──────────────────────────┐
//	DTLS:  packets 20..63 ─► Handshake ─► Keys ────────┤
//	                                                   ▼
//	datagram ─► Guard.Open: authentic? fresh? ─► plain RTP or RTCP ─► media/leg
//
// Promises. Nothing changes before a packet has proved authentic: no state is
// made for a forged sender, and bad packets are only counted, however many
// come. A replay is refused. What does not open is never handed on, so a wrong
// key or plain RTP on a keyed stream is silence and an alarm, not noise.
//
// New keys. The same keys again change nothing, so the rollover counter (ROC)
// and the replay window live through a hold, and into the next call of a
// session. Other keys are tried first while the old ones stay good until five
// seconds after the new ones have opened something: no packet in flight is lost.
// Whether a client begins its count of rollovers anew with a new key differs
// between makes, so both are tried, as is the next rollover after a pause in
// which the client went on counting.
//
// A handshake runs in a goroutine that its owner starts and waits for; it
// reaches the swept socket through a Link. The peer is known by the
// fingerprint in the signalling alone. Secrets do not print.
//
// Caveats. Suites are those of pion/srtp but NULL; there is no AES-192 and no
// F8. The lifetime of a key is not enforced. EKT and cryptex are not known.
package secure

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/pion/srtp/v3"
)

// Secret is keying material. However it is printed, it shows nothing.
type Secret []byte

// hidden stands for a secret wherever one is printed.
const hidden = "[secret]"

// Format implements fmt.Formatter: every verb prints the same word.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText implements encoding.TextMarshaler, for JSON and slog.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Keys is what was agreed to protect one stream: SDES, or DTLS when that is
// set.
type Keys struct {
	Suite string   // SDES: name as in RFC 4568, RFC 6188 and RFC 7714
	Keys  []Master // SDES: the sender's; several differ in MKI
	DTLS  *DTLS
}

// Master is a master key of the sender with its salt.
type Master struct {
	KeySalt Secret // key, then salt; KeyBytes says how long
	MKI     []byte // as in packets (RFC 3711 section 3.1); nil: none
}

// DTLS is what the signalling says of a handshake.
type DTLS struct {
	Active bool // we begin it
	Prints []Fingerprint
}

// Fingerprint is the hash of a certificate (RFC 8122).
type Fingerprint struct {
	Hash string // sha-256 and its like, lower case
	Sum  []byte
}

// Stats is what was counted on one stream.
type Stats struct {
	Method  string // "", "sdes" or "dtls"
	Suite   string // in force; "" before a handshake is done
	Opened  uint64 // packets that proved authentic
	Failed  uint64 // not authentic: wrong key, plain, or forged
	Replays uint64 // authentic once already, or too old to tell
	Early   uint64 // came before there were keys, and had to be dropped
	Blocked bool   // cannot be decrypted: a run of failures without any success
	Error   string // why a handshake failed
}

// suite is one protection profile.
type suite struct {
	profile srtp.ProtectionProfile
	bytes   int // master key and salt
}

// lookup finds a suite by its SDES name. NULL is left out: it encrypts
// nothing.
func lookup(name string) (suite, bool) {
	switch name {
	case "AES_CM_128_HMAC_SHA1_80":
		return suite{srtp.ProtectionProfileAes128CmHmacSha1_80, 30}, true
	case "AES_CM_128_HMAC_SHA1_32":
		return suite{srtp.ProtectionProfileAes128CmHmacSha1_32, 30}, true
	case "AES_256_CM_HMAC_SHA1_80":
		return suite{srtp.ProtectionProfileAes256CmHmacSha1_80, 46}, true
	case "AES_256_CM_HMAC_SHA1_32":
		return suite{srtp.ProtectionProfileAes256CmHmacSha1_32, 46}, true
	case "AEAD_AES_128_GCM":
		return suite{srtp.ProtectionProfileAeadAes128Gcm, 28}, true
	case "AEAD_AES_256_GCM":
		return suite{srtp.ProtectionProfileAeadAes256Gcm, 44}, true
	}
	return suite{}, false
}

// KeyBytes is how long master key and salt of a suite are together; 0 for a
// suite that we do not take.
func KeyBytes(name string) int {
	s, _ := lookup(name)
	return s.bytes
}

// Check says whether the keys can be used.
func (k *Keys) Check() error {
	if k.DTLS != nil {
		if len(k.DTLS.Prints) == 0 {
			return fmt.Errorf("secure: no fingerprint")
		}
		return nil
	}
	n := KeyBytes(k.Suite)
	if n == 0 {
		return fmt.Errorf("secure: no suite %q", k.Suite)
	}
	if len(k.Keys) == 0 {
		return fmt.Errorf("secure: no key for %s", k.Suite)
	}
	for _, m := range k.Keys {
		if len(m.KeySalt) != n {
			return fmt.Errorf("secure: a key of %d bytes for %s, which wants %d", len(m.KeySalt), k.Suite, n)
		}
	}
	return nil
}

// Equal says whether two agreements are the same one.
func (k *Keys) Equal(o *Keys) bool {
	if k == nil || o == nil {
		return k == o
	}
	if (k.DTLS == nil) != (o.DTLS == nil) {
		return false
	}
	if k.DTLS != nil {
		return k.DTLS.Active == o.DTLS.Active && slices.EqualFunc(k.DTLS.Prints, o.DTLS.Prints,
			func(a, b Fingerprint) bool { return a.Hash == b.Hash && bytes.Equal(a.Sum, b.Sum) })
	}
	return k.digest() == o.digest()
}

// digest names SDES keys without holding them.
func (k *Keys) digest() [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%s %d\n", k.Suite, len(k.Keys))
	for _, m := range k.Keys {
		fmt.Fprintf(h, "%x %x\n", []byte(m.KeySalt), m.MKI)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// Limits of a Guard.
const (
	replayWindow = 1024            // packets that may come out of order: 20 s of audio
	blockedAfter = 50              // failures without a success until a stream cannot be decrypted: a second of audio
	blockedFor   = 3 * time.Second // and, where there was one, how long ago that must be
	oldKeysLive  = 5 * time.Second // after the new keys have opened something
	packetBytes  = 2048            // longest packet
)
