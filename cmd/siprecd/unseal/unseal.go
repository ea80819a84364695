// Package unseal opens a sealed export: a keybox and segments, each an age file
// with an Ogg Opus file in it. It needs no recordings folder, so it works on
// any machine.
//
//	keybox.age ──a recipient's identity──► the recording's own identity
//	000000.opus.age ──own identity──► segment 0  [pre-skip|p0 p1 … pn]
//	000001.opus.age ────────────────► segment 1        [pn-3 … pn|pn+1 …]
//	                                  joined     [pre-skip|p0 p1 … pn pn+1 …]
//
// A segment after the first begins with packets of the one before, which its
// pre-skip tells a player to drop: joined, they are left out, and the file is
// packet for packet what the encoder made.
//
// Promises: segments of another recording, out of order, or with one missing
// between them are refused where that can be seen; with a manifest every file
// is checked against it. Caveat: without a manifest nobody can see that the
// last segment is missing.
package unseal

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
	"strings"

	"filippo.io/age"

	"siprecd/media/ogg"
	"siprecd/store"
	"siprecd/store/seal"
)

// ErrOrder means that the segments are not named all and in their order.
var ErrOrder = errors.New("name all segments in their order")

// Parcel is what was handed over.
type Parcel struct {
	Segments []string // paths, in order

	keybox []byte
	sums   map[string]string // path → SHA-256 that the manifest names; empty without a manifest
}

// Segments makes a parcel of single files. It returns ErrOrder (wrapped) when
// their names show a gap.
func Segments(keybox string, names []string) (*Parcel, error) {
	box, err := os.ReadFile(keybox)
	if err != nil {
		return nil, fmt.Errorf("read keybox: %w", err)
	}
	return &Parcel{Segments: names, keybox: box}, consecutive(names)
}

// Folder reads a sealed export by its manifest. keybox is its keybox, "" for
// the one in the folder; signedBy is the file with the public key of the
// recorder that must have signed the manifest, "" to trust it.
func Folder(dir, keybox, signedBy string) (*Parcel, error) {
	text, err := os.ReadFile(filepath.Join(dir, store.ManifestFile))
	if err != nil {
		return nil, fmt.Errorf("not a sealed export: %w", err)
	}
	if err := checkSignature(dir, text, signedBy); err != nil {
		return nil, err
	}
	var m store.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("read %s: %w", store.ManifestFile, err)
	}
	if keybox == "" {
		keybox = filepath.Join(dir, store.KeyboxFile)
	}
	box, err := os.ReadFile(keybox)
	if err != nil {
		return nil, fmt.Errorf("read keybox: %w", err)
	}
	if sum(box) != m.Keybox {
		return nil, fmt.Errorf("%s is not the keybox that the manifest names", keybox)
	}
	p := &Parcel{keybox: box, sums: map[string]string{}}
	for _, s := range m.Segments {
		name := filepath.Join(dir, filepath.Base(s.File))
		p.Segments = append(p.Segments, name)
		p.sums[name] = s.SHA256
	}
	if len(p.Segments) == 0 {
		return nil, errors.New("the recording has no audio: its manifest names no segment")
	}
	return p, nil
}

func checkSignature(dir string, manifest []byte, signedBy string) error {
	if signedBy == "" {
		return nil
	}
	text, err := os.ReadFile(signedBy)
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
		return fmt.Errorf("%s: the signature is not of %s", store.ManifestFile, signedBy)
	}
	return nil
}

// Unlock opens the keybox with any of the holders' identities and returns the
// recording's own.
func (p *Parcel) Unlock(holders ...age.Identity) (age.Identity, error) {
	return seal.OpenKeybox(p.keybox, holders...)
}

// Join writes the segments as one Opus file and says how many seconds play.
func (p *Parcel) Join(w io.Writer, own age.Identity) (seconds float64, err error) {
	var j joiner
	for _, name := range p.Segments {
		if err := j.add(w, p, name, own); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := j.close(); err != nil {
		return 0, err
	}
	return float64(j.total) / 48000, nil
}

// open decrypts one segment, after checking it against the manifest.
func (p *Parcel) open(name string, own age.Identity) (io.Reader, error) {
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

// joiner makes one Opus file of a recording's segments.
type joiner struct {
	out       *ogg.Writer
	head      ogg.Head
	recording string
	total     int64 // samples at 48 kHz
}

// add appends one segment.
func (j *joiner) add(w io.Writer, p *Parcel, name string, own age.Identity) error {
	plain, err := p.open(name, own)
	if err != nil {
		return err
	}
	in, err := ogg.NewReader(plain)
	if err != nil {
		return err
	}
	skip := int64(0)
	if j.out == nil {
		err = j.begin(w, in)
	} else {
		skip, err = j.follows(in)
	}
	if err != nil {
		return err
	}
	for {
		packet, err := in.Next()
		if errors.Is(err, io.EOF) {
			j.total += in.Total()
			return nil
		}
		if err != nil {
			return err
		}
		if packet.End <= skip {
			continue
		}
		if err := j.out.WritePacket(packet.Data, packet.Samples); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
}

func (j *joiner) begin(w io.Writer, in *ogg.Reader) (err error) {
	j.head, j.recording = in.Head(), recordingOf(in.Tags())
	j.out, err = ogg.NewWriter(w, j.head, 1, in.Tags())
	return err
}

// follows says how much of a later segment is a repetition, in samples.
func (j *joiner) follows(in *ogg.Reader) (skip int64, err error) {
	const frame = 960 // 20 ms
	head := in.Head()
	switch {
	case recordingOf(in.Tags()) != j.recording:
		return 0, errors.New("belongs to another recording")
	case head.Channels != j.head.Channels:
		return 0, errors.New("has another number of channels")
	case head.PreSkip == 0 || head.PreSkip%frame != 0:
		return 0, errors.New("is the first segment of a recording: name it first")
	}
	return int64(head.PreSkip), nil
}

func (j *joiner) close() error {
	if err := j.out.Close(j.total); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func recordingOf(tags ogg.Tags) string {
	for _, c := range tags.Comments {
		if id, ok := strings.CutPrefix(c, "RECORDING_ID="); ok {
			return id
		}
	}
	return ""
}

// consecutive refuses a list of segments that leaves one out: the audio would
// be shorter than the call, and nobody would see it.
func consecutive(names []string) error {
	last := -1
	for _, name := range names {
		var seq int
		base := filepath.Base(name)
		if n, err := fmt.Sscanf(base, "%06d.opus.age", &seq); err != nil || n != 1 {
			return nil // renamed: no order to see
		}
		if last >= 0 && seq != last+1 {
			return fmt.Errorf("%s does not follow %06d: %w", base, last, ErrOrder)
		}
		last = seq
	}
	return nil
}
