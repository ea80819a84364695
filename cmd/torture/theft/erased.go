package theft

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
	"siprecd/store"
	"siprecd/store/seal"
)

// theErased is a recording as it was before it was erased.
type theErased struct {
	store.Row
	raw    []byte // its id as bytes
	keybox []byte
	own    *age.X25519Identity
}

// erased is E3. While other calls are live, recordings are erased; then every
// file of the folder, and three backups of the segments made before, are gone
// through with all of the organisation's keys.
func erased(l *rig.Lab) error {
	s, holders, err := withEscrow(l)
	if err != nil {
		return err
	}
	if _, err := s.Start(); err != nil {
		return err
	}
	legs := []siprectest.Leg{{Name: "Live", Audio: audio.Tone(440, -18)}, {Name: "Live too", Audio: audio.Tone(1000, -18)}}
	live := s.Place(siprectest.Options{Calls: 3, Duration: time.Hour, Legs: legs})
	_, rows, err := plant(l, s, l.Rounds+1, 600*time.Millisecond)
	if err != nil {
		return err
	}
	gone, backups, err := backedUp(l, s, rows)
	if err != nil {
		return err
	}
	keeps := gone[l.Rounds]
	gone = gone[:l.Rounds]
	if err := eraseControls(l, s, gone[0], holders, backups); err != nil {
		return err
	}
	if err := eraseAll(l, s, gone); err != nil {
		return err
	}
	if err := afterErasure(l, s, gone, holders, backups); err != nil {
		return err
	}
	n := opened(dig(s.Dir, len(keeps.keybox), holders), backups, keeps.ID)
	l.Control("the recording that was kept opens, in the same way", map[bool]int{true: 1}[n == 2*len(backups)], 1)
	if _, err := live.Stop(); err != nil {
		return err
	}
	if err := s.Idle(time.Minute); err != nil {
		return err
	}
	_, err = s.Do("verify")
	return err
}

// backedUp makes three backups of the segments, and notes what the recordings
// are like.
func backedUp(l *rig.Lab, s *rig.Server, rows []store.Row) (all []theErased, backups []string, err error) {
	for n := range 3 {
		dir := filepath.Join(l.Dir, fmt.Sprint("backup", n))
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(s.Dir, "recordings"))); err != nil {
			return nil, nil, err
		}
		backups = append(backups, dir)
	}
	for _, r := range rows {
		x, err := before(l, s, r)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, x)
	}
	return all, backups, nil
}

// withEscrow makes a server's folder and keeps the escrow identity that init
// shows; holders are all the keys that the organisation has.
func withEscrow(l *rig.Lab) (s *rig.Server, holders []age.Identity, err error) {
	dir := filepath.Join(l.Dir, "erased")
	text, err := l.Tool(l.Bin, "init", "--dir", dir)
	if err != nil {
		return nil, nil, err
	}
	console, err := os.ReadFile(filepath.Join(dir, "keys", seal.ConsoleKeyFile))
	if err != nil {
		return nil, nil, err
	}
	i := strings.Index(text, "AGE-SECRET-KEY-1")
	if i < 0 {
		return nil, nil, errors.New("init shows no escrow key")
	}
	escrow, _, _ := strings.Cut(text[i:], "\n")
	holders, err = age.ParseIdentities(strings.NewReader(string(console) + escrow + "\n"))
	if err != nil || len(holders) != 2 {
		return nil, nil, fmt.Errorf("%d keys: %w", len(holders), err)
	}
	s, err = l.ServerIn(dir)
	return s, holders, err
}

func before(l *rig.Lab, s *rig.Server, r store.Row) (x theErased, err error) {
	x.Row = r
	dir, err := sealedExport(l, s, r.ID)
	if err != nil {
		return x, err
	}
	if x.keybox, err = os.ReadFile(filepath.Join(dir, store.KeyboxFile)); err != nil {
		return x, err
	}
	x.raw, err = hexID(r.ID)
	if err == nil {
		x.own, err = identityIn(dir, filepath.Join(s.Dir, "keys", seal.ConsoleKeyFile))
	}
	return x, errors.Join(err, os.RemoveAll(dir)) // an export takes its keybox along: it is not a backup
}

