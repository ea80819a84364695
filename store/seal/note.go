package seal

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"
)

// AuditFile holds, under DIR/keys, the key that checks the audit log's
// checkpoints: one line in the form of C2SP signed-note.
const AuditFile = "audit.pub"

// AuditSigner returns the key that signs the audit log's checkpoints. It is
// another one than the manifests': who holds one signature of each kind can
// not pass it off as the other.
func (h *Host) AuditSigner() (*Signer, error) {
	seed, err := h.derive("audit ed25519", nil, ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return &Signer{ed25519.NewKeyFromSeed(seed)}, nil
}

// AuditName names a recorder's audit log and its key: siprecd-audit- and the
// key's id.
func AuditName(pub ed25519.PublicKey) string { return "siprecd-audit-" + KeyID(pub) }

// AuditKey is the line that checks checkpoints: name+hash+base64 (C2SP
// signed-note, verifier key).
func AuditKey(pub ed25519.PublicKey) (string, error) {
	return note.NewEd25519VerifierKey(AuditName(pub), pub)
}

// auditKey is the host's own, as its file has it.
func (h *Host) auditKey() (string, error) {
	signer, err := h.AuditSigner()
	if err != nil {
		return "", err
	}
	line, err := AuditKey(signer.Public())
	return line + "\n", err
}

// WriteAuditKey writes DIR/keys/audit.pub where it is missing: folders of an
// earlier version have none.
func (h *Host) WriteAuditKey(dir string) error {
	name := filepath.Join(dir, "keys", AuditFile)
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	line, err := h.auditKey()
	if err == nil {
		err = writeNew(name, []byte(line))
	}
	if err == nil {
		err = syncDir(filepath.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", AuditFile, err)
	}
	return nil
}

// checkAuditKey says whether the file is the host's.
func checkAuditKey(dir string, host *Host) error {
	have, err := os.ReadFile(filepath.Join(dir, "keys", AuditFile))
	if err != nil {
		return err
	}
	want, err := host.auditKey()
	if err == nil && string(have) != want {
		err = fmt.Errorf("not the public key of this host: %w", ErrDamaged)
	}
	return err
}
