package seal

import (
	"bytes"
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
// recipient as text. The identity itself is not returned and not kept.
func (r *Recipients) NewRecording() (keybox []byte, recipient string, err error) {
	identity, recipient, err := newIdentity(r.hybrid())
	if err != nil {
		return nil, "", err
	}
	var box bytes.Buffer
	w, err := age.Encrypt(&box, r.list...)
	if err != nil {
		return nil, "", fmt.Errorf("seal keybox: %w", err)
	}
	if _, err := io.WriteString(w, identity+"\n"); err != nil {
		return nil, "", fmt.Errorf("seal keybox: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, "", fmt.Errorf("seal keybox: %w", err)
	}
	return box.Bytes(), recipient, nil
}

func newIdentity(hybrid bool) (identity, recipient string, err error) {
	if hybrid {
		id, err := age.GenerateHybridIdentity()
		if err != nil {
			return "", "", fmt.Errorf("make identity: %w", err)
		}
		return id.String(), id.Recipient().String(), nil
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return "", "", fmt.Errorf("make identity: %w", err)
	}
	return id.String(), id.Recipient().String(), nil
}

// OpenKeybox opens a keybox with any of the identities and returns the
// recording's own.
func OpenKeybox(keybox []byte, identities ...age.Identity) (age.Identity, error) {
	r, err := age.Decrypt(bytes.NewReader(keybox), identities...)
	if err != nil {
		return nil, fmt.Errorf("open keybox: %w", err)
	}
	ids, err := age.ParseIdentities(r)
	if err != nil {
		return nil, fmt.Errorf("read keybox: %w", err)
	}
	if len(ids) != 1 {
		return nil, errors.New("read keybox: not exactly one identity")
	}
	return ids[0], nil
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
