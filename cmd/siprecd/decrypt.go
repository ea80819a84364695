package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"filippo.io/age"

	"siprecd/cmd/siprecd/app"
	"siprecd/store"
	"siprecd/store/seal"
)

// decryptCmd opens a sealed export anywhere: it needs no data folder and no
// configuration.
type decryptCmd struct {
	Sealed   []string `arg:"" type:"path" help:"A folder made by siprecd export --sealed, or the segments of one recording in their order."`
	Identity string   `short:"i" required:"" placeholder:"FILE" type:"path" help:"Identity of a recipient: console.key, or the escrow key in a file."`
	Keybox   string   `placeholder:"FILE" type:"path" help:"The recording's keybox; in a folder it is found."`
	Output   string   `short:"o" required:"" placeholder:"FILE" help:"The Opus file to write; - for stdout."`
	SignedBy string   `placeholder:"FILE" type:"path" help:"The recorder's keys/manifest.pub: refuse a folder whose manifest it did not sign."`
	Force    bool     `help:"Replace the file if it exists."`
}

// Run joins the segments to one Opus file.
func (c *decryptCmd) Run(e *env) error {
	p, err := c.parcel()
	if err != nil {
		return err
	}
	holders, err := app.ReadIdentities(c.Identity)
	if err != nil {
		return err
	}
	own, err := seal.OpenKeybox(p.keybox, holders...)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Identity, err)
	}
	var j joiner
	err = e.writeOutput(c.Output, c.Force, func(w io.Writer) error {
		for _, name := range p.segments {
			if err := j.add(w, p, name, own); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return j.close()
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stderr, "wrote %s: %s, segments: %d\n", outputName(c.Output), clockLength(j.seconds()), len(p.segments))
	return nil
}

// parcel is what was handed over: a keybox and sealed segments.
type parcel struct {
	keybox   []byte
	segments []string          // paths
	sums     map[string]string // path → SHA-256 that the manifest names; empty without a manifest
}

func (c *decryptCmd) parcel() (*parcel, error) {
	info, err := os.Stat(c.Sealed[0])
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	if info.IsDir() {
		if len(c.Sealed) > 1 {
			return nil, usagef("give one folder, or segments")
		}
		return c.folder(c.Sealed[0])
	}
	if c.Keybox == "" {
		return nil, usagef("segments need --keybox (keybox.age of the same recording)")
	}
	if c.SignedBy != "" {
		return nil, usagef("--signed-by needs the folder with the manifest")
	}
	box, err := os.ReadFile(c.Keybox)
	if err != nil {
		return nil, fmt.Errorf("read keybox: %w", err)
	}
	return &parcel{keybox: box, segments: c.Sealed}, consecutive(c.Sealed)
}

// folder reads a sealed export by its manifest.
func (c *decryptCmd) folder(dir string) (*parcel, error) {
	text, err := os.ReadFile(filepath.Join(dir, store.ManifestFile))
	if err != nil {
		return nil, fmt.Errorf("not a sealed export: %w", err)
	}
	if err := c.checkSignature(dir, text); err != nil {
		return nil, err
	}
	var m store.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("read %s: %w", store.ManifestFile, err)
	}
	if c.Keybox == "" {
		c.Keybox = filepath.Join(dir, store.KeyboxFile)
	}
	box, err := os.ReadFile(c.Keybox)
	if err != nil {
		return nil, fmt.Errorf("read keybox: %w", err)
	}
	if sum(box) != m.Keybox {
		return nil, fmt.Errorf("%s is not the keybox that the manifest names", c.Keybox)
	}
	p := &parcel{keybox: box, sums: map[string]string{}}
	for _, s := range m.Segments {
		name := filepath.Join(dir, filepath.Base(s.File))
		p.segments = append(p.segments, name)
		p.sums[name] = s.SHA256
	}
	if len(p.segments) == 0 {
		return nil, errors.New("the recording has no audio: its manifest names no segment")
	}
	return p, nil
}

func (c *decryptCmd) checkSignature(dir string, manifest []byte) error {
	if c.SignedBy == "" {
		return nil
	}
	text, err := os.ReadFile(c.SignedBy)
	if err != nil {
		return fmt.Errorf("read the recorder's public key: %w", err)
	}
	key, err := seal.ParsePublic(text)
	if err != nil {
		return fmt.Errorf("read the recorder's public key: %w", err)
	}
	sig, err := os.ReadFile(filepath.Join(dir, store.SignatureFile))
	if err != nil {
		return fmt.Errorf("read signature: %w", err)
	}
	if !seal.Verify(key, manifest, sig) {
		return fmt.Errorf("%s: the signature is not of %s", store.ManifestFile, c.SignedBy)
	}
	return nil
}

// open decrypts one segment, after checking it against the manifest.
func (p *parcel) open(name string, own age.Identity) (io.Reader, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if want, ok := p.sums[name]; ok && sum(data) != want {
		return nil, errors.New("damaged: not the bytes that the manifest names")
	}
	return age.Decrypt(bytes.NewReader(data), own)
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}
