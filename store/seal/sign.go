package seal

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// Signer signs with plain Ed25519 over a file's bytes (RFC 8032, no prehash),
// so that a stranger can check it:
//
//	openssl pkeyutl -verify -pubin -inkey keys/manifest.pub -rawin \
//	    -in manifest.json -sigfile manifest.sig
type Signer struct{ key ed25519.PrivateKey }

// Sign returns the 64-byte signature of data.
func (s *Signer) Sign(data []byte) []byte { return ed25519.Sign(s.key, data) }

// Public returns the key that verifies what the signer signs.
func (s *Signer) Public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// KeyID names the signer's key: the first 16 hex digits of the SHA-256 of the
// 32 raw public key bytes.
func (s *Signer) KeyID() string { return KeyID(s.Public()) }

// PEM returns the public key as a PEM file (SubjectPublicKeyInfo, RFC 8410).
func (s *Signer) PEM() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(s.Public())
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// KeyID names a public key; see Signer.KeyID.
func KeyID(pub ed25519.PublicKey) string {
	sum := sha256.Sum256(pub)
	return hex.EncodeToString(sum[:8])
}

// ParsePublic reads a PEM file written by Signer.PEM.
func ParsePublic(file []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(file)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("read public key: not a PEM public key")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	pub, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("read public key: %T is not Ed25519", key)
	}
	return pub, nil
}

// Verify reports whether sig is pub's signature of data.
func Verify(pub ed25519.PublicKey, data, sig []byte) bool {
	return len(sig) == ed25519.SignatureSize && ed25519.Verify(pub, data, sig)
}
