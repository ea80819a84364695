// Package facts is the recorder's account of itself as it goes out: the shape
// of /status, and the one sentence that the facts come down to.
//
//	recorder ─► Status: calls, legs, peers, checks, totals ─► Judge ─► problems, sentence
//
// Promises: the account holds no personal data; fields are added, never renamed,
// for others read them.
package facts

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
	Warnings   map[string]uint64 `json:"warnings"`  // what was odd about calls' media security, by kind, since start
	Checks     []Check           `json:"checks"`
	Peers      []Peer            `json:"peers"` // recording clients heard since start, by address
	Strangers  Strangers         `json:"strangers"`
	Problems   []string          `json:"problems,omitempty"` // what is wrong now, a sentence each

	Load  Load  `json:"load"`
	Audit Audit `json:"audit"`

	Alarms       []Alarm           `json:"alarms"`             // legs of live calls that are at fault, by call
	AlarmsRaised map[string]uint64 `json:"alarms_raised"`      // since start, by kind
	Faults       []Fault           `json:"faults"`             // of the machine and its surroundings; new calls are taken all the same
	Draining     *Draining         `json:"draining,omitempty"` // nil: it is not stopping
	Completeness []Day             `json:"completeness"`       // today and yesterday, newest first
}

// Audit is the log of what is done with recordings.
type Audit struct {
	Leaves     int64       `json:"leaves"`      // of the tree that is written to
	Waiting    int         `json:"waiting"`     // events not yet on disk
	Checkpoint string      `json:"checkpoint"`  // newest signed note: keep it elsewhere
	At         time.Time   `json:"at,omitzero"` // when it was signed
	Error      string      `json:"error,omitempty"`
	Sinks      []AuditSink `json:"sinks"` // where checkpoints go
}

// AuditSink is one place outside that checkpoints go to.
type AuditSink struct {
	Target string    `json:"target"`
	Sent   time.Time `json:"sent,omitzero"`   // the latest that arrived
	Error  string    `json:"error,omitempty"` // why they do not arrive now
}

// Load is how much there is to do, and what is done about too much of it.
type Load struct {
	Media      float64   `json:"media_busy"`     // share of its time that the busiest media worker works, 0 to 1
	Process    float64   `json:"process_busy"`   // share of the processors that the process uses, 0 to 1
	LateMS     float64   `json:"late_ms"`        // of the media worker that is the latest
	Complexity int       `json:"complexity"`     // that calls are encoded with, at most
	Configured int       `json:"configured"`     // and what it would be
	Refusing   bool      `json:"refusing"`       // new calls, for want of time
	Since      time.Time `json:"since,omitzero"` // of the latest step
	Down       uint64    `json:"steps_down"`     // since start
	Up         uint64    `json:"steps_up"`       // since start
	PortsUsed  int       `json:"ports_used"`     // of media
	PortsTotal int       `json:"ports_total"`
}

// Alarm is a leg of a live call that is at fault.
type Alarm struct {
	Call    string    `json:"call"` // recording id
	Line    string    `json:"line"`
	Leg     string    `json:"leg"` // its label
	Channel string    `json:"channel"`
	Kind    string    `json:"kind"`  // undecryptable, one-way, no media, silent, not taken; see package alarm
	Since   time.Time `json:"since"` // when the fault began
}

// Fault is something that is wrong although calls are recorded.
type Fault struct {
	Name  string    `json:"name"` // stable, e.g. certificate
	Text  string    `json:"text"` // a sentence without its full stop
	Since time.Time `json:"since"`
}

// Draining says that the recorder stops: it takes no new calls.
type Draining struct {
	Since time.Time `json:"since"`
	Left  int       `json:"calls_left"` // calls being recorded
}

// Day is the account of one day, by the policy's clock. It counts calls by the
// day on which they were offered.
type Day struct {
	Date  string `json:"date"` // YYYY-MM-DD
	Lines []Line `json:"lines"`
	All   Line   `json:"all"` // the sum; its name is empty
}

