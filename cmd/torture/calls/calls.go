// Package calls places calls for torture rows and tells what became of them, as
// somebody outside of the recorder sees it.
//
//	Place ─► siprecd ─► /status: Look ─► Seen (acknowledged)
//	            └─────► store:   List, Open ─► Heard (kept)
package calls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"siprecd/cmd/torture/rig"
	"siprecd/media/ogg"
	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
	"siprecd/store"
)

// access is who reads recordings here, and why.
var access = store.Access{Who: "torture", Why: "to compare with what was sent"}

// Seen is what the outside knows of a recording.
type Seen struct {
	Since  time.Time     // of the first sample
	Stored time.Duration // acknowledged as durable
	Over   bool          // listed as finished
}

// Tones are two legs that can be told apart.
func Tones() []siprectest.Leg {
	return []siprectest.Leg{{Name: "A Resident", Audio: audio.Tone(440, -18)}, {Name: "Council Tax", Audio: audio.Tone(1000, -18)}}
}

// busyFor is for how long a call is offered again that gets 503.
const busyFor = 2 * time.Minute

// Up places one call. A recorder that says that it is busy is asked again, as
// its Retry-After wants it: a row that is not about admission must not fail
// because the machine has other things to do.
func Up(l *rig.Lab, client *siprectest.Client, o siprectest.Options) (*siprectest.Call, error) {
	for began := time.Now(); ; {
		call, err := client.Invite(l, o)
		var status *siprectest.StatusError
		if err == nil || !errors.As(err, &status) || status.Code != 503 || time.Since(began) > busyFor {
			return call, err
		}
		l.Logf("a call is refused: the machine is busy")
		if err := l.Sleep(time.Second); err != nil {
			return nil, err
		}
	}
}

// Place keeps calls to a server up until they are over or ctx ends; then comes
// the report. Legs, Target and Timeout need not be given.
func Place(ctx context.Context, l *rig.Lab, s *rig.Server, o siprectest.Options) <-chan siprectest.Report {
	o.Target, o.Legs, o.SharePorts = "udp://"+s.UDP, Tones(), true
	if o.Timeout == 0 {
		o.Timeout = l.Ease(2 * time.Second)
	}
	done := make(chan siprectest.Report, 1)
	go func() {
		r, err := siprectest.Run(ctx, o)
		if err != nil && ctx.Err() == nil {
			l.Logf("place calls: %v", err)
		}
		done <- r
	}()
	return done
}

// Look adds to known what /status says of live calls.
func Look(s *rig.Server, known map[string]Seen) error {
	st, err := s.Status()
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	list, _ := st["calls"].([]any)
	for _, v := range list {
		c, _ := v.(map[string]any)
		id, _ := c["id"].(string)
		text, _ := c["since"].(string)
		stored, ok := c["stored_seconds"].(float64)
		since, err := time.Parse(time.RFC3339Nano, text)
		if id == "" || !ok || err != nil {
			return fmt.Errorf("status: a call without id, since or stored_seconds: %v", v)
		}
		known[id] = Seen{Since: since, Stored: time.Duration(stored * float64(time.Second))}
	}
	return nil
}

// Stored says that a live call has so much on disk.
func Stored(s *rig.Server, d time.Duration) bool {
	known := map[string]Seen{}
	if Look(s, known) != nil {
		return false
	}
	for _, k := range known {
		if k.Stored >= d {
			return true
		}
	}
	return false
}

// Open opens a folder's store for reading, also while a server has it.
func Open(ctx context.Context, dir string) (*store.Store, error) {
	return store.Open(ctx, store.Options{Dir: dir, ReadOnly: true, Logger: slog.New(slog.DiscardHandler)})
}

// List is what the store of a server lists from an instant on.
func List(ctx context.Context, s *rig.Server, from time.Time) (rows []store.Row, err error) {
	st, err := Open(ctx, s.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close(ctx)) }()
	for row, err := range st.List(ctx, store.Query{From: from.Truncate(time.Millisecond)}) {
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// Identity is the console's of a folder.
func Identity(dir string) (age.Identity, error) {
	f, err := os.Open(filepath.Join(dir, "keys", "console.key"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ids, err := age.ParseIdentities(f)
	if err != nil {
		return nil, err
	}
	return ids[0], nil
}

// Packet is how long one packet of a recording plays.
const Packet = 20 * time.Millisecond

// Heard is what a recording holds.
type Heard struct {
	Manifest store.Manifest
	Packets  []bool // of 20 ms each: audio, or what stands for a lost one
}

// Filled is how many packets stand for lost ones.
func (h Heard) Filled() (n int) {
	for _, real := range h.Packets {
		if !real {
			n++
		}
	}
	return n
}

// Hear opens a finished recording as a holder of the console's key does.
func Hear(ctx context.Context, st *store.Store, id string, holder age.Identity) (h Heard, err error) {
	x, err := st.Read(ctx, access, id)
	if err != nil {
		return h, err
	}
	h.Manifest = x.Manifest
	var file bytes.Buffer
	if err := store.Export(&file, x, holder); err != nil {
		return h, err
	}
	if file.Len() == 0 || len(x.Manifest.Segments) == 0 {
		return h, nil // a call without audio
	}
	r, err := ogg.NewReader(&file)
	if err != nil {
		return h, err
	}
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return h, nil
		}
		if err != nil {
			return h, err
		}
		h.Packets = append(h.Packets, len(p.Data) > 1) // a table of contents alone is silence for what is missing
	}
}

// Verify lets the store check every byte of a folder.
func Verify(ctx context.Context, dir string) error {
	var first error
	n := 0
	err := store.Verify(ctx, dir, slog.New(slog.DiscardHandler), func(f store.Finding) {
		if n++; first == nil {
			first = fmt.Errorf("%v", f)
		}
	})
	if err == nil && n > 0 {
		err = fmt.Errorf("verify has %d findings, the first: %w", n, first)
	}
	return err
}
