package kept

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"

	"filippo.io/age"

	"siprecd/store/detail"
	"siprecd/store/disk"
	"siprecd/store/seal"
)

// Sealed is a finished recording as it is kept: sealed. Whoever holds the
// identity of a recipient can open it; the store cannot. It stays valid until
// the store is closed or the recording is erased.
type Sealed struct {
	ID            string
	Manifest      Manifest
	ManifestBytes []byte // as signed
	Signature     []byte // Ed25519 over ManifestBytes
	Keybox        []byte // age file
	folder        disk.Folder

	// Leaving is asked before the first byte of a copy leaves, and its error
	// stops it; failed is why there will be none. Nil: nobody wants to know.
	Leaving func(how string, failed error) error
}

// leave tells Leaving.
func (x *Sealed) leave(how string, failed error) error {
	if x.Leaving == nil {
		return failed
	}
	return x.Leaving(how, failed)
}

// Load reads a finished recording's manifest below root and checks that the
// owner of pub has signed it; its files are read when they are asked for.
func Load(root *os.Root, id disk.ID, keybox []byte, pub ed25519.PublicKey) (*Sealed, error) {
	x := &Sealed{ID: disk.Name(id), Keybox: keybox, folder: disk.Folder{Root: root, Path: disk.FolderOf(id)}}
	var err error
	if x.ManifestBytes, err = root.ReadFile(path.Join(x.folder.Path, ManifestFile)); err != nil {
		return nil, err
	}
	if x.Signature, err = root.ReadFile(path.Join(x.folder.Path, SignatureFile)); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(x.ManifestBytes, &x.Manifest); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", ManifestFile, seal.ErrDamaged, err)
	}
	if !seal.Verify(pub, x.ManifestBytes, x.Signature) {
		return nil, fmt.Errorf("%s: %w: the signature does not fit", ManifestFile, seal.ErrDamaged)
	}
	return x, nil
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
		return nil, fmt.Errorf("read %s: %w: not the bytes that the manifest names", name, seal.ErrDamaged)
	}
	return data, nil
}

// Identity opens the keybox with any of the holders' identities and returns
// the recording's own identity, which opens its segments and details. That none
// of them fits is told to Leaving.
func (x *Sealed) Identity(holders ...age.Identity) (age.Identity, error) {
	id, err := seal.OpenKeybox(x.Keybox, holders...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", x.ID, x.leave("", err))
	}
	return id, nil
}

// Details opens the recording's details, metadata documents included.
func (x *Sealed) Details(holders ...age.Identity) (d detail.Details, err error) {
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
	if err == nil {
		err = x.leave("opened", nil)
	}
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	err = Join(w, &x.Manifest, own, func(g ManifestSegment) ([]byte, error) { return x.read(g.File, g.SHA256) })
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
	if err := x.leave("sealed", nil); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	whole := map[string][]byte{KeyboxFile: x.Keybox, ManifestFile: x.ManifestBytes, SignatureFile: x.Signature}
	if err := CopyOut(dir, &x.Manifest, whole, x.read); err != nil {
		return fmt.Errorf("export %s: %w", x.ID, err)
	}
	return nil
}
