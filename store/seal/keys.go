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
	"strings"

	"filippo.io/age"
)

// Files under DIR/keys.
const (
	HostKeyFile    = "host.key"     // the recorder's secret
	ManifestFile   = "manifest.pub" // PEM, for whoever checks manifests
	ConsoleKeyFile = "console.key"  // age identity; may be moved to another machine
	ConsolePubFile = "console.pub"  // its recipient
	RecipientsFile = "recipients"   // console and escrow recipients, one a line
)

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
	names := []string{HostKeyFile, ManifestFile, ConsoleKeyFile, ConsolePubFile, RecipientsFile}
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
		if err := writeNew(filepath.Join(keys, name), files[name]); err != nil {
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
	console, consolePub, err := newIdentity(false)
	if err != nil {
		return nil, "", err
	}
	escrow, escrowPub, err := newIdentity(false)
	if err != nil {
		return nil, "", err
	}
	return map[string][]byte{
		HostKeyFile:    host.encode(),
		ManifestFile:   pem,
		ConsoleKeyFile: []byte(console + "\n"),
		ConsolePubFile: []byte(consolePub + "\n"),
		RecipientsFile: []byte(consolePub + "\n" + escrowPub + "\n"),
	}, escrow, nil
}

// encode writes the key as one line: prefix, 64 hex digits of the key, 16 of a
// checksum. The checksum finds accidents, not attackers.
func (h *Host) encode() []byte {
	return []byte(hostPrefix + hex.EncodeToString(h.secret[:]) + " " + h.check() + "\n")
}

func (h *Host) check() string {
	sum := sha256.Sum256(append([]byte(hostPrefix), h.secret[:]...))
	return hex.EncodeToString(sum[:8])
}

// LoadHost reads DIR/keys/host.key.
func LoadHost(dir string) (*Host, error) {
	name := filepath.Join(dir, "keys", HostKeyFile)
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read host key: %w", err)
	}
	h := new(Host)
	fields := strings.Fields(string(text))
	if len(fields) == 3 && len(fields[1]) == 2*len(h.secret) {
		if _, err := hex.Decode(h.secret[:], []byte(fields[1])); err == nil && bytes.Equal(h.encode(), text) {
			return h, nil
		}
	}
	return nil, fmt.Errorf("read host key: %s: %w", name, ErrDamaged)
}

// CheckKeys reads every key file under DIR/keys and calls found for each that
// is missing, damaged or does not belong to the others. The console's identity
// may be absent: it is often kept on another machine.
func CheckKeys(dir string, found func(file string, err error)) {
	host, err := LoadHost(dir)
	if err != nil {
		found(HostKeyFile, err)
	} else if err := checkManifestKey(dir, host); err != nil {
		found(ManifestFile, err)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, "keys", name))
		if err != nil && (name != ConsoleKeyFile || !errors.Is(err, fs.ErrNotExist)) {
			found(name, err)
		}
		return string(text)
	}
	recipients, pub, key := read(RecipientsFile), read(ConsolePubFile), read(ConsoleKeyFile)
	if recipients != "" {
		if _, err := ParseRecipients(recipients); err != nil {
			found(RecipientsFile, err)
		}
	}
	if pub != "" {
		checkPair(recipients, pub, key, found)
	}
}

// checkPair checks that the console's recipient, its place in the list and, if
// it is here, its identity belong together.
func checkPair(recipients, pub, key string, found func(file string, err error)) {
	if _, err := ParseRecipients(pub); err != nil || strings.TrimSpace(pub)+"\n" != pub {
		found(ConsolePubFile, fmt.Errorf("not one recipient on one line: %w", ErrDamaged))
		return
	}
	if recipients != "" && !strings.Contains("\n"+recipients, "\n"+pub) {
		found(RecipientsFile, errors.New("the console's recipient is not in the list"))
	}
	if key == "" {
		return
	}
	if err := checkConsole(key, pub); err != nil {
		found(ConsoleKeyFile, err)
	}
}

func checkManifestKey(dir string, host *Host) error {
	have, err := os.ReadFile(filepath.Join(dir, "keys", ManifestFile))
	if err != nil {
		return err
	}
	signer, err := host.Signer()
	if err != nil {
		return err
	}
	want, err := signer.PEM()
	if err != nil {
		return err
	}
	if !bytes.Equal(have, want) {
		return fmt.Errorf("not the public key of this host: %w", ErrDamaged)
	}
	return nil
}

func checkConsole(key, pub string) error {
	ids, err := age.ParseIdentities(strings.NewReader(key))
	if err != nil {
		return err
	}
	for _, id := range ids {
		switch id := id.(type) {
		case *age.X25519Identity:
			if id.Recipient().String()+"\n" == pub {
				return nil
			}
		case *age.HybridIdentity:
			if id.Recipient().String()+"\n" == pub {
				return nil
			}
		}
	}
	return errors.New("not the identity of console.pub")
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
