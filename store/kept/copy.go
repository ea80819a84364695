package kept

import (
	"errors"
	"os"
)

// CopyOut writes a recording's files into dir, which must exist, and overwrites
// none: first those given whole, then what the manifest names, which read
// returns by its name and SHA-256.
func CopyOut(dir string, m *Manifest, whole map[string][]byte, read func(name, sum string) ([]byte, error)) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	for name, data := range whole {
		err = errors.Join(err, putNew(root, name, data))
	}
	files := []ManifestFileInfo{m.Details}
	for _, g := range m.Segments {
		files = append(files, ManifestFileInfo{File: g.File, SHA256: g.SHA256})
	}
	for _, f := range files {
		if err != nil {
			break
		}
		var data []byte
		if data, err = read(f.File, f.SHA256); err == nil {
			err = putNew(root, f.File, data)
		}
	}
	return errors.Join(err, root.Close())
}

func putNew(root *os.Root, name string, data []byte) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
