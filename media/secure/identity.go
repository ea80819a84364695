package secure

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	_ "crypto/sha1" // for fingerprints of old clients
	"crypto/sha256"
	_ "crypto/sha512"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// ErrFingerprint says that the peer's certificate is not the one that the
// signalling named: someone else has answered, and nothing is decrypted.
var ErrFingerprint = errors.New("secure: the certificate is not the one that the signalling names")

// Identity is the certificate that handshakes of one process show, made anew
// at each start: only its fingerprint matters, and that goes with the answer.
type Identity struct {
	cert  tls.Certificate
	print Fingerprint
}

// NewIdentity makes a self-signed certificate.
func NewIdentity() (*Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("secure: make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("secure: make a serial number: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "recorder"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("secure: make a certificate: %w", err)
	}
	sum := sha256.Sum256(der)
	return &Identity{
		cert:  tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		print: Fingerprint{Hash: "sha-256", Sum: sum[:]},
	}, nil
}

// Print is the certificate's fingerprint, for the answer.
func (i *Identity) Print() Fingerprint { return i.print }

// matches says whether a certificate has one of the fingerprints. MD5 and MD2
// count for nothing (RFC 8122 section 5).
func matches(der []byte, prints []Fingerprint) error {
	for _, p := range prints {
		h, ok := hashes(p.Hash)
		if !ok {
			continue
		}
		w := h.New()
		w.Write(der)
		if subtle.ConstantTimeCompare(w.Sum(nil), p.Sum) == 1 {
			return nil
		}
	}
	return ErrFingerprint
}

func hashes(name string) (crypto.Hash, bool) {
	switch name {
	case "sha-1":
		return crypto.SHA1, true
	case "sha-224":
		return crypto.SHA224, true
	case "sha-256":
		return crypto.SHA256, true
	case "sha-384":
		return crypto.SHA384, true
	case "sha-512":
		return crypto.SHA512, true
	}
	return 0, false
}
