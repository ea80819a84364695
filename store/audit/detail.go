package audit

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"siprecd/store/disk"
	"siprecd/store/seal"
)

// DetailBox is the label of the box that details are sealed in.
const DetailBox = "audit"

// A Detail is the part of an event that may be forgotten. The leaf holds the
// SHA-256 of its JSON; the salt keeps that from being guessed.
type Detail struct {
	Salt string `json:"salt"` // 16 random bytes, hex
	Who  string `json:"who,omitempty"`
	Why  string `json:"why,omitempty"`
}

// maxText caps who and why, in bytes each: a detail is one line.
const maxText = 1000

// sealDetail gives the leaf its hash and returns the line for the details file.
func (e *Event) sealDetail(box *seal.Box) (string, error) {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails since Go 1.24
	plain, err := json.Marshal(Detail{hex.EncodeToString(salt), clip(e.Who), clip(e.Why)})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(plain)
	e.Detail = hex.EncodeToString(sum[:])
	sealed := box.Seal(nil, plain, []byte(e.Detail))
	return e.Detail + " " + base64.StdEncoding.EncodeToString(sealed) + "\n", nil
}

func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "?")
}

// openDetail opens a line of a details file; the hash is what its leaf holds.
func openDetail(box *seal.Box, line string) (hash string, d Detail, err error) {
	hash, code, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	sealed, err := base64.StdEncoding.DecodeString(code)
	if err != nil {
		return hash, d, fmt.Errorf("%w: %w", seal.ErrDamaged, err)
	}
	plain, err := box.Open(nil, sealed, []byte(hash))
	if err != nil {
		return hash, d, err
	}
	if sum := sha256.Sum256(plain); hex.EncodeToString(sum[:]) != hash {
		return hash, d, seal.ErrDamaged
	}
	return hash, d, json.Unmarshal(plain, &d)
}

// Details reads the details of a tree, by their leaves' hashes. What does not
// open is told with its line, counted from 1.
func Details(root *os.Root, tree string, box *seal.Box, bad func(line int, err error)) (map[string]Detail, error) {
	data, err := readIfThere(root, tree, DetailSuffix)
	out := map[string]Detail{}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		if !strings.HasSuffix(line, "\n") {
			break // a crash cut it off, and its leaf was never promised
		}
		hash, d, err := openDetail(box, line)
		if err != nil {
			bad(n, err)
			continue
		}
		out[hash] = d
	}
	return out, err
}

// Forget takes the details of some leaves away, for good: their file is written
// anew without them. The leaves stay, and tell no more than that there was
// something. It is for whoever has the log open: Log.Forget.
func forget(root *os.Root, tree string, unwanted func(hash string) bool) (gone int, err error) {
	data, err := readIfThere(root, tree, DetailSuffix)
	if err != nil || len(data) == 0 {
		return 0, err
	}
	var left strings.Builder
	sc := bufio.NewScanner(strings.NewReader(string(data)))
	for sc.Scan() {
		hash, _, _ := strings.Cut(sc.Text(), " ")
		if unwanted(hash) {
			gone++
		} else {
			left.WriteString(sc.Text() + "\n")
		}
	}
	if gone == 0 {
		return 0, nil
	}
	f := disk.Folder{Root: root, Path: Dir}
	if _, err := f.Put(tree+DetailSuffix, []byte(left.String())); err != nil {
		return 0, err
	}
	return gone, f.Sync()
}

// linesOf calls do for every leaf of a tree, until it returns an error.
func linesOf(root *os.Root, tree string, do func(leaf []byte) error) error {
	f, err := root.Open(path.Join(Dir, tree+LogSuffix))
	if err != nil {
		return err
	}
	defer f.Close()
	for r := NewReader(f); ; {
		leaf, err := r.Next()
		if err == nil {
			err = do(leaf)
		}
		if err != nil {
			return err
		}
	}
}

// forgetIn forgets in one tree; the one that is written to gets its new file.
// The caller holds io.
func (l *Log) forgetIn(tree string, recordings []string) (err error) {
	mine, others, unwanted := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, r := range recordings {
		unwanted[r] = true
	}
	err = linesOf(l.o.Root, tree, func(leaf []byte) error {
		e, err := ParseLeaf(leaf)
		if err == nil && unwanted[e.Recording] {
			mine[e.Detail] = true
		} else if err == nil {
			others[e.Detail] = true
		}
		return err
	})
	whole := errors.Is(err, io.EOF) // then what belongs to no leaf, after a failed write, can go too
	gone, err := forget(l.o.Root, tree, func(hash string) bool { return mine[hash] || whole && !others[hash] })
	if err != nil || gone == 0 {
		return err
	}
	if l.tree == nil || l.tree.name != tree {
		return nil
	}
	old := l.tree.details
	if l.tree.details, err = create(l.o.Root, path.Join(Dir, tree+DetailSuffix), os.O_APPEND); err != nil {
		l.tree.details, l.tree.broken = old, true
		return err
	}
	return old.Close()
}
