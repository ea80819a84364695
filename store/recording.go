package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"siprecd/store/audit"
	"siprecd/store/catalog"
	"siprecd/store/disk"
	"siprecd/store/journal"
	"siprecd/store/kept"
)

// state is what is needed to finish a recording, by this process or, after a
// crash, by the next. It is kept sealed in the catalogue while it is live.
type state struct {
	Recipient string            `json:"recipient"` // of its own identity
	Keybox    string            `json:"keybox_sha256"`
	Channels  int               `json:"channels"`
	Rate      int               `json:"rate"`
	Bitrate   int               `json:"bitrate"`
	PreSkip   int               `json:"pre_skip"`
	Per       int               `json:"packets_per_segment"`
	Decision  json.RawMessage   `json:"decision,omitempty"`
	Segments  []ManifestSegment `json:"segments"` // sealed and durable
	Gaps      []Gap             `json:"gaps,omitempty"`
	Damaged   bool              `json:"damaged,omitempty"`
	Discarded bool              `json:"discarded,omitempty"` // all of it is to go
}

func (s *state) cutting() kept.Cutting { return kept.Cutting{Per: s.Per, PreSkip: s.PreSkip} }

func (s *state) coding() kept.Coding {
	return kept.Coding{Recipient: s.Recipient, Channels: s.Channels, Rate: s.Rate, PreSkip: s.PreSkip}
}

func (s *state) has(seq int) bool {
	return slices.ContainsFunc(s.Segments, func(m ManifestSegment) bool { return m.Seq == seq })
}

// Recording is one live recording. Its methods may be used from several
// goroutines; WritePackets must be called from one at a time.
type Recording struct {
	store *Store
	id    catalog.ID
	name  string

	stream *journal.Stream // nil for one found after a crash

	sealing sync.Mutex // one segment or the finish at a time; guards what follows
	state   state
	folder  disk.Folder // zero until it is made
	dropped bool        // the log has it discarded

	mu        sync.Mutex // guards what follows
	row       Row
	details   Details
	dirty     bool
	packets   int
	closing   *Closing
	decision  json.RawMessage // replaces the admission's; nil: that one holds
	discarded bool

	done chan struct{} // closed when the recording is finished
}

// Begin makes a recording durable: its keybox in keys.db and its sealed row
// and details in catalog.db are synced when it returns nil. On an error there
// is no recording. It refuses while the journal cannot be written.
func (s *Store) Begin(ctx context.Context, a Admission) (*Recording, error) {
	if s.options.ReadOnly {
		return nil, fmt.Errorf("begin recording: %w", ErrReadOnly)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("begin recording: %w", err)
	}
	if err := s.journal.Err(); err != nil { // those who are live need the memory
		return nil, fmt.Errorf("begin recording: %w", err)
	}
	if a.Channels != 1 && a.Channels != 2 {
		return nil, fmt.Errorf("begin recording: %d channels", a.Channels)
	}
	if a.Started.IsZero() {
		a.Started = time.Now()
	}
	keybox, recipient, err := s.recipients.NewRecording()
	if err != nil {
		return nil, fmt.Errorf("begin recording: %w", err)
	}
	r := s.newRecording(a, keybox, recipient)
	entry, err := r.entry(partAll)
	if err != nil {
		return nil, fmt.Errorf("begin recording: %w", err)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, fmt.Errorf("begin recording: %w", ErrClosed)
	}
	s.work.Add(1) // Close waits for us
	s.mu.Unlock()
	defer s.work.Done()
	if err := s.catalog.AdmitSoon(entry, keybox); err != nil {
		return nil, fmt.Errorf("begin recording: %w", err)
	}
	s.Note(audit.Event{Kind: audit.Made, Recording: r.name})
	r.stream = s.journal.Stream(r.id, r.state.Per)
	s.mu.Lock()
	s.live[r.id] = r
	s.mu.Unlock()
	return r, nil
}