// eraseAll erases one recording after the other, and half of them in a batch.
func eraseAll(l *rig.Lab, s *rig.Server, gone []theErased) error {
	receipt := filepath.Join(l.Dir, "receipts.json")
	longest := time.Duration(0)
	left := 0
	batches := [][]theErased{}
	for i := range gone[:len(gone)/2] {
		batches = append(batches, gone[i:i+1])
	}
	batches = append(batches, gone[len(gone)/2:])
	for _, batch := range batches {
		args := []string{"--reason", "to be forgotten", "--yes"}
		for _, x := range batch {
			args = append(args, x.ID)
		}
		began := time.Now()
		text, err := s.Do("erase", args...)
		if err != nil {
			return err
		}
		for _, x := range batch {
			found, err := x.remains(s.Dir)
			if err != nil {
				return err
			}
			if len(found) > 0 {
				left++
				l.Logf("left of %s: %s", x.ID, few(found))
			}
		}
		longest = max(longest, time.Since(began))
		f, err := os.OpenFile(receipt, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = f.WriteString(text)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	l.Count("recordings of which bytes are left in the folder", left, 0)
	l.Within("longest erasure, looked through", longest, 5*time.Second)
	return receipts(l, s, receipt, len(gone))
}

// receipts checks the receipts, and that a changed one is refused.
func receipts(l *rig.Lab, s *rig.Server, file string, want int) error {
	text, err := s.Do("verify", "--receipt", file)
	if err != nil {
		return err
	}
	l.Count("receipts that verify", strings.Count(text, "signature good, gone"), want)
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	at := bytes.Index(data, []byte(`"erased":"`)) + len(`"erased":"`)
	data[at+3]++ // the year
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	_, err = s.Do("verify", "--receipt", file)
	l.Control("a receipt with another date", map[bool]int{true: 1}[err != nil], 1)
	return nil
}

// remains is what of a recording's bytes is in the files of a folder.
func (x *theErased) remains(dir string) (found []string, err error) {
	n := &needles{}
	n.add("keybox", x.keybox[:200])
	n.add("keybox's end", x.keybox[len(x.keybox)-64:])
	frames := &needles{}
	frames.add("journal frames", x.raw)
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		rel, _ := filepath.Rel(dir, path)
		for _, w := range n.in(data) {
			found = append(found, rel+": "+w)
		}
		if strings.HasPrefix(rel, "journal"+string(filepath.Separator)) {
			found = append(found, frames.in(data)...)
		}
		if strings.HasPrefix(rel, "recordings") && strings.Contains(rel, x.ID) {
			found = append(found, rel)
		}
		return err
	})
	return found, err
}

// eraseControls shows that before its erasure a recording is found by the same
// means.
func eraseControls(l *rig.Lab, s *rig.Server, x theErased, holders []age.Identity, backups []string) error {
	found, err := x.remains(s.Dir)
	if err != nil {
		return err
	}
	l.Control("keybox, journal and files before the erasure", len(found), max(5, len(found)))
	n := opened(dig(s.Dir, len(x.keybox), holders), backups, x.ID)
	l.Control("copies that open before the erasure", n, 2*len(backups))
	return nil
}

// afterErasure tries to open every copy.
func afterErasure(l *rig.Lab, s *rig.Server, gone []theErased, holders []age.Identity, backups []string) error {
	ids := dig(s.Dir, len(gone[0].keybox), holders)
	copies, stock := 0, 0
	console := filepath.Join(s.Dir, "keys", seal.ConsoleKeyFile)
	for _, x := range gone {
		copies += opened(ids, backups, x.ID)
		for _, b := range backups {
			for _, file := range filesOf(b, x.ID) {
				if opensWith(l, "age", console, file) {
					stock++
				}
			}
		}
		if _, err := s.Export(x.ID); err == nil {
			copies++
		}
		if _, err := sealedExport(l, s, x.ID); err == nil {
			copies++
		}
	}
	l.Logf("%d keys dug out of the folder", len(ids))
	l.Count("copies that open with all keys", copies, 0)
	l.Count("copies that open with age and the console's key", stock, 0)
	return nil
}

// dig takes every age file out of every file of the folder, wherever it begins,
// takes it for a keybox of that size, opens it with the holders' identities, and
// gives the identities in them.
func dig(dir string, size int, holders []age.Identity) (own []age.Identity) {
	magic := []byte("age-encryption.org/v1\n")
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		data, _ := os.ReadFile(path)
		for from := 0; ; {
			i := bytes.Index(data[from:], magic)
			if i < 0 {
				return nil
			}
			from += i
			if size <= len(data)-from {
				if id, err := seal.OpenKeybox(data[from:from+size], holders...); err == nil {
					own = append(own, id)
				}
			}
			from += len(magic)
		}
	})
	return append(own, holders...)
}

// opened is how many of a recording's files in the backups open with any of the
// identities.
func opened(ids []age.Identity, backups []string, id string) (n int) {
	for _, b := range backups {
		for _, file := range filesOf(b, id) {
			f, err := os.Open(file)
			if err != nil {
				continue
			}
			r, err := age.Decrypt(f, ids...)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			if err == nil {
				n++
			}
			f.Close()
		}
	}
	return n
}

func filesOf(backup, id string) []string {
	files, _ := filepath.Glob(filepath.Join(backup, "*", "*", "*", id, "*.age"))
	return files
}
