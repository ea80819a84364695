package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
)

// CheckKeys reads every key file under DIR/keys and calls found for each that
// is missing, damaged, open to others or does not belong to the rest. The
// console's identity may be absent: it is often kept on another machine. The
// recipients of console and escrow must both be in the list: that is how a list
// that was cut short is told from one that is whole.
func CheckKeys(dir string, found func(file string, err error)) {
	host, err := LoadHost(dir)
	if err != nil {
		found(HostKeyFile, err)
	} else {
		checkPublic(dir, host, found)
	}
	checkModes(dir, found)
	recipients := string(readKey(dir, RecipientsFile, found))
	if recipients != "" {
		if _, err := ParseRecipients(recipients); err != nil {
			found(RecipientsFile, err)
		}
	}
	for _, name := range []string{ConsolePubFile, EscrowPubFile} {
		pub := string(readKey(dir, name, found))
		if pub == "" {
			continue
		}
		if _, err := ParseRecipients(pub); err != nil || strings.TrimSpace(pub)+"\n" != pub {
			found(name, fmt.Errorf("not one recipient on one line: %w", ErrDamaged))
			continue
		}
		if recipients != "" && !strings.Contains("\n"+recipients, "\n"+pub) {
			found(RecipientsFile, fmt.Errorf("the recipient in %s is not in the list: was it cut short?", name))
		}
		if name == ConsolePubFile {
			checkIdentity(dir, pub, found)
		}
	}
}

// checkPublic checks that the public keys are the host's.
func checkPublic(dir string, host *Host, found func(file string, err error)) {
	if err := checkManifestKey(dir, host); err != nil {
		found(ManifestFile, err)
	}
	if err := checkAuditKey(dir, host); err != nil {
		found(AuditFile, err)
	}
}

// readKey returns a key file's text; nil when it cannot be used, which is said.
func readKey(dir, name string, found func(file string, err error)) []byte {
	text, err := os.ReadFile(filepath.Join(dir, "keys", name))
	if err == nil && len(bytes.TrimSpace(text)) == 0 {
		text, err = nil, fmt.Errorf("the file is empty: %w", ErrDamaged)
	}
	if err != nil {
		found(name, err)
	}
	return text
}

// checkIdentity checks that the console's identity, if it is here, is the one
// of its recipient.
func checkIdentity(dir, pub string, found func(file string, err error)) {
	if _, err := os.Stat(filepath.Join(dir, "keys", ConsoleKeyFile)); errors.Is(err, fs.ErrNotExist) {
		return
	}
	key := readKey(dir, ConsoleKeyFile, found)
	defer clear(key)
	if key == nil {
		return
	}
	if err := checkConsole(key, pub); err != nil {
		found(ConsoleKeyFile, err)
	}
}

// checkModes finds secrets that others may read, and lists that others may
// change: who adds a recipient hears all that is recorded from then on.
func checkModes(dir string, found func(file string, err error)) {
	for name, closed := range map[string]fs.FileMode{
		HostKeyFile: 0o077, ConsoleKeyFile: 0o077,
		ManifestFile: 0o022, AuditFile: 0o022, ConsolePubFile: 0o022, EscrowPubFile: 0o022, RecipientsFile: 0o022,
	} {
		info, err := os.Stat(filepath.Join(dir, "keys", name))
		if err == nil && info.Mode().Perm()&closed != 0 {
			found(name, fmt.Errorf("the file's mode is %#o: it must be open to its owner only (chmod 600)", info.Mode().Perm()))
		}
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

func checkConsole(key []byte, pub string) error {
	ids, err := age.ParseIdentities(bytes.NewReader(key))
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