func (s *Store) newRecording(a Admission, keybox []byte, recipient string) *Recording {
	id := disk.NewID(a.Started)
	return &Recording{
		store: s, id: id, name: disk.Name(id),
		state: state{
			Recipient: recipient,
			Keybox:    disk.Hash(keybox),
			Channels:  a.Channels, Rate: a.Rate, Bitrate: a.Bitrate, PreSkip: a.PreSkip,
			Per:      max(journal.PreRoll, int(s.options.Segment/(20*time.Millisecond))),
			Decision: a.Decision,
		},
		row: Row{
			ID: disk.Name(id), State: Live, Line: a.Line, Queue: a.Queue,
			Started: a.Started.UTC().Truncate(time.Millisecond), Channels: a.Channels,
		},
		details: a.Details,
		done:    make(chan struct{}),
	}
}

// ID returns the recording's id, a UUIDv7 in the usual form.
func (r *Recording) ID() string { return r.name }

// WritePackets takes the next Opus packets of 20 ms, in order. It copies them
// and returns at once; they are durable within a tick. It has the shape of
// media.Sink.
func (r *Recording) WritePackets(packets [][]byte) {
	r.stream.Write(packets)
	r.mu.Lock()
	if r.closing == nil {
		r.packets += len(packets)
	}
	r.mu.Unlock()
}

// Durable is how much of the recording a crash of this moment would leave.
func (r *Recording) Durable() time.Duration { return r.stream.Durable() }

// Update changes the details. They are durable with one of the next ticks. The
// function runs under a lock: it must be quick and not call the recording.
func (r *Recording) Update(change func(*Details)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.details)
	r.dirty = true
}

// Event adds a line to the recording's history.
func (r *Recording) Event(kind, text string) {
	at := time.Now().UTC().Truncate(time.Millisecond)
	r.Update(func(d *Details) { d.History = append(d.History, Event{At: at, Kind: kind, Text: text}) })
}

// part says which pieces of a live recording an entry holds.
type part int

const (
	partAll     part = iota // for Begin
	partDetails             // what Update changes
	partState               // what a sealed segment changes; sealing is held
)

func (r *Recording) entry(p part) (catalog.Entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := catalog.Entry{ID: r.id}
	var err, err2, err3 error
	if p != partState {
		r.dirty = false
		e.Numbers = r.store.numbersOf(r.details)
		e.Details, err = json.Marshal(r.details)
	}
	if p != partDetails {
		e.State, err2 = json.Marshal(r.state)
	}
	if p != partState {
		e.Line = r.row.Line
	}
	r.row.show(r.details)
	e.Row, err3 = json.Marshal(r.row)
	return e, errors.Join(err, err2, err3)
}

// show copies what a list shows of the details.
func (row *Row) show(d Details) {
	row.Direction, row.Caller, row.Called, row.Agent = d.Direction, d.Caller, d.Called, d.Agent
}

// numbersOf lists by which numbers and keys a recording is found.
func (s *Store) numbersOf(d Details) []string {
	var list []string
	for _, n := range append([]string{d.Caller, d.Called, d.Agent}, d.Numbers...) {
		if n = s.options.Normalise(n); n != "" && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	for _, k := range d.Keys {
		list = append(list, keyPrefix+k)
	}
	return list
}

// keyPrefix keeps correlation keys and numbers apart in the one index.
const keyPrefix = "key:"

// saveDetails writes the details that have changed, in one transaction.
func (s *Store) saveDetails() {
	var entries []catalog.Entry
	var changed []*Recording
	for _, r := range s.liveRecordings() {
		r.mu.Lock()
		dirty := r.dirty && r.closing == nil && !r.discarded // Finish writes the final ones
		r.mu.Unlock()
		if !dirty {
			continue
		}
		e, err := r.entry(partDetails)
		if err != nil {
			s.log.Error("cannot save details", "id", r.name, "err", err)
			continue
		}
		entries, changed = append(entries, e), append(changed, r)
	}
	if len(entries) == 0 {
		return
	}
	err := s.catalog.PutLive(entries...)
	s.trial.Tell(s.log, err)
	if err != nil {
		for _, r := range changed {
			r.Update(func(*Details) {})
		}
	}
}

func (s *Store) liveRecordings() []*Recording {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*Recording, 0, len(s.live))
	for _, r := range s.live {
		list = append(list, r)
	}
	return list
}

func (s *Store) liveRecording(id catalog.ID) *Recording {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[id]
}