// Line is the account of one line's day.
type Line struct {
	Name        string            `json:"line"`                 // "": not known
	Offered     uint64            `json:"offered"`              // calls that were to be recorded
	Recorded    uint64            `json:"recorded"`             // of them, those that were accepted, durably
	Finished    uint64            `json:"finished"`             // of those, ended in good order
	Interrupted uint64            `json:"interrupted"`          // cut off by a crash
	Refused     map[string]uint64 `json:"refused,omitempty"`    // offered and not recorded, by reason
	Flagged     map[string]uint64 `json:"flagged,omitempty"`    // recordings with alarms, by kind
	Seconds     float64           `json:"seconds"`              // recorded
	GapSeconds  float64           `json:"gap_seconds"`          // of it, lost or without media, a channel each; holds are no gaps
	Lost        uint64            `json:"lost_packets"`         // packets that did not come
	Captured    *float64          `json:"captured,omitempty"`   // recorded / offered, 0 to 1; nil: nothing was offered
	NotDurable  uint64            `json:"not_stored,omitempty"` // recordings with audio that the disk did not take
}

// Peer is one recording client, by its address.
type Peer struct {
	Address     string    `json:"address"`
	Transport   string    `json:"transport"` // of the latest message: udp, tcp, tls
	LastOptions time.Time `json:"last_options,omitzero"`
	LastInvite  time.Time `json:"last_invite,omitzero"`
	Live        int       `json:"live"`              // sessions that are up, recorded or not
	Calls       uint64    `json:"calls"`             // sessions since start
	Refusals    uint64    `json:"refusals"`          // requests and TLS handshakes refused since start
	Refused     *Refused  `json:"refused,omitempty"` // the latest of them
	TLS         *PeerTLS  `json:"tls,omitempty"`     // of the latest handshake
	Options     []string  `json:"options,omitempty"` // what is set for it that is not the default
}

// Refused is the latest refusal of a peer.
type Refused struct {
	At     time.Time `json:"at"`
	Method string    `json:"method"` // TLS for a handshake
	Code   int       `json:"code,omitempty"`
	Reason string    `json:"reason"`
}

// PeerTLS is what a peer's TLS handshake told.
type PeerTLS struct {
	Version     string    `json:"version"`
	Subject     string    `json:"subject,omitempty"` // "" without a certificate
	Names       []string  `json:"names,omitempty"`
	Expires     time.Time `json:"expires,omitzero"`
	Fingerprint string    `json:"fingerprint,omitempty"` // SHA-256
}

// Strangers counts who was turned away for not being on the allow-list.
type Strangers struct {
	Count uint64    `json:"count"` // datagrams and connections since start
	Last  string    `json:"last,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

// LiveCall is one call being recorded.
type LiveCall struct {
	ID      string    `json:"id"` // recording id
	Line    string    `json:"line"`
	Queue   string    `json:"queue,omitempty"`
	Peer    string    `json:"peer"`     // the recording client's address, with its port
	Via     string    `json:"via"`      // udp, tcp, tls
	Told    string    `json:"metadata"` // none, bad (unreadable), good
	Since   time.Time `json:"since"`
	Seconds float64   `json:"seconds"`
	Stored  float64   `json:"stored_seconds"` // of it, what is on disk: a crash leaves this much
	Flags   []string  `json:"flags,omitempty"`
	Alarms  []Alarm   `json:"-"` // of its legs; the status lists those of all calls
	Legs    []Leg     `json:"legs"`
}

// Leg is one stream of a live call.
type Leg struct {
	Label         string  `json:"label"`
	Channel       string  `json:"channel"` // left, right, mixed
	Port          int     `json:"port"`
	Packets       uint64  `json:"packets"`
	LastPacketAge float64 `json:"last_packet_seconds"` // since the latest packet; -1: none so far
	Lost          uint64  `json:"lost"`
	Late          uint64  `json:"late"`
	Duplicate     uint64  `json:"duplicate"`
	WrongSource   uint64  `json:"wrong_source"`
	NotAgreed     uint64  `json:"not_agreed"`
	Stray         uint64  `json:"stray"`                 // packets of a second sender on the stream, not played
	Alarm         string  `json:"alarm,omitempty"`       // kind of the alarm that it has now
	Security      string  `json:"security,omitempty"`    // SRTP suite; "dtls" before its handshake; "" for plain RTP
	AuthFailed    uint64  `json:"auth_failed,omitempty"` // packets that are not authentic
	Replays       uint64  `json:"replays,omitempty"`
	Blocked       bool    `json:"cannot_be_decrypted,omitempty"`
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
	Name  string    `json:"name"` // serving, store, journal, disk, media, ports, files
	OK    bool      `json:"ok"`
	Since time.Time `json:"since"`
	Error string    `json:"error,omitempty"`
}
