// Package seal holds the keys of a recordings folder and what is done with
// them. It knows no recordings, no files of the store but those under keys/,
// and imports nothing of ours.
//
//	keys/host.key ──HKDF──► rows of the catalogue   (Box "row", "details")
//	  32 random bytes  ├──► index hashes            (Index)
//	                   ├──► one journal file each   (Box "journal" + the file's salt)
//	                   └──► manifest signatures     (Signer, Ed25519)
//
//	keys/recipients ──────► keybox = age(identity of one recording)
//	  console, escrow         identity ──► segments, details (age)
//
// The two halves are apart on purpose. The host key lets the recorder list,
// search and finish what it is recording; it opens no finished recording. A
// recording's own identity is made by NewRecording, written into its keybox
// and forgotten; only the holder of a recipient's identity (the console, or the
// escrow envelope in the safe) gets it back with OpenKeybox. Destroying the
// keybox therefore destroys every copy of the audio.
//
// Promises: InitKeys never overwrites a file; a flipped byte in any key file
// is found when it is read; each derived key has a label of its own, so no two
// uses share one.
//
// Built with GOEXPERIMENT=runtimesecret, as make build does, whatever handles a
// key runs guarded: what it leaves in memory is cleared, at the latest by the
// next run of the garbage collector (two minutes in an idle process).
//
// Caveats, for other builds: identities are made and written as bytes that are cleared after use,
// but the library that derives the public half keeps a copy of the 32 secret
// bytes until the garbage collector reuses them, and an identity that is read
// passes through one string. GODEBUG=fips140=only is not
// supported: age's X25519 refuses to work and its hybrid key generation never
// returns.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// ErrDamaged is returned (wrapped) when sealed bytes do not open: they were
// changed, belong to something else, or were sealed under another key.
var ErrDamaged = errors.New("sealed bytes are damaged or not ours")

// Box seals small pieces with AES-256-GCM and a random nonce (12 bytes in
// front, 16 bytes of tag behind). With random nonces one key is good for 2^32
// pieces (NIST SP 800-38D section 8.3).
type Box struct{ aead cipher.AEAD }

// Overhead is how many bytes longer a sealed piece is than its plain text.
const Overhead = 12 + 16

func newBox(key []byte) (*Box, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return &Box{aead}, nil
}

// Seal appends the sealed form of plain to dst. About says what the piece is
// and whose; the same bytes must be given to Open.
func (b *Box) Seal(dst, plain, about []byte) []byte {
	return b.aead.Seal(dst, nil, plain, about)
}

// Open appends the plain text of sealed to dst, or returns ErrDamaged.
func (b *Box) Open(dst, sealed, about []byte) ([]byte, error) {
	plain, err := b.aead.Open(dst, nil, sealed, about)
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

// Host is the recorder's own key with what is derived from it.
type Host struct{ secret [32]byte }

// derive returns n bytes for one use (RFC 5869). Labels never change: they are
// part of the format.
func (h *Host) derive(label string, salt []byte, n int) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, h.secret[:], salt, "siprecd/v1 "+label, n)
	if err != nil {
		return nil, fmt.Errorf("derive %s key: %w", label, err)
	}
	return key, nil
}

// Box returns the box for a use. Salt may be nil; a journal file has one of
// its own, so that its key goes when the file goes.
func (h *Host) Box(label string, salt []byte) (*Box, error) {
	key, err := h.derive("box "+label, salt, 32)
	if err != nil {
		return nil, err
	}
	return newBox(key)
}

// Salt returns 32 fresh random bytes.
func Salt() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return b
}

// Index turns a line or a number into a keyed hash, so that equal values can
// be found without the value being on disk.
type Index struct{ key []byte }

// IndexSize is the length of an index hash in bytes.
const IndexSize = 16

// Index returns the index hash for one kind of value ("line", "number").
func (h *Host) Index(kind string) (*Index, error) {
	key, err := h.derive("index "+kind, nil, 32)
	if err != nil {
		return nil, err
	}
	return &Index{key}, nil
}

// Hash returns the value's hash, IndexSize bytes.
func (x *Index) Hash(value string) []byte {
	m := hmac.New(sha256.New, x.key)
	m.Write([]byte(value))
	return m.Sum(nil)[:IndexSize]
}

// Signer returns the key that signs manifests.
func (h *Host) Signer() (*Signer, error) {
	seed, err := h.derive("manifest ed25519", nil, ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return &Signer{ed25519.NewKeyFromSeed(seed)}, nil
}
