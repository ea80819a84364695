package check

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"siprecd/store/catalog"
	"siprecd/store/disk"
	"siprecd/store/seal"
)

// stampFile says, after a clean stop, what every byte of the databases was.
const stampFile = "closed.json"

type stamp struct {
	At    time.Time         `json:"at"`
	Files map[string]string `json:"files"` // path below DIR → SHA-256
}

type signedStamp struct {
	Stamp     stamp  `json:"stamp"`
	Signature string `json:"signature"` // Ed25519 over the stamp's JSON, hex
}

// databases lists the database files of a folder.
func databases(root *os.Root) ([]string, error) {
	names := []string{catalog.File, catalog.KeysFile}
	entries, err := fs.ReadDir(root.FS(), "journal")
	for _, e := range entries {
		names = append(names, path.Join("journal", e.Name()))
	}
	return names, err
}

// WriteStamp says in the folder what every byte of the closed databases is.
func WriteStamp(root *os.Root, signer *seal.Signer) error {
	names, err := databases(root)
	if err != nil {
		return fmt.Errorf("write stamp: %w", err)
	}
	st := stamp{At: time.Now().UTC().Truncate(time.Second), Files: map[string]string{}}
	for _, name := range names {
		if st.Files[name], _, err = disk.HashFile(root, name); err != nil {
			return fmt.Errorf("write stamp: %w", err)
		}
	}
	text, err := st.sign(signer)
	if err != nil {
		return fmt.Errorf("write stamp: %w", err)
	}
	f := disk.Folder{Root: root, Path: "."}
	if _, err := f.Put(stampFile, text); err != nil {
		return err
	}
	return f.Sync()
}

func (st stamp) sign(signer *seal.Signer) ([]byte, error) {
	body, err := json.Marshal(st)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(signedStamp{st, hex.EncodeToString(signer.Sign(body))})
	return append(text, '\n'), err
}

// RemoveStamp is done before the first write: the stamp is no longer true.
func RemoveStamp(root *os.Root) error {
	if err := disk.RemoveIfThere(root, stampFile); err != nil {
		return fmt.Errorf("remove stamp: %w", err)
	}
	return disk.SyncDir(root, ".")
}

// readStamp returns nil when there is none. The stamp must be exactly what
// sign makes: Ed25519 signatures are deterministic.
func readStamp(root *os.Root, signer *seal.Signer) (*stamp, error) {
	text, err := root.ReadFile(stampFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var signed signedStamp
	if err := json.Unmarshal(text, &signed); err != nil {
		return nil, fmt.Errorf("%w: %w", seal.ErrDamaged, err)
	}
	want, err := signed.Stamp.sign(signer)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(text, want) {
		return nil, fmt.Errorf("%w: the signature does not fit", seal.ErrDamaged)
	}
	return &signed.Stamp, nil
}
