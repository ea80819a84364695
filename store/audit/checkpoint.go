package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"siprecd/store/audit/merkle"
	"siprecd/store/seal"
)

// A Key checks checkpoints, and signs them when it was made from a signer.
type Key struct {
	note.Verifier
	signer *seal.Signer
}

// NewKey is the recorder's own key.
func NewKey(signer *seal.Signer) (*Key, error) {
	line, err := seal.AuditKey(signer.Public())
	if err != nil {
		return nil, err
	}
	k, err := ParseKey(line)
	if err == nil {
		k.signer = signer
	}
	return k, err
}

// ParseKey reads the line in keys/audit.pub.
func ParseKey(line string) (*Key, error) {
	v, err := note.NewVerifier(strings.TrimSpace(line))
	if err != nil {
		return nil, fmt.Errorf("read the audit key: %w", err)
	}
	return &Key{Verifier: v}, nil
}

// Sign implements note.Signer.
func (k *Key) Sign(msg []byte) ([]byte, error) {
	if k.signer == nil {
		return nil, errors.New("this key only verifies")
	}
	return k.signer.Sign(msg), nil
}

// A Checkpoint says what a tree was when it had N leaves.
type Checkpoint struct {
	Tree string    // 000001-2026-11
	N    int64     // leaves
	Root tlog.Hash //
	Note []byte    // as signed: C2SP checkpoint in a signed note, about 230 bytes
	At   time.Time // when it was signed; zero for one that was read
}

// String is the checkpoint as a leaf names it: tree, size, root.
func (c Checkpoint) String() string { return fmt.Sprintf("%s %d %s", c.Tree, c.N, c.Root) }

// Short is the same, cut for people.
func (c Checkpoint) Short() string { return fmt.Sprintf("%s at %d leaves", c.Tree, c.N) }

// sign makes a checkpoint. The origin is the log's name and the tree's.
func (k *Key) sign(tree string, f *merkle.Frontier) (Checkpoint, error) {
	root, err := f.Root()
	if err != nil {
		return Checkpoint{}, err
	}
	text := fmt.Sprintf("%s/%s\n%d\n%s\n", k.Name(), tree, f.N(), root)
	signed, err := note.Sign(&note.Note{Text: text}, k)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("sign checkpoint: %w", err)
	}
	return Checkpoint{Tree: tree, N: f.N(), Root: root, Note: signed, At: time.Now()}, nil
}

// Read reads one checkpoint and checks its signature.
func (k *Key) Read(signed []byte) (c Checkpoint, err error) {
	n, err := note.Open(signed, note.VerifierList(k))
	if err != nil {
		return c, fmt.Errorf("%w: %w", seal.ErrDamaged, err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 {
		return c, fmt.Errorf("%w: not a checkpoint", seal.ErrDamaged)
	}
	tree, ours := strings.CutPrefix(lines[0], k.Name()+"/")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	root, err2 := tlog.ParseHash(lines[2])
	if err = errors.Join(err, err2); err != nil || !ours || size < 0 || !validTree(tree) {
		return c, fmt.Errorf("%w: not a checkpoint of this log", seal.ErrDamaged)
	}
	return Checkpoint{Tree: tree, N: size, Root: root, Note: bytes.Clone(signed)}, nil
}

// ParsePrev reads what the first leaf of a tree says of the one before.
func ParsePrev(s string) (c Checkpoint, ok bool) {
	f := strings.Fields(s)
	if len(f) != 3 || !validTree(f[0]) {
		return c, false
	}
	size, err := strconv.ParseInt(f[1], 10, 64)
	root, err2 := tlog.ParseHash(f[2])
	return Checkpoint{Tree: f[0], N: size, Root: root}, err == nil && err2 == nil && size >= 0
}

// NoteWord marks a checkpoint in base64 in a line of a system log.
const NoteWord = "note="

// Line is a checkpoint on one line, for a system log. Verify finds it there.
func (c Checkpoint) Line() string {
	return "checkpoint " + c.String() + " " + NoteWord + base64.StdEncoding.EncodeToString(c.Note)
}
