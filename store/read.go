package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"

	"filippo.io/age"

	"siprecd/store/disk"
	"siprecd/store/kept"
	"siprecd/store/seal"
)

// Sealed is a finished recording as it is kept: sealed. Whoever holds the
// identity of a recipient can open it; the store cannot. It stays valid until
// the store is closed.
type Sealed struct {
	ID            string
	Manifest      Manifest
	ManifestBytes []byte // as signed
	Signature     []byte // Ed25519 over ManifestBytes
	Keybox        []byte // age file
	folder        disk.Folder
}

// Read hands out a finished recording. It refuses an access that does not say
// who and why (ErrAccess), and a recording that is still live (ErrLive). id may
// be shortened as for Get.
func (s *Store) Read(ctx context.Context, a Access, id string) (*Sealed, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if err := a.check(); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	row, full, err := s.get(id)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", id, err)
	}
	if row.State != Finished {
		return nil, fmt.Errorf("read %s: %w", row.ID, ErrLive)
	}
	s.log.Info("recording read", "id", row.ID)
	x := &Sealed{ID: row.ID, folder: disk.Folder{Root: s.root, Path: disk.FolderOf(full)}}
	if x.Keybox, err = s.shelf.Keybox(full); err != nil {
		return nil, fmt.Errorf("read %s: %w", row.ID, err)
	}
	if err := x.load(); err != nil {
		return nil, fmt.Errorf("read %s: %w", row.ID, err)
	}
	if !seal.Verify(s.signer.Public(), x.ManifestBytes, x.Signature) {
		return nil, fmt.Errorf("read %s: %s: %w: the signature does not fit", row.ID, ManifestFile, ErrDamaged)
	}
	return x, nil
}

// ErrDamaged is returned (wrapped) when kept bytes are not what was written.
var ErrDamaged = seal.ErrDamaged

func (x *Sealed) load() (err error) {
	if x.ManifestBytes, err = x.folder.Root.ReadFile(path.Join(x.folder.Path, ManifestFile)); err != nil {
		return err
	}
	if x.Signature, err = x.folder.Root.ReadFile(path.Join(x.folder.Path, SignatureFile)); err != nil {
		return err
	}
	if err := json.Unmarshal(x.ManifestBytes, &x.Manifest); err != nil {
		return fmt.Errorf("%s: %w: %w", ManifestFile, ErrDamaged, err)
	}
	return nil
}

// Open opens one of the recording's sealed files by the name in the manifest.
func (x *Sealed) Open(name string) (io.ReadCloser, error) {
	f, err := x.folder.Root.Open(path.Join(x.folder.Path, path.Base(name)))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return f, nil
}

// read returns a sealed file whole, after checking its hash.
func (x *Sealed) read(name, sum string) ([]byte, error) {
	data, err := x.folder.Root.ReadFile(path.Join(x.folder.Path, path.Base(name)))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if disk.Hash(data) != sum {
		return nil, fmt.Errorf("read %s: %w: not the bytes that the manifest names", name, ErrDamaged)
	}
	return data, nil
}

// Identity opens the keybox with any of the holders' identities and returns
// the recording's own identity, which opens its segments and details.
func (x *Sealed) Identity(holders ...age.Identity) (age.Identity, error) {
	id, err := seal.OpenKeybox(x.Keybox, holders...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", x.ID, err)
	}
	return id, nil
}

// Details opens the recording's details, metadata documents included.
func (x *Sealed) Details(holders ...age.Identity) (d Details, err error) {
	own, err := x.Identity(holders...)
	if err != nil {
		return d, err
	}
	data, err := x.read(x.Manifest.Details.File, x.Manifest.Details.SHA256)
	if err != nil {
		return d, err
	}
	r, err := age.Decrypt(bytes.NewReader(data), own)
	if err != nil {
		return d, fmt.Errorf("open %s: %w", DetailsFile, err)
	}
	if err := json.NewDecoder(r).Decode(&d); err != nil {
		return d, fmt.Errorf("read %s: %w", DetailsFile, err)
	}
	return d, nil
}

// Export writes the whole call as one Ogg Opus file: the packets as they were
// encoded, without the segments' pre-rolls, with the true pre-skip and end
// trim, and tags without names or numbers.
func Export(w io.Writer, x *Sealed, holders ...age.Identity) error {
	own, err := x.Identity(holders...)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	err = kept.Join(w, &x.Manifest, own, func(g ManifestSegment) ([]byte, error) { return x.read(g.File, g.SHA256) })
	if err != nil {
		return fmt.Errorf("export %s: %w", x.ID, err)
	}
	return nil
}

// ExportSealed copies the recording into dir as it is, still sealed, with its
// keybox. Stock age opens it:
//
//	age -d -i console.key keybox.age > recording.key
//	age -d -i recording.key 000000.opus.age > 000000.opus
//
// dir must exist; files in it are not overwritten.
func ExportSealed(dir string, x *Sealed) error {
	whole := map[string][]byte{KeyboxFile: x.Keybox, ManifestFile: x.ManifestBytes, SignatureFile: x.Signature}
	if err := kept.CopyOut(dir, &x.Manifest, whole, x.read); err != nil {
		return fmt.Errorf("export %s: %w", x.ID, err)
	}
	return nil
}
