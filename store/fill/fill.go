// Package fill fills a folder's catalogue with recordings that never were, so
// that lists, searches and starts can be measured with a million of them.
//
//	Options ─► rows, details, index entries, keyboxes ─► catalog.db, keys.db
//
// Promises: what it writes has the shape and the size of what calls leave in
// the catalogue, and is sealed with the folder's own key.
//
// Caveats: there is no audio, and no folder below recordings/: only what the
// catalogue alone answers is true to life. All keyboxes are copies of one.
package fill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"siprecd/store"
	"siprecd/store/catalog"
	"siprecd/store/disk"
	"siprecd/store/seal"
)

// Options say what is written. The folder must be as `siprecd init` left it.
type Options struct {
	Dir       string
	Count     int
	From, To  time.Time // recordings are spread evenly over this time
	Lines     []Line    // taken in turn
	Callers   int       // different numbers that call
	Normalise func(string) string
	Logger    *slog.Logger
}

// Line is one listed line.
type Line struct{ Name, Number string }

// The recordings in one transaction: few at first, for bbolt splits its pages
// only at the end of one; then many, for index entries come in no order, so
// that each transaction writes nearly the whole index.
const (
	firstBatch = 1000
	lastBatch  = 50_000
)

// batch is how many are written at once when k are there.
func batch(k int) int { return min(lastBatch, max(firstBatch, k/4)) }

// Caller is the number that calls in recording k of those that are written.
func (o Options) Caller(k int) string { return fmt.Sprintf("020794%05d", k*7919%o.Callers) }

// Run writes the recordings, oldest first.
func Run(ctx context.Context, o Options) (err error) {
	host, err := seal.LoadHost(o.Dir)
	if err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	keybox, err := o.keybox()
	if err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	c, err := catalog.Open(o.Dir, host, false, o.Logger)
	if err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	var list []catalog.Entry
	for k := 0; k < o.Count; {
		if err := ctx.Err(); err != nil {
			return err
		}
		list = list[:0]
		for size := batch(k); k < o.Count && len(list) < size; k++ {
			e, err := o.entry(k)
			if err != nil {
				return fmt.Errorf("fill: %w", err)
			}
			list = append(list, e)
		}
		if err := c.PutAll(list, keybox); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
	}
	return nil
}

// keybox is one that the folder's recipients can open.
func (o Options) keybox() ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(o.Dir, "keys", seal.RecipientsFile))
	if err != nil {
		return nil, err
	}
	recipients, err := seal.ParseRecipients(string(text))
	if err != nil {
		return nil, err
	}
	box, _, err := recipients.NewRecording()
	return box, err
}

// entry is recording k as an ordinary call of five minutes leaves it.
func (o Options) entry(k int) (e catalog.Entry, err error) {
	const length, bytes = 300 * time.Second, 1_350_000
	at := o.From.Add(time.Duration(float64(o.To.Sub(o.From)) * float64(k) / float64(o.Count))).UTC().Truncate(time.Millisecond)
	line, caller := o.Lines[k%len(o.Lines)], o.Caller(k)
	d := store.Details{
		CallID: fmt.Sprintf("%032x", k), Direction: "inbound", Caller: "sip:" + caller + "@example.org",
		Called: "sip:" + line.Number + "@example.org", Peer: "192.0.2.10:5060",
		Sources: map[string]string{"caller": "participant", "called": "participant", "line": "participant"},
		Keys:    []string{fmt.Sprintf("%032x", k)},
	}
	e.ID = disk.NewID(at)
	row := store.Row{
		ID: disk.Name(e.ID), State: store.Finished, Line: line.Name, Started: at, Ended: at.Add(length),
		Duration: length.Seconds(), Direction: d.Direction, Caller: d.Caller, Called: d.Called,
		Channels: 2, Cause: "bye", Segments: 5, Bytes: bytes,
	}
	e.Line = row.Line
	e.Numbers = []string{o.Normalise(d.Caller), o.Normalise(d.Called), "key:" + d.Keys[0]}
	e.Add = catalog.Totals{Recordings: 1, Bytes: row.Bytes}
	e.Over = true
	if e.Row, err = json.Marshal(row); err == nil {
		e.Details, err = json.Marshal(d)
	}
	return e, err
}
