package theft

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"siprecd/cmd/torture/rig"
	"siprecd/store/seal"
)

// stolen is E2: a copy of the whole folder but for the console's key, which is
// kept elsewhere. No recording in it may open, by any key that is in it.
func stolen(l *rig.Lab) error {
	s, err := begin(l)
	if err != nil {
		return err
	}
	_, rows, err := plant(l, s, l.Rounds, time.Second)
	if err != nil {
		return err
	}
	if code := s.Stop(syscall.SIGTERM); code != 0 {
		return fmt.Errorf("the server ended with %d", code)
	}
	console := filepath.Join(l.Dir, "console.key")
	if err := os.Rename(filepath.Join(s.Dir, "keys", seal.ConsoleKeyFile), console); err != nil {
		return err
	}
	identities, err := candidates(l, s.Dir)
	if err != nil {
		return err
	}
	if _, err := s.Do("verify"); err != nil {
		return fmt.Errorf("without the console's key: %w", err)
	}
	opened, control := 0, 0
	for _, r := range rows {
		n, ok, err := stealOne(l, s, r.ID, identities, console)
		if err != nil {
			return err
		}
		opened += n
		if ok {
			control++
		}
	}
	l.Logf("%d identities were tried", len(identities))
	l.Count("recordings that open", opened, 0)
	l.Control("the console's key, which opens them", control, len(rows))
	return nil
}

// stealOne tries to open all files of a recording; control says whether its
// keybox opens with the console's key.
func stealOne(l *rig.Lab, s *rig.Server, id string, identities []string, console string) (opened int, control bool, err error) {
	dir, err := sealedExport(l, s, id) // the sealed form is the thief's anyway
	if err != nil {
		return 0, false, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.age"))
	if err != nil {
		return 0, false, err
	}
	for _, file := range files {
		for _, key := range identities {
			if opensWith(l, "age", key, file) {
				opened++
				l.Logf("%s opens %s", key, file)
			}
		}
	}
	if _, err := s.Export(id); err == nil {
		opened++
		l.Logf("siprecd export opens %s", id)
	}
	return opened, opensWith(l, "age", console, filepath.Join(dir, "keybox.age")), nil
}

// candidates are identity files made of whatever a thief could take for a key:
// every identity in age's form in any file, and the host's key as an identity.
func candidates(l *rig.Lab, dir string) (list []string, err error) {
	out := filepath.Join(l.Dir, "candidates")
	if err := os.MkdirAll(out, 0o700); err != nil {
		return nil, err
	}
	put := func(text string) error {
		name := filepath.Join(out, fmt.Sprint(len(list)))
		list = append(list, name)
		return os.WriteFile(name, []byte(text), 0o600)
	}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.HasPrefix(path, filepath.Join(dir, "keys")) { // as they are
			err = put(string(data))
		}
		for rest := data; ; {
			i := bytes.Index(rest, []byte("AGE-SECRET-KEY-"))
			if i < 0 {
				return err
			}
			rest = rest[i:]
			err = errors.Join(err, put(string(rest[:min(74, len(rest))])+"\n"))
			rest = rest[1:]
		}
	})
	if err != nil {
		return nil, err
	}
	host, err := os.ReadFile(filepath.Join(dir, "keys", seal.HostKeyFile))
	if err != nil {
		return nil, err
	}
	for _, secret := range hostSecrets(host) {
		if err := put(asIdentity(secret)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// hostSecrets are 32 bytes that the host's key could be taken for.
func hostSecrets(file []byte) (list [][]byte) {
	fields := bytes.Fields(file)
	if len(fields) < 2 {
		return nil
	}
	raw := make([]byte, hex.DecodedLen(len(fields[1])))
	if n, err := hex.Decode(raw, fields[1]); err != nil || n != 32 {
		return nil
	}
	sum := sha256.Sum256(raw)
	return [][]byte{raw, sum[:]}
}

// asIdentity writes 32 bytes as an identity in age's form (BIP 173).
func asIdentity(secret []byte) string {
	const name, digits = "age-secret-key-", "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	values := []byte{}
	acc, bits := uint32(0), 0
	for _, b := range secret {
		acc, bits = acc<<8|uint32(b), bits+8
		for ; bits >= 5; bits -= 5 {
			values = append(values, byte(acc>>(bits-5))&31)
		}
	}
	if bits > 0 {
		values = append(values, byte(acc<<(5-bits))&31)
	}
	all := []byte{}
	for i := range name {
		all = append(all, name[i]>>5)
	}
	all = append(all, 0)
	for i := range name {
		all = append(all, name[i]&31)
	}
	sum := uint32(1)
	for _, v := range append(append(all, values...), 0, 0, 0, 0, 0, 0) {
		top := sum >> 25
		sum = (sum&0x1ffffff)<<5 ^ uint32(v)
		for i, g := range []uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	sum ^= 1
	for i := range 6 {
		values = append(values, byte(sum>>(5*(5-i)))&31)
	}
	text := []byte(name + "1")
	for _, v := range values {
		text = append(text, digits[v])
	}
	return strings.ToUpper(string(text)) + "\n"
}
