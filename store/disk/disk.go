// Package disk holds how the store treats files and names: ids and the folders
// that follow from them, files written durably, and the lock that lets one
// process at a time record into a folder.
//
// A file that Put returned for has its bytes synced and read back; its name is
// durable once Sync of the folder returned. All paths lie below an os.Root, so
// that no name can lead out of the store's folder.
package disk

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ID is a recording's id, a UUIDv7.
type ID = [16]byte

// NewID makes a UUIDv7 (RFC 9562 section 5.7) whose time is t, so that the
// order of ids is the order of starts.
func NewID(t time.Time) (id ID) {
	_, _ = rand.Read(id[:]) // never fails since Go 1.24
	floor := Floor(t)
	copy(id[:], floor[:6])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Floor is the lowest id of an instant.
func Floor(t time.Time) (b ID) {
	ms := max(0, t.UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (8 * (5 - i)))
	}
	return b
}

// Name writes an id in the usual form, with dashes.
func Name(id ID) string {
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// FolderOf is the recording's folder below the store's: by the UTC day of its
// id's time, so that it can be found from the id alone.
func FolderOf(id ID) string {
	return path.Join("recordings", Time(id).Format("2006/01/02"), Name(id))
}

// Time is the instant of an id, UTC, milliseconds.
func Time(id ID) time.Time {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms).UTC()
}

// Folder writes files of one recording durably.
type Folder struct {
	Root *os.Root
	Path string
}

// Tree makes folders below a root. It remembers the parents that it has made
// durable, so that a new folder costs one sync and not one for each level.
type Tree struct {
	root *os.Root

	mu      sync.Mutex
	durable map[string]bool
}

// NewTree returns a tree below root.
func NewTree(root *os.Root) *Tree { return &Tree{root: root, durable: map[string]bool{}} }

// Make makes a folder, which may exist, and makes its name durable.
func (t *Tree) Make(name string) (Folder, error) {
	f := Folder{t.root, name}
	parent := path.Dir(name)
	if err := t.parent(parent); err != nil {
		return f, err
	}
	err := t.root.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) {
		var info fs.FileInfo
		if info, err = t.root.Stat(name); err == nil && !info.IsDir() {
			err = fmt.Errorf("%s cannot be written: it is not a folder", name)
		}
	}
	if err != nil {
		t.forget(parent)
		return f, fmt.Errorf("make folder: %w", err)
	}
	return f, SyncDir(t.root, parent)
}

// Prepare makes folders and proves that each can be written.
func (t *Tree) Prepare(names ...string) error {
	for _, name := range names {
		if _, err := t.Make(name); err != nil {
			return err
		}
		if err := Probe(t.root, name); err != nil {
			return err
		}
	}
	return nil
}

// forget has a parent made anew when it is next needed: it may be gone.
func (t *Tree) forget(parent string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.durable, parent)
}

// parent makes a parent durable once. Others wait meanwhile: nobody may build
// on a folder whose own name is not durable.
func (t *Tree) parent(name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.durable[name] {
		return nil
	}
	if err := t.root.MkdirAll(name, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	for dir := name; dir != "."; {
		dir = path.Dir(dir)
		if err := SyncDir(t.root, dir); err != nil {
			return err
		}
	}
	t.durable[name] = true
	return nil
}

// Put writes a file: temp, fsync, read back and compare, rename. The name is
// durable after Sync. It returns the SHA-256 in hex.
func (f Folder) Put(name string, data []byte) (sum string, err error) {
	want := sha256.Sum256(data)
	temp := path.Join(f.Path, name+".tmp")
	if err := f.write(temp, data); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	have, err := f.Root.ReadFile(temp)
	if err != nil {
		return "", fmt.Errorf("read back %s: %w", name, err)
	}
	if !bytes.Equal(have, data) {
		return "", fmt.Errorf("read back %s: the disk returned other bytes", name)
	}
	if err := f.Root.Rename(temp, path.Join(f.Path, name)); err != nil {
		return "", fmt.Errorf("rename %s: %w", name, err)
	}
	return hex.EncodeToString(want[:]), nil
}

func (f Folder) write(temp string, data []byte) error {
	w, err := f.Root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	if err == nil {
		err = w.Sync()
	}
	err = errors.Join(err, w.Close())
	if err != nil { // give the space back at once: the disk may be full
		err = errors.Join(err, f.Root.Remove(temp))
	}
	return err
}

// Sync makes the names in the folder durable.
func (f Folder) Sync() error { return SyncDir(f.Root, f.Path) }

// SyncDir makes the names in a folder durable.
func SyncDir(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// HashFile returns a file's SHA-256 in hex and its size.
func HashFile(root *os.Root, name string) (sum string, size int64, err error) {
	f, err := root.Open(name)
	if err != nil {
		return "", 0, err
	}
	h := sha256.New()
	size, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), size, errors.Join(err, f.Close())
}

// Hash returns the SHA-256 in hex.
func Hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// RemoveIfThere removes a file; that it does not exist is no error.
func RemoveIfThere(root *os.Root, name string) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Probe writes a small file in a folder, syncs it and takes it away again, to
// learn at start and not at the first call that it can be written. A full disk
// is no error here: it is told elsewhere and may pass.
func Probe(root *os.Root, dir string) error {
	const name = "write.probe"
	f := Folder{Root: root, Path: dir}
	_, err := f.Put(name, []byte("can be written\n"))
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return nil
	}
	if err == nil {
		err = errors.Join(root.Remove(path.Join(dir, name)), f.Sync())
	}
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", dir, err)
	}
	return nil
}

// ParseName reads an id in the usual form.
func ParseName(text string) (id ID, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%q is not a recording's id", text)
	}
	return ID(b), nil
}
