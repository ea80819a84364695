// Package store keeps recordings: it makes them durable before the call is
// answered, takes their audio without ever blocking, seals it in segments,
// finishes them with a signed manifest, and finds and hands them out again.
//
//	Begin ──────────► keys.db (keybox) + catalog.db (sealed row): both synced
//	WritePackets ───► memory ──80 ms───► journal/journal-<n>.db
//	                                        │ cut (60 s), Finish, or after a crash:
//	                                        ▼ always read back from the journal
//	                  recordings/YYYY/MM/DD/<id>/000000.opus.age …
//	Finish ─────────► details.json.age, manifest.json, manifest.sig ──► row: finished
//	List, Get ◄───── catalog.db          Read ◄── files + keybox, by who and why
//
//	DIR/keys/                 see store/seal
//	DIR/keys.db, catalog.db   see store/catalog
//	DIR/journal/              see store/journal
//	DIR/recordings/           finished segments, one folder a recording
//	DIR/audit/                see store/audit: every access is there before it is given
//	DIR/lock                  held by the process that writes; its pid while it does
//	DIR/store.sock            where that process answers readers
//	DIR/closed.json           after a clean stop: what the databases' bytes are
//
// Promises: when Begin returns nil the recording is durable and will be listed
// whatever happens. What WritePackets took is durable a tick later; a crash
// loses at most that. Segment files are written by temp, fsync, read back,
// rename, fsync of the folder, and only then does the journal let go. When
// Finish returns nil all of it is durable. The recorder's own keys open no
// finished recording; frames of it may stand in the journal for up to two
// minutes after its end while other calls keep that journal file alive.
//
// Open makes new databases only in a folder where nothing was recorded yet, and
// recovery takes nothing away that speaks of a recording: a manifest that is
// signed is believed and never written again, a keybox goes only when nothing
// was ever recorded for it, frames that open are sealed before they go.
//
// When the disk fails or is full, live calls go on from memory (60 s a call,
// then packets are counted as a gap), Begin refuses, and all resumes by itself.
// Nothing is ever deleted to make room.
//
// Caveats: after a crash the gaps and counters that only the media engine knew
// are not in the manifest. A byte flipped in unused space of a database is
// found only after a clean stop; everywhere else it is found always.
package store

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"siprecd/store/check"
	"siprecd/store/detail"
	"siprecd/store/kept"
	"siprecd/store/trail"
)

// State of a recording.
type State string

// A recording is live until its last segment and its manifest are durable. Of
// an erased one nothing is left but that it was there.
const (
	Live     State = kept.Live
	Finished State = kept.Finished
	Erased   State = kept.Erased
)

// Admission is what is known when a recording begins.
type Admission struct {
	Line     string          // name of the listed line
	Queue    string          // sub-queue, "" when none
	Started  time.Time       // wall clock with monotonic reading
	Channels int             // 2 or 1
	Rate     int             // encoder input rate, Hz, for the Opus header
	PreSkip  int             // samples at 48 kHz
	Bitrate  int             // bit/s asked of the encoder, for the manifest; 0: not said
	Decision json.RawMessage // the policy's decision, as recorded in the manifest: holds no personal data
	Details  Details
}

// The personal part of a recording is described in package detail; the names
// are at home here too.
type (
	// Details are the personal part of a recording.
	Details = detail.Details
	// Client is what a recording client's TLS handshake told of it.
	Client = detail.Client
	// Party is one participant and the channel that it is heard in.
	Party = detail.Party
	// Link names another recording that belongs to the same call.
	Link = detail.Link
	// Event is one line of a recording's history.
	Event = detail.Event
	// Document is one metadata document as received.
	Document = detail.Document
)

// What a finished recording consists of is told in package kept; the names are
// at home here too.
type (
	// Gap is a stretch without received audio.
	Gap = kept.Gap
	// Manifest says what a finished recording consists of.
	Manifest = kept.Manifest
	// ManifestChannel is one channel and whom it carries.
	ManifestChannel = kept.ManifestChannel
	// ManifestSegment is one segment file.
	ManifestSegment = kept.ManifestSegment
	// ManifestFileInfo is one other file.
	ManifestFileInfo = kept.ManifestFileInfo
	// ManifestCodec is how the audio is coded.
	ManifestCodec = kept.ManifestCodec
	// Finding is one fault that Verify found.
	Finding = check.Finding
)

// Files of a finished recording, beside its segments.
const (
	ManifestFile  = kept.ManifestFile
	SignatureFile = kept.SignatureFile
	DetailsFile   = kept.DetailsFile
	KeyboxFile    = kept.KeyboxFile // in an export; in the store it is in keys.db
)

// Verify checks every byte of the folder that can be checked without a
// holder's identity and calls found for each fault; see check.Verify.
func Verify(ctx context.Context, dir string, log *slog.Logger, found func(Finding)) error {
	return check.Verify(ctx, dir, log, found)
}

// Closing is what is known when a recording ends.
type Closing struct {
	Ended   time.Time
	Samples int64    // length at 48 kHz, pre-skip not counted
	Cause   string   // bye, shutdown, ...
	Flags   []string // "no metadata", "bad metadata", "positional", ...
	Gaps    []Gap
	Quality json.RawMessage // per-stream counters; no personal data
	Details Details         // final; an empty history, empty documents or all empty: those gathered so far stay
}

// Row is one recording as the catalogue lists it.
type Row struct {
	ID          string    `json:"id"`
	State       State     `json:"state"`
	Interrupted bool      `json:"interrupted"`
	Line        string    `json:"line"`
	Queue       string    `json:"queue,omitempty"`
	Started     time.Time `json:"started"`
	Ended       time.Time `json:"ended,omitzero"`
	Duration    float64   `json:"duration_seconds"`
	Direction   string    `json:"direction,omitempty"`
	Caller      string    `json:"caller,omitempty"`
	Called      string    `json:"called,omitempty"`
	Agent       string    `json:"agent,omitempty"`
	Channels    int       `json:"channels"`
	Cause       string    `json:"cause,omitempty"`
	Flags       []string  `json:"flags,omitempty"`
	Segments    int       `json:"segments"`
	Bytes       int64     `json:"bytes"`
	Erased      time.Time `json:"erased,omitzero"`
}

// Query selects recordings; zero fields do not restrict, but erased ones come
// only when State asks for them. Newest first.
type Query struct {
	Line   string
	Number string // caller, called or agent, in any usual form
	Key    string // one of Details.Keys, as it stands there; not together with Number
	State  State
	From   time.Time // started at or after
	To     time.Time // started before
	Limit  int       // 0: no limit
}

// Access says who reads a recording and why; the store refuses an empty one.
type Access = trail.Access
