package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Dir is the log's folder below the store's.
const Dir = "audit"

// The files of a tree: its name and one of these.
const (
	LogSuffix        = ".log"
	HashSuffix       = ".hashes"
	CheckpointSuffix = ".checkpoints"
	DetailSuffix     = ".details"
)

const lockFile = "lock"

// treeName is 000001-2026-11: the tree's place in the chain, and its month.
func treeName(seq int, at time.Time) string {
	return fmt.Sprintf("%06d-%s", seq, at.UTC().Format("2006-01"))
}

func validTree(name string) bool {
	seq, month, ok := strings.Cut(name, "-")
	n, err := strconv.Atoi(seq)
	if !ok || err != nil || n < 1 {
		return false
	}
	at, err := time.Parse("2006-01", month)
	return err == nil && treeName(n, at) == name
}

// SeqOf is a valid tree's place in the chain.
func SeqOf(name string) int {
	seq, _, _ := strings.Cut(name, "-")
	n, _ := strconv.Atoi(seq)
	return n
}

// Trees lists the trees in the folder, oldest first; none when there is no log.
func Trees(root *os.Root) (names []string, err error) {
	entries, err := fs.ReadDir(root.FS(), Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), LogSuffix); ok && validTree(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, err
}

// readIfThere reads a tree's file; one that does not exist is empty.
func readIfThere(root *os.Root, tree, suffix string) ([]byte, error) {
	data, err := root.ReadFile(path.Join(Dir, tree+suffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// Stored reads the checkpoints that a tree's file holds, each followed by an
// empty line. Bad is what is wrong with each that is no checkpoint of this
// tree; a rest that does not end, as a crash leaves it, counts as nothing, and
// whole is where it begins.
func (k *Key) Stored(root *os.Root, tree string) (list []Checkpoint, whole int64, bad []error, err error) {
	data, err := readIfThere(root, tree, CheckpointSuffix)
	for i := 1; err == nil; i++ {
		size := noteSize(data[whole:])
		if size == 0 {
			break
		}
		c, err := k.Read(data[whole : whole+size])
		switch {
		case err != nil:
			bad = append(bad, fmt.Errorf("checkpoint %d: %w", i, err))
		case c.Tree != tree:
			bad = append(bad, fmt.Errorf("checkpoint %d: it is of tree %s", i, c.Tree))
		case len(list) > 0 && c.N < list[len(list)-1].N:
			bad = append(bad, fmt.Errorf("checkpoint %d: it is older than the one before", i))
		default:
			list = append(list, c)
		}
		whole += size + 1
	}
	return list, whole, bad, err
}

// sigLine is how the signature line of a note begins.
const sigLine = "\n\n— "

// noteSize is how long the note is that data begins with; 0: none that ends,
// and is followed by an empty line.
func noteSize(data []byte) int64 {
	at := bytes.Index(data, []byte(sigLine))
	if at < 0 {
		return 0
	}
	end := bytes.Index(data[at+2:], []byte("\n\n"))
	if end < 0 {
		return 0
	}
	return int64(at + 2 + end + 1)
}

// create opens a file for appending. Who runs a command as root must not leave
// files that the recorder cannot open.
func create(root *os.Root, name string, flags int) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|flags, 0o600)
	if err != nil || os.Geteuid() != 0 {
		return f, err
	}
	var st unix.Stat_t
	d, err := root.Open(".")
	if err == nil {
		err = errors.Join(unix.Fstat(int(d.Fd()), &st), d.Close())
	}
	if err == nil && st.Uid != 0 {
		err = f.Chown(int(st.Uid), int(st.Gid))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
