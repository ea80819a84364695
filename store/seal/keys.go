package seal

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Files under DIR/keys.
const (
	HostKeyFile    = "host.key"     // the recorder's secret
	ManifestFile   = "manifest.pub" // PEM, for whoever checks manifests
	ConsoleKeyFile = "console.key"  // age identity; may be moved to another machine
	ConsolePubFile = "console.pub"  // its recipient
	EscrowPubFile  = "escrow.pub"   // the escrow's recipient
	RecipientsFile = "recipients"   // console and escrow recipients, one a line
) // and AuditFile

const hostPrefix = "SIPRECD-HOST-KEY-1 "

// InitKeys makes DIR/keys with a host key, a console identity and the list of
// recipients, and returns the offline escrow identity, which is written
// nowhere: show it once and forget it. Files are 0600, the folder 0700. It
// never overwrites: when any of the files exists, fs.ErrExist is returned
// (wrapped) and nothing is changed.
func InitKeys(dir string) (escrow string, err error) {
	keys := filepath.Join(dir, "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return "", fmt.Errorf("make keys folder: %w", err)
	}
	names := []string{HostKeyFile, ManifestFile, AuditFile, ConsoleKeyFile, ConsolePubFile, EscrowPubFile, RecipientsFile}
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(keys, name)); !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("make keys: %s: %w", filepath.Join(keys, name), fs.ErrExist)
		}
	}
	files, escrow, err := newKeyFiles()
	if err != nil {
		return "", err
	}
	for _, name := range names {
		err := writeNew(filepath.Join(keys, name), files[name])
		clear(files[name])
		if err != nil {
			return "", fmt.Errorf("write %s: %w", name, err)
		}
	}
	for _, d := range []string{keys, dir} {
		if err := syncDir(d); err != nil {
			return "", fmt.Errorf("sync folder: %w", err)
		}
	}
	return escrow, nil
}

func newKeyFiles() (files map[string][]byte, escrow string, err error) {
	host := new(Host)
	_, _ = rand.Read(host.secret[:]) // never fails since Go 1.24
	signer, err := host.Signer()
	if err != nil {
		return nil, "", err
	}
	pem, err := signer.PEM()
	if err != nil {
		return nil, "", err
	}
	audit, err := host.auditKey()
	if err != nil {
		return nil, "", err
	}
	console, consolePub, err := newIdentity(false)
	if err != nil {
		return nil, "", err
	}
	shown, escrowPub, err := newIdentity(false)
	if err != nil {
		return nil, "", err
	}
	defer clear(shown)
	return map[string][]byte{
		HostKeyFile:    host.encode(),
		ManifestFile:   pem,
		AuditFile:      []byte(audit),
		ConsoleKeyFile: console,
		ConsolePubFile: []byte(consolePub + "\n"),
		EscrowPubFile:  []byte(escrowPub + "\n"),
		RecipientsFile: []byte(consolePub + "\n" + escrowPub + "\n"),
	}, string(bytes.TrimSpace(shown)), nil
}

// encode writes the key as one line: prefix, 64 hex digits of the key, 16 of a
// checksum. The checksum finds accidents, not attackers.
func (h *Host) encode() []byte {
	text := make([]byte, 0, len(hostPrefix)+2*len(h.secret)+1+2*checkSize+1) // never moved
	text = hex.AppendEncode(append(text, hostPrefix...), h.secret[:])
	return append(hex.AppendEncode(append(text, ' '), h.check()), '\n')
}

const checkSize = 8

func (h *Host) check() []byte {
	sum := sha256.New()
	sum.Write([]byte(hostPrefix))
	sum.Write(h.secret[:])
	return sum.Sum(nil)[:checkSize]
}

// LoadHost reads DIR/keys/host.key.
func LoadHost(dir string) (*Host, error) {
	name := filepath.Join(dir, "keys", HostKeyFile)
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read host key: %w", err)
	}
	defer clear(text)
	h := new(Host)
	fields := bytes.Fields(text)
	if len(fields) == 3 && len(fields[1]) == 2*len(h.secret) {
		if _, err := hex.Decode(h.secret[:], fields[1]); err == nil {
			again := h.encode()
			defer clear(again)
			if bytes.Equal(again, text) {
				return h, nil
			}
		}
	}
	return nil, fmt.Errorf("read host key: %s: %w", name, ErrDamaged)
}

func writeNew(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
