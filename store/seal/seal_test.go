package seal

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

func initKeys(t *testing.T) (dir string, escrow age.Identity) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	text, err := InitKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	id, err := age.ParseX25519Identity(text)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v", name, info.Mode())
		}
		if data, err := os.ReadFile(name); err == nil && strings.Contains(string(data), text) {
			t.Errorf("the escrow identity stands in %s", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir, id
}

func TestInitKeys(t *testing.T) {
	dir, _ := initKeys(t)
	if _, err := InitKeys(dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second init: %v", err)
	}
	CheckKeys(dir, func(file string, err error) { t.Errorf("%s: %v", file, err) })
	for _, name := range []string{HostKeyFile, ManifestFile, ConsoleKeyFile, ConsolePubFile, EscrowPubFile, RecipientsFile} {
		file := filepath.Join(dir, "keys", name)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for at := range data {
			flipped := bytes.Clone(data)
			flipped[at] ^= 1
			if err := os.WriteFile(file, flipped, 0o600); err != nil {
				t.Fatal(err)
			}
			found := false
			CheckKeys(dir, func(f string, _ error) { found = found || f == name })
			if !found {
				t.Errorf("byte %d of %s flipped: not found", at, name)
			}
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "keys", ConsoleKeyFile)); err != nil {
		t.Fatal(err)
	}
	CheckKeys(dir, func(file string, err error) { t.Errorf("console key kept elsewhere: %s: %v", file, err) })
}

func TestKeybox(t *testing.T) {
	dir, escrow := initKeys(t)
	text, err := os.ReadFile(filepath.Join(dir, "keys", RecipientsFile))
	if err != nil {
		t.Fatal(err)
	}
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		recipients string
		holder     age.Identity
	}{"classical": {string(text), escrow}, "hybrid": {hybrid.Recipient().String(), hybrid}} {
		t.Run(name, func(t *testing.T) {
			r, err := ParseRecipients(c.recipients)
			if err != nil {
				t.Fatal(err)
			}
			box, recipient, err := r.NewRecording()
			if err != nil {
				t.Fatal(err)
			}
			if (name == "hybrid") != strings.HasPrefix(recipient, "age1pq1") {
				t.Errorf("recipient %.10s for %s holders", recipient, name)
			}
			var file bytes.Buffer
			w, err := EncryptTo(&file, recipient)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, "audio"); err != nil || w.Close() != nil {
				t.Fatal(err)
			}
			own, err := OpenKeybox(box, c.holder)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := age.Decrypt(&file, own)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := io.ReadAll(plain); string(got) != "audio" {
				t.Errorf("got %q", got)
			}
			stranger, _ := age.GenerateX25519Identity()
			if _, err := OpenKeybox(box, stranger); err == nil {
				t.Error("a stranger opens the keybox")
			}
		})
	}
	if _, err := ParseRecipients(string(text) + hybrid.Recipient().String()); err == nil {
		t.Error("a mix that age refuses is taken")
	}
}

func TestBoxAndIndex(t *testing.T) {
	dir, _ := initKeys(t)
	h, err := LoadHost(dir)
	if err != nil {
		t.Fatal(err)
	}
	a, err := h.Box("a", nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := h.Box("b", nil)
	salted, _ := h.Box("a", Salt())
	sealed := a.Seal(nil, []byte("plain"), []byte("id 1"))
	if len(sealed) != len("plain")+Overhead {
		t.Errorf("sealed length %d", len(sealed))
	}
	if got, err := a.Open(nil, sealed, []byte("id 1")); err != nil || string(got) != "plain" {
		t.Errorf("got %q, %v", got, err)
	}
	for what, open := range map[string]func() ([]byte, error){
		"moved":       func() ([]byte, error) { return a.Open(nil, sealed, []byte("id 2")) },
		"other use":   func() ([]byte, error) { return b.Open(nil, sealed, []byte("id 1")) },
		"other salt":  func() ([]byte, error) { return salted.Open(nil, sealed, []byte("id 1")) },
		"cut":         func() ([]byte, error) { return a.Open(nil, sealed[:20], []byte("id 1")) },
		"next to nil": func() ([]byte, error) { return a.Open(nil, nil, nil) },
	} {
		if _, err := open(); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	lines, _ := h.Index("line")
	numbers, _ := h.Index("number")
	if !bytes.Equal(lines.Hash("x"), lines.Hash("x")) || bytes.Equal(lines.Hash("x"), numbers.Hash("x")) || len(lines.Hash("")) != IndexSize {
		t.Error("index hashes")
	}
	s, err := h.Signer()
	if err != nil {
		t.Fatal(err)
	}
	pem, _ := s.PEM()
	pub, err := ParsePublic(pem)
	if err != nil || KeyID(pub) != s.KeyID() {
		t.Fatal(err)
	}
	sig := s.Sign([]byte("m"))
	if !Verify(pub, []byte("m"), sig) || Verify(pub, []byte("n"), sig) || Verify(pub, []byte("m"), sig[:63]) {
		t.Error("signature")
	}
}

// TestCheckKeysCut empties each key file, cuts it in half, and opens it to
// others: each is found. A list cut in half still is a list: of one recipient.
func TestCheckKeysCut(t *testing.T) {
	dir, _ := initKeys(t)
	for _, name := range []string{HostKeyFile, ManifestFile, ConsoleKeyFile, ConsolePubFile, EscrowPubFile, RecipientsFile} {
		file := filepath.Join(dir, "keys", name)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		expect := func(what string) {
			t.Helper()
			found := false
			CheckKeys(dir, func(f string, _ error) { found = found || f == name })
			if !found {
				t.Errorf("%s %s: not found", name, what)
			}
		}
		for what, bad := range map[string][]byte{"empty": nil, "of a line end": []byte("\n"), "cut in half": data[:len(data)/2]} {
			if err := os.WriteFile(file, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			expect(what)
		}
		if err := errors.Join(os.WriteFile(file, data, 0o600), os.Chmod(file, 0o666)); err != nil {
			t.Fatal(err)
		}
		expect("open to others")
		if err := os.Chmod(file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	CheckKeys(dir, func(file string, err error) { t.Errorf("%s: %v", file, err) })
}

// TestIdentity lets age read the identities that we write, and write them
// again: the same text, and the same recipient.
func TestIdentity(t *testing.T) {
	for _, hybrid := range []bool{false, true} {
		for range 5 {
			text, recipient, err := newIdentity(hybrid)
			if err != nil {
				t.Fatal(err)
			}
			if cap(text) != len(text) {
				t.Errorf("%d bytes in %d: it may have been moved", len(text), cap(text))
			}
			line := strings.TrimSuffix(string(text), "\n")
			var again, public string
			if hybrid {
				id, err := age.ParseHybridIdentity(line)
				if err != nil {
					t.Fatal(err)
				}
				again, public = id.String(), id.Recipient().String()
			} else {
				id, err := age.ParseX25519Identity(line)
				if err != nil {
					t.Fatal(err)
				}
				again, public = id.String(), id.Recipient().String()
			}
			if again != line || public != recipient {
				t.Errorf("age writes it differently: %v, %v", again == line, public == recipient)
			}
		}
	}
}
