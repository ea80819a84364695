package seal

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
)

// Recipients are whom keyboxes are sealed to: the console, the offline escrow
// key, and whoever else the operator lists. All classical or all hybrid: age
// refuses a mix.
type Recipients struct{ list []age.Recipient }

// ParseRecipients reads age recipients, one a line; empty lines and lines
// starting with # are skipped.
func ParseRecipients(text string) (*Recipients, error) {
	list, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read recipients: %w", err)
	}
	r := &Recipients{list}
	if err := r.probe(); err != nil {
		return nil, err
	}
	return r, nil
}

// probe seals nothing to the recipients once, so that a mix that age refuses
// is found at start and not at the first call.
func (r *Recipients) probe() error {
	w, err := age.Encrypt(io.Discard, r.list...)
	if err != nil {
		return fmt.Errorf("use recipients: %w", err)
	}
	return w.Close()
}

// Len says how many recipients there are.
func (r *Recipients) Len() int { return len(r.list) }

// hybrid reports whether all recipients are post-quantum hybrid ones; then a
// recording's own identity must be one too, or it would be the weak link.
func (r *Recipients) hybrid() bool {
	for _, one := range r.list {
		if _, ok := one.(*age.HybridRecipient); !ok {
			return false
		}
	}
	return len(r.list) > 0
}

// NewRecording makes the identity of one recording and returns its keybox (an
// age file with the identity as text, sealed to the recipients) and its
// recipient as text. The identity itself is not returned and not kept; its
// bytes are cleared as far as they are ours.
func (r *Recipients) NewRecording() (keybox []byte, recipient string, err error) {
	guarded(func() { keybox, recipient, err = r.newRecording() })
	return bytes.Clone(keybox), strings.Clone(recipient), err // what is made inside is cleared
}

func (r *Recipients) newRecording() (keybox []byte, recipient string, err error) {
	identity, recipient, err := newIdentity(r.hybrid())
	if err != nil {
		return nil, "", err
	}
	defer clear(identity)
	var box bytes.Buffer
	w, err := age.Encrypt(&box, r.list...)
	if err != nil {
		return nil, "", fmt.Errorf("seal keybox: %w", err)
	}
	if _, err := w.Write(identity); err != nil {
		return nil, "", fmt.Errorf("seal keybox: %w", err)
	}
	if err := w.Close(); err != nil { // age encrypts in place: no plain text is left in its buffer
		return nil, "", fmt.Errorf("seal keybox: %w", err)
	}
	return box.Bytes(), recipient, nil
}

// newIdentity makes an age identity. It is a line of text in one piece of
// memory that the caller must clear; age would give it as a string, which
// nobody can clear, and leave several more on the way.
func newIdentity(hybrid bool) (identity []byte, recipient string, err error) {
	secret := make([]byte, 32)
	defer clear(secret)
	_, _ = rand.Read(secret) // never fails since Go 1.24
	name, public := "AGE-SECRET-KEY-", []byte(nil)
	prefix := "age"
	if hybrid {
		key, err := hpke.MLKEM768X25519().NewPrivateKey(secret)
		if err != nil {
			return nil, "", fmt.Errorf("make identity: %w", err)
		}
		name, prefix, public = "AGE-SECRET-KEY-PQ-", "age1pq", key.PublicKey().Bytes()
	} else {
		key, err := ecdh.X25519().NewPrivateKey(secret)
		if err != nil {
			return nil, "", fmt.Errorf("make identity: %w", err)
		}
		public = key.PublicKey().Bytes()
	}
	text := bech32(name, secret)
	for i, c := range text {
		if 'a' <= c && c <= 'z' {
			text[i] = c - 'a' + 'A'
		}
	}
	return append(text, '\n'), string(bech32(prefix, public)), nil
}

// OpenKeybox opens a keybox with any of the identities and returns the
// recording's own.
func OpenKeybox(keybox []byte, identities ...age.Identity) (age.Identity, error) {
	r, err := age.Decrypt(bytes.NewReader(keybox), identities...)
	if err != nil {
		return nil, fmt.Errorf("open keybox: %w", err)
	}
	text := make([]byte, 1024)
	defer clear(text)
	n, err := io.ReadFull(r, text)
	if !errors.Is(err, io.ErrUnexpectedEOF) { // it must end in here, and not at once
		return nil, fmt.Errorf("read keybox: %w", errors.Join(ErrDamaged, err))
	}
	line := bytes.TrimSpace(text[:n])
	var own age.Identity
	if bytes.HasPrefix(line, []byte("AGE-SECRET-KEY-PQ-1")) {
		own, err = age.ParseHybridIdentity(string(line))
	} else {
		own, err = age.ParseX25519Identity(string(line))
	}
	if err != nil { // age's text may quote what it was given
		return nil, fmt.Errorf("read keybox: not exactly one identity: %w", ErrDamaged)
	}
	return own, nil
}

// EncryptTo writes an age file for one recipient, given as text, to w. The
// file is complete once Close of the returned writer succeeded.
func EncryptTo(w io.Writer, recipient string) (io.WriteCloser, error) {
	list, err := age.ParseRecipients(strings.NewReader(recipient))
	if err != nil {
		return nil, fmt.Errorf("read recipient: %w", err)
	}
	out, err := age.Encrypt(w, list...)
	if err != nil {
		return nil, fmt.Errorf("begin age file: %w", err)
	}
	return out, nil
}

// SealTo returns plain as an age file for one recipient, given as text.
func SealTo(recipient string, plain []byte) (sealed []byte, err error) {
	var out bytes.Buffer
	out.Grow(len(plain) + len(plain)/1024 + 4096) // header and tags: not to grow inside
	guarded(func() { err = sealTo(&out, recipient, plain) })
	if err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func sealTo(out io.Writer, recipient string, plain []byte) error {
	w, err := EncryptTo(out, recipient)
	if err != nil {
		return err
	}
	if _, err := w.Write(plain); err != nil {
		return err
	}
	return w.Close()
}
