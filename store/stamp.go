package store

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"siprecd/store/catalog"
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
func (s *Store) databases() ([]string, error) {
	names := []string{catalog.File, catalog.KeysFile}
	entries, err := fs.ReadDir(s.root.FS(), "journal")
	for _, e := range entries {
		names = append(names, path.Join("journal", e.Name()))
	}
	return names, err
}

func (s *Store) writeStamp() error {
	names, err := s.databases()
	if err != nil {
		return fmt.Errorf("write stamp: %w", err)
	}
	st := stamp{At: time.Now().UTC().Truncate(time.Second), Files: map[string]string{}}
	for _, name := range names {
		if st.Files[name], _, err = hashFile(s.root, name); err != nil {
			return fmt.Errorf("write stamp: %w", err)
		}
	}
	text, err := st.sign(s.signer)
	if err != nil {
		return fmt.Errorf("write stamp: %w", err)
	}
	f := folder{s.root, "."}
	if _, err := f.put(stampFile, text); err != nil {
		return err
	}
	return f.sync()
}

func (st stamp) sign(signer *seal.Signer) ([]byte, error) {
	body, err := json.Marshal(st)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(signedStamp{st, hex.EncodeToString(signer.Sign(body))})
	return append(text, '\n'), err
}

// removeStamp is done before the first write: the stamp is no longer true.
func (s *Store) removeStamp() error {
	if err := removeIfThere(s.root, stampFile); err != nil {
		return fmt.Errorf("remove stamp: %w", err)
	}
	return syncDir(s.root, ".")
}

// readStamp returns nil when there is none. The stamp must be exactly what
// sign makes: Ed25519 signatures are deterministic.
func (s *Store) readStamp() (*stamp, error) {
	text, err := s.root.ReadFile(stampFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var signed signedStamp
	if err := json.Unmarshal(text, &signed); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	want, err := signed.Stamp.sign(s.signer)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(text, want) {
		return nil, fmt.Errorf("%w: the signature does not fit", ErrDamaged)
	}
	return &signed.Stamp, nil
}
