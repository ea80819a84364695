package trail

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"siprecd/store/audit"
	"siprecd/store/disk"
	"siprecd/store/kept"
)

// ErrAccess is returned (wrapped) when it is not said who reads and why.
var ErrAccess = errors.New("who reads and why must be said")

// Access says who reads a recording and why; the store refuses an empty one.
type Access struct {
	Who, Why string // both go into the sealed part of the log
	Actor    string // who, as a leaf may name him: an id, never a name; "": this process's user and command
}

// Read books an access before anything is handed out; refused is why it is not
// given, which is booked too and returned. When the log cannot be written
// nothing is handed out.
func (t *Trail) Read(a Access, id disk.ID, kind audit.Kind, refused error) error {
	e := audit.Event{Kind: kind, Actor: a.Actor, Who: a.Who, Why: a.Why}
	if id != (disk.ID{}) {
		e.Recording = disk.Name(id)
	}
	if refused == nil && (a.Who == "" || a.Why == "") {
		refused = ErrAccess
	}
	if refused != nil {
		e.Kind = audit.Refused
		e.Result = "access not given, " + reason(refused)
	}
	return errors.Join(refused, t.Append(e))
}

// reason is the plain cause of a refusal: the words of an error may hold what
// somebody typed.
func reason(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			break
		}
		err = inner
	}
	e := audit.Event{Kind: audit.Refused, Result: err.Error()}
	if e.Fit() != nil || len(e.Result) > 40 {
		return "damaged or not readable"
	}
	return e.Result
}

// Ended books the end of a recording, with the hash of its manifest, before the
// catalogue has it. A log that cannot be written does not hold it up: the leaf
// then waits in memory, and is tried again with every tick; what a crash takes
// of it there, Verify misses and names. Late says that a former process recorded
// it, whose leaves may be there already, or not even the first one.
func (t *Trail) Ended(id disk.ID, interrupted, late bool) {
	e := audit.Event{Kind: audit.Finished, Recording: disk.Name(id)}
	if interrupted {
		e.Kind = audit.Interrupted
	}
	if late && t.log.Ending(e.Recording) != "" {
		return
	}
	if late && !t.log.IsOpen(e.Recording) {
		t.Note(audit.Event{Kind: audit.Made, Recording: e.Recording, Result: "found after a crash"})
	}
	var err error
	if e.Hash, _, err = disk.HashFile(t.o.Root, path.Join(disk.FolderOf(id), kept.ManifestFile)); err != nil {
		e.Result = "no manifest to be read"
	}
	if err := t.Append(e); err != nil {
		t.Note(e)
	}
}

// Leaving has a recording that was handed out tell when a copy of it leaves.
func (t *Trail) Leaving(a Access, id disk.ID, x *kept.Sealed) *kept.Sealed {
	x.Leaving = func(how string, failed error) error {
		if failed == nil {
			return t.Append(audit.Event{Kind: audit.Exported, Recording: x.ID, Result: how, Actor: a.Actor, Who: a.Who, Why: a.Why})
		}
		refused := audit.Event{Kind: audit.Refused, Recording: x.ID, Result: "not opened, no key fits", Actor: a.Actor, Who: a.Who, Why: a.Why}
		return errors.Join(failed, t.Append(refused))
	}
	return x
}

// Erased takes away who opened erased recordings and why, and books the erasures
// by the hashes of their receipts, which it is given by the recordings' ids. On
// an error they are not finished. Only the process that records can.
func (t *Trail) Erased(receipts map[string][]byte) error {
	if t.log == nil {
		return fmt.Errorf("%w: the recorder has to do this", audit.ErrUnwritten)
	}
	if err := t.log.Forget(slices.Collect(maps.Keys(receipts))...); err != nil {
		return err
	}
	events := make([]audit.Event, 0, len(receipts))
	for id, text := range receipts {
		events = append(events, audit.Event{Kind: audit.Erased, Recording: id, Hash: disk.Hash(text), Actor: eraser(text)})
	}
	return t.log.Append(events...)
}

// eraser is who asked for an erasure, as its receipt has it.
func eraser(receipt []byte) string {
	var r struct {
		Receipt struct {
			Actor string `json:"actor"`
		} `json:"receipt"`
	}
	if json.Unmarshal(receipt, &r) != nil || r.Receipt.Actor == "" {
		return Self()
	}
	return r.Receipt.Actor
}

// WasDiscarded says that a recording was not to be kept, and went lately; always
// false in a command.
func (t *Trail) WasDiscarded(recording string) bool {
	return t.log != nil && t.log.Ending(recording) == audit.Discarded
}
