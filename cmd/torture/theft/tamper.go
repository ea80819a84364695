package theft

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"siprecd/cmd/torture/rig"
	"siprecd/store"
	"siprecd/store/tamper"
)

// scene is a closed folder that is about to be changed.
type scene struct {
	dir      string
	victim   string // id
	other    string // of another recording
	recovery string // the id that verify must name, if it is not the victim
}

func (s *scene) folder(id string) string {
	f, _ := store.Folder(id)
	return filepath.Join(s.dir, f)
}

func (s *scene) segment(id string) string { return filepath.Join(s.folder(id), "000000.opus.age") }

// kinds are the twelve kinds of tampering. Nobody of them has a key.
func kinds() []struct {
	name string
	do   func(s *scene) error
} {
	return []struct {
		name string
		do   func(s *scene) error
	}{
		{"segment: a byte", func(s *scene) error { return edit(s.segment(s.victim), flipAny) }},
		{"segment: cut", func(s *scene) error {
			return edit(s.segment(s.victim), func(b []byte) []byte { return b[:len(b)-1-len(b)/9] })
		}},
		{"segment: swapped with another recording's", func(s *scene) error { return swapFiles(s.segment(s.victim), s.segment(s.other)) }},
		{"segment: deleted", func(s *scene) error { return os.Remove(s.segment(s.victim)) }},
		{"segment: one more", func(s *scene) error {
			return copyFile(s.segment(s.victim), filepath.Join(s.folder(s.victim), "000007.opus.age"))
		}},
		{"manifest: edited", func(s *scene) error { return edit(filepath.Join(s.folder(s.victim), store.ManifestFile), shorter) }},
		{"manifest: another recording's, with its signature", func(s *scene) error {
			return errors.Join(
				copyFile(filepath.Join(s.folder(s.other), store.ManifestFile), filepath.Join(s.folder(s.victim), store.ManifestFile)),
				copyFile(filepath.Join(s.folder(s.other), store.SignatureFile), filepath.Join(s.folder(s.victim), store.SignatureFile)))
		}},
		{"manifest: edited and signed with another key", resign},
		{"row: edited", func(s *scene) error { return tamper.EditRow(s.dir, s.victim) }},
		{"row: deleted", func(s *scene) error { return tamper.DeleteRow(s.dir, s.victim) }},
		{"row: doubled under another id", func(s *scene) (err error) { s.recovery, err = tamper.CopyRow(s.dir, s.victim); return err }},
		{"row: swapped with another's", func(s *scene) error { return tamper.SwapRows(s.dir, s.victim, s.other) }},
		{"keybox: swapped with another's", func(s *scene) error { return tamper.SwapKeyboxes(s.dir, s.victim, s.other) }},
		{"keybox: deleted", func(s *scene) error { return tamper.DeleteKeybox(s.dir, s.victim) }},
		{"details: a byte", func(s *scene) error { return edit(filepath.Join(s.folder(s.victim), store.DetailsFile), flipAny) }},
		{"all files of a recording", func(s *scene) error { return os.RemoveAll(s.folder(s.victim)) }},
	}
}

// tampered is E4. The stamp of the clean stop, which tells of any change of the
// databases, is taken away first, as a thief would: the change must be found
// and named by what is sealed and signed alone.
func tampered(l *rig.Lab) error {
	s, err := begin(l)
	if err != nil {
		return err
	}
	_, rows, err := plant(l, s, 5, 700*time.Millisecond)
	if err != nil {
		return err
	}
	if code := s.Stop(syscall.SIGTERM); code != 0 {
		return fmt.Errorf("the server ended with %d", code)
	}
	if err := os.Remove(filepath.Join(s.Dir, "closed.json")); err != nil {
		return err
	}
	clean, all := 0, kinds()
	found := make([]int, len(all))
	for n := range l.Rounds {
		faults, err := verify(l, s.Dir)
		if err != nil {
			return err
		}
		if len(faults) == 0 {
			clean++
		} else {
			l.Logf("untouched: %v", faults)
		}
		for i, k := range all {
			located, err := oneKind(l, s.Dir, k.do, rows[n%len(rows)].ID, rows[(n+1+n/len(rows)%4)%len(rows)].ID)
			if err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
			if located {
				found[i]++
			} else {
				l.Logf("not located: %s", k.name)
			}
		}
	}
	for i, k := range all {
		l.Control(k.name, found[i], l.Rounds)
	}
	l.Count("false alarms on an untouched folder", l.Rounds-clean, 0)
	return nil
}

// oneKind tampers with a copy and says whether verify names the recording.
func oneKind(l *rig.Lab, dir string, do func(*scene) error, victim, other string) (bool, error) {
	s := &scene{dir: filepath.Join(l.Dir, "tampered"), victim: victim, other: other, recovery: victim}
	if err := errors.Join(os.RemoveAll(s.dir), os.CopyFS(s.dir, os.DirFS(dir)), closeToOthers(s.dir)); err != nil {
		return false, err
	}
	if err := do(s); err != nil {
		return false, err
	}
	faults, err := verify(l, s.dir)
	return slices.Contains(faults, s.recovery), err
}

// closeToOthers sets the modes that a copy has lost.
func closeToOthers(dir string) error {
	keys, err := filepath.Glob(filepath.Join(dir, "keys", "*"))
	for _, k := range keys {
		err = errors.Join(err, os.Chmod(k, 0o600))
	}
	return err
}

// verify gives the recording of every fault, "" for one that is nobody's.
func verify(l *rig.Lab, dir string) (ids []string, err error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(l, l.Bin, "verify", "--json", "--config", filepath.Join(dir, "siprecd.yaml"), "--set", "store.dir="+dir)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return nil, fmt.Errorf("verify: %w: %s", err, &errs)
	}
	for line := range strings.Lines(out.String()) {
		var f struct{ Recording string }
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			return nil, fmt.Errorf("verify: %w in %s", err, line)
		}
		ids = append(ids, f.Recording)
	}
	if err != nil && len(ids) == 0 {
		return nil, fmt.Errorf("verify: %w: %s", err, &errs)
	}
	return ids, nil
}

func edit(name string, change func([]byte) []byte) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return os.WriteFile(name, change(b), 0o600)
}

// flipAny flips one bit anywhere.
func flipAny(b []byte) []byte {
	var r [3]byte
	_, _ = rand.Read(r[:])
	b[(int(r[0])<<8|int(r[1]))%len(b)] ^= 1 << (r[2] % 8)
	return b
}

// shorter makes the call look shorter.
func shorter(b []byte) []byte {
	return bytes.Replace(b, []byte(`"duration_seconds": `), []byte(`"duration_seconds": 0`), 1)
}

func swapFiles(a, b string) error {
	return errors.Join(os.Rename(a, a+".x"), os.Rename(b, a), os.Rename(a+".x", b))
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// resign edits the manifest, hashes and all, and signs it with a key of its own.
func resign(s *scene) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	name := filepath.Join(s.folder(s.victim), store.ManifestFile)
	if err := edit(name, shorter); err != nil {
		return err
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.folder(s.victim), store.SignatureFile), ed25519.Sign(key, b), 0o600)
}
