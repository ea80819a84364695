package recorder

import "time"

// Status is the one honest answer to "is everything that should be recorded
// being recorded?", with the facts behind it. It holds no personal data:
// calls are named by their recording id and their line.
type Status struct {
	OK         bool              `json:"ok"`
	Sentence   string            `json:"sentence"`
	At         time.Time         `json:"at"`
	Started    time.Time         `json:"started"`
	Version    string            `json:"version"`
	Listen     []string          `json:"listen"`    // where recording clients reach us
	Calls      []LiveCall        `json:"calls"`     // recorded calls, oldest first
	Discarded  int               `json:"discarded"` // live sessions that are answered but not recorded
	Recordings Totals            `json:"recordings"`
	Journal    Journal           `json:"journal"`
	Disk       Disk              `json:"disk"`
	Decisions  map[string]uint64 `json:"decisions"` // by reason, since start
	Refusals   map[string]uint64 `json:"refusals"`  // SIP requests refused or dropped, by reason, since start
	Checks     []Check           `json:"checks"`
	Problems   []string          `json:"problems,omitempty"` // what is wrong now, a sentence each
}

// LiveCall is one call being recorded.
type LiveCall struct {
	ID      string    `json:"id"` // recording id
	Line    string    `json:"line"`
	Queue   string    `json:"queue,omitempty"`
	Since   time.Time `json:"since"`
	Seconds float64   `json:"seconds"`
	Flags   []string  `json:"flags,omitempty"`
	Legs    []Leg     `json:"legs"`
}

// Leg is one stream of a live call.
type Leg struct {
	Label         string  `json:"label"`
	Channel       string  `json:"channel"` // left, right, mixed
	Port          int     `json:"port"`
	Packets       uint64  `json:"packets"`
	Lost          uint64  `json:"lost"`
	Late          uint64  `json:"late"`
	Duplicate     uint64  `json:"duplicate"`
	WrongSource   uint64  `json:"wrong_source"`
	NotAgreed     uint64  `json:"not_agreed"`
	Stray         uint64  `json:"stray"` // packets of a second sender on the stream, not played
	LevelDB       float64 `json:"level_dbov"`
	SilentSeconds float64 `json:"silent_seconds"`
	NoMedia       bool    `json:"no_media"` // nothing arrived although nothing says hold
	Hold          bool    `json:"hold"`
}

// Totals counts recordings.
type Totals struct {
	Live        int    `json:"live"`
	Finished    uint64 `json:"finished"`    // since start
	Interrupted uint64 `json:"interrupted"` // finished by recovery at this start
	Stored      uint64 `json:"stored"`      // in the catalogue
}

// Journal is the state of the journal's group commit.
type Journal struct {
	AgeSeconds   float64 `json:"age_seconds"` // age of the oldest audio that is not yet durable
	PendingBytes int64   `json:"pending_bytes"`
	CommitMS     float64 `json:"commit_ms"`      // last group commit
	Missed       uint64  `json:"missed_packets"` // of live recordings: lost, since the disk was away too long
	Error        string  `json:"error,omitempty"`
}

// Disk is the file system of the store.
type Disk struct {
	FreeBytes  uint64 `json:"free_bytes"`
	TotalBytes uint64 `json:"total_bytes"`
}

// Check is one condition of readiness: /readyz and the answer to OPTIONS come
// from the same list.
type Check struct {
	Name  string    `json:"name"` // serving, store, journal, disk, media, ports
	OK    bool      `json:"ok"`
	Since time.Time `json:"since"`
	Error string    `json:"error,omitempty"`
}
