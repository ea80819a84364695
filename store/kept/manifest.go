// Package kept is what a finished recording consists of: the manifest and the
// segments, which are age files that hold Ogg Opus files. It does the
// arithmetic of cutting a call into segments and of joining them again, and
// knows neither catalogue nor folders.
package kept

import (
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path"
	"time"

	"siprecd/store/seal"
)

// ManifestSchema is the manifest's schema id.
const ManifestSchema = "siprecd/manifest/1"

// A recording's states, as the catalogue's rows say them.
const (
	Live     = "live"
	Finished = "finished"
	Erased   = "erased" // a tombstone: nothing is left but that it was there
)

// Files of a finished recording, beside its segments.
const (
	ManifestFile  = "manifest.json"
	SignatureFile = "manifest.sig"
	DetailsFile   = "details.json.age"
	KeyboxFile    = "keybox.age" // in an export; in the store it is in keys.db
)

// Manifest says what a finished recording consists of. It holds no personal
// data. The signature (manifest.sig) is Ed25519 over the file's bytes.
//
// The segments tile the call: each starts where the one before ends. Segment 0
// has the encoder's true pre-skip; each later one begins with the last
// PreRoll = 4 packets (80 ms) of the one before and has a pre-skip of 3,840
// samples (4 x 960), so a decoder has converged when its own audio begins.
type Manifest struct {
	Schema      string            `json:"schema"`
	ID          string            `json:"id"`
	Line        string            `json:"line"`
	Queue       string            `json:"queue,omitempty"`
	Started     time.Time         `json:"started"` // UTC, milliseconds
	Ended       time.Time         `json:"ended"`
	Duration    float64           `json:"duration_seconds"`
	Samples     int64             `json:"samples"` // at 48 kHz: the sum of the segments'
	Interrupted bool              `json:"interrupted"`
	Cause       string            `json:"cause"`
	Flags       []string          `json:"flags,omitempty"`
	Decision    json.RawMessage   `json:"decision,omitempty"`
	Channels    []ManifestChannel `json:"channels"`
	Codec       ManifestCodec     `json:"codec"`
	Segments    []ManifestSegment `json:"segments"`
	Gaps        []Gap             `json:"gaps,omitempty"`
	Quality     json.RawMessage   `json:"quality,omitempty"`
	Keybox      string            `json:"keybox_sha256"`
	Details     ManifestFileInfo  `json:"details"`
	SignedBy    string            `json:"signed_by"` // key id; see seal.KeyID
}

// ManifestChannel is one channel and whom it carries.
type ManifestChannel struct {
	Index int    `json:"index"`
	Name  string `json:"name"` // left, right, mono
	Role  string `json:"role"` // caller, line, all
}

// ManifestCodec is how the audio is coded.
type ManifestCodec struct {
	Name    string `json:"name"`              // opus
	Rate    int    `json:"rate"`              // encoder's input rate, Hz
	Bitrate int    `json:"bitrate,omitempty"` // bit/s asked of the encoder
	PreSkip int    `json:"pre_skip"`          // samples at 48 kHz, of segment 0
}

// ManifestSegment is one segment file: an age file that holds an Ogg Opus file.
type ManifestSegment struct {
	File    string  `json:"file"`
	Seq     int     `json:"seq"`
	Start   float64 `json:"start_seconds"`
	Samples int64   `json:"samples"` // that play, at 48 kHz
	Bytes   int64   `json:"bytes"`
	SHA256  string  `json:"sha256"`
}

// ManifestFileInfo is one other file.
type ManifestFileInfo struct {
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Channels describes n channels, 1 or 2.
func Channels(n int) []ManifestChannel {
	if n == 1 {
		return []ManifestChannel{{0, "mono", "all"}}
	}
	return []ManifestChannel{{0, "left", "caller"}, {1, "right", "line"}}
}

// Gap is a stretch without received audio, in seconds from the start.
type Gap struct {
	Channel string  `json:"channel"`
	From    float64 `json:"from"`
	To      float64 `json:"to"`
	Reason  string  `json:"reason"`
	Packets int     `json:"packets,omitempty"`
}

// Seconds turns samples at 48 kHz into seconds.
func Seconds(samples int64) float64 { return float64(samples) / 48000 }

// Valid returns the manifest in a recording's folder, or nil when there is none
// that is whole, signed by the owner of pub, and the recording's own.
func Valid(root *os.Root, folder, id string, pub ed25519.PublicKey) *Manifest {
	text, err := root.ReadFile(path.Join(folder, ManifestFile))
	if err != nil {
		return nil
	}
	sig, err := root.ReadFile(path.Join(folder, SignatureFile))
	if err != nil || !seal.Verify(pub, text, sig) {
		return nil
	}
	m := new(Manifest)
	if json.Unmarshal(text, m) != nil || m.ID != id {
		return nil
	}
	return m
}
