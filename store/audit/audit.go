// Package audit is the log of what was done with recordings: append-only, a
// Merkle tree a month (RFC 6962 section 2.1), with signed checkpoints that
// leave the machine.
//
//	Append, Note ─► batch ─► DIR/audit/000001-2026-11.log          one leaf a line, fsync
//	                    │                         .hashes       the tree's hashes, to locate damage
//	                    ├─► who and why ─►        .details      sealed; may be forgotten
//	                    └─60 s, export─►          .checkpoints  signed notes ─► Options.Deliver
//
// A line is a CRC-32C in 8 hex digits, a blank and one JSON object; the leaf is
// the JSON object. A tree cannot forget, so a leaf holds ids, hashes and words
// of ours, never a name, a number or free text: Event refuses them. Who an
// actor is and what reason was given stand in the details, sealed with the host
// key; the leaf has only their salted hash, which tells nothing once they are
// forgotten.
//
// The first leaf of each tree names the newest checkpoint of the tree before:
// the trees are a chain, and none of them is ever removed here. A new tree
// begins with each month, and whenever a file has failed a write or is not what
// was signed: such a file is never written again.
//
// Promises: when Append returns nil the leaf is on disk. What Note took is on
// disk a tick later, or stays in memory until the disk works again; neither
// ever holds up a recording. After a crash the files hold every promised leaf,
// in order; half a line at the end is cut off, and the cut is a leaf. A log that
// has not the leaves of its newest checkpoint is called tampered and left as it
// is. To open it is quick, whatever its size, for only what stands behind that
// checkpoint is read: Verify (package prove) reads everything and says where it
// was changed.
//
// Caveats: what nobody outside has a checkpoint of can be cut off by who has
// the host key; a checkpoint goes out every 60 s for that reason. Equal events
// without an id in one tick are one leaf with a count, so that a flood cannot
// fill the disk.
package audit

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"siprecd/store/disk"
)

// ErrTampered is returned (wrapped) when the log is not what was signed.
var ErrTampered = errors.New("the audit log is not what was signed")

// ErrEvent is returned (wrapped) for an event that must not become a leaf.
var ErrEvent = errors.New("not fit for the audit log")

// ErrUnwritten is returned (wrapped) when a leaf could not be made durable.
var ErrUnwritten = errors.New("the audit log cannot be written")

// Kind says what was done.
type Kind string

// The kinds. What is more than these words is told in Event.Result.
const (
	Tree        Kind = "tree"        // first leaf of a tree: names the checkpoint before
	Started     Kind = "started"     // a recorder opened the folder
	Stopped     Kind = "stopped"     // it closed it, or a command did that was alone
	Config      Kind = "config"      // in force since this start; Hash: of its text
	Repaired    Kind = "repaired"    // half a line at the end was cut off after a crash
	Made        Kind = "made"        // a recording was begun
	Finished    Kind = "finished"    // and ended; Hash: SHA-256 of its manifest
	Interrupted Kind = "interrupted" // and was finished by a later start; Hash as above
	Discarded   Kind = "discarded"   // and was not to be kept
	Opened      Kind = "opened"      // sealed files or details were handed out
	Exported    Kind = "exported"    // a copy left the store
	Erased      Kind = "erased"      // keybox and files are gone; Hash: of the receipt
	Refused     Kind = "refused"     // a call was not recorded, or an access was not given
)

// Event is one leaf. Only Kind is required.
type Event struct {
	N         int64     `json:"n"`                   // the leaf's place in its tree; set by the log
	At        time.Time `json:"at"`                  // UTC, ms; zero: now
	Kind      Kind      `json:"kind"`                //
	Recording string    `json:"recording,omitempty"` // id in the usual form
	Actor     string    `json:"actor,omitempty"`     // an id: uid:1000/export, web:<random>; never a name
	Result    string    `json:"result,omitempty"`    // words of ours, in lower case: "not found"
	Hash      string    `json:"hash,omitempty"`      // SHA-256 in hex, see the kinds
	Count     int64     `json:"count,omitempty"`     // of equal events; 0: one
	Detail    string    `json:"detail,omitempty"`    // SHA-256 of the sealed who and why; set by the log
	Prev      string    `json:"prev,omitempty"`      // of the first leaf: tree, size and root before

	Who string `json:"-"` // in the sealed details: whom the actor's id stands for
	Why string `json:"-"` // in the sealed details: the reason given
}

// personal says that the event has a part that goes into the details.
func (e *Event) personal() bool { return e.Who != "" || e.Why != "" }

// Fit refuses what a leaf must not hold. That is by shape: words have no run
// of four digits, so that no telephone number gets in by mistake.
func (e *Event) Fit() error {
	switch {
	case !word(string(e.Kind), 16, "") || e.Kind == "":
		return fmt.Errorf("%w: kind %q", ErrEvent, e.Kind)
	case !word(e.Actor, 64, ":/._-"):
		return fmt.Errorf("%w: the actor is not an id", ErrEvent)
	case !word(e.Result, 64, " -,") || digits(e.Result) > 3:
		return fmt.Errorf("%w: the result is not in plain words", ErrEvent)
	case e.Hash != "" && !isHash(e.Hash):
		return fmt.Errorf("%w: not a SHA-256 in hex", ErrEvent)
	case e.Count < 0:
		return fmt.Errorf("%w: count %d", ErrEvent, e.Count)
	}
	if e.Recording != "" {
		id, err := disk.ParseName(e.Recording)
		if err != nil || disk.Name(id) != e.Recording {
			return fmt.Errorf("%w: not a recording's id", ErrEvent)
		}
	}
	return nil
}

// word is whether s has only lower-case letters, digits and what is in more.
func word(s string, longest int, more string) bool {
	return len(s) <= longest && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune(more, r)
	})
}

// digits is the length of the longest run of digits.
func digits(s string) (longest int) {
	run := 0
	for _, r := range s {
		if r >= '0' && r <= '9' {
			run++
		} else {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

func isHash(s string) bool {
	return len(s) == 64 && !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'f') && (r < '0' || r > '9') })
}

// same says that two events may be one leaf: they name nothing that a reader
// would miss.
func (e *Event) same(o *Event) bool {
	return e.Kind == o.Kind && e.Actor == o.Actor && e.Result == o.Result && e.plain() && o.plain()
}

// plain says that the event names nothing but who did what.
func (e *Event) plain() bool {
	return e.Recording == "" && e.Hash == "" && e.Who == "" && e.Why == "" && e.Prev == ""
}

func (e *Event) count() int64 { return max(1, e.Count) }
