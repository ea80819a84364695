package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"siprecd/recorder/tally"
	"siprecd/recorder/web"
	"siprecd/store"
)

// verifyCmd checks what is kept, byte by byte, without any identity.
type verifyCmd struct {
	ID   string `arg:"" optional:"" help:"Tell only the faults of this recording; the beginning of its id is enough."`
	JSON bool   `help:"One JSON object per fault."`

	Receipt  string `placeholder:"FILE" type:"path" help:"Check receipts of siprecd erase instead."`
	SignedBy string `placeholder:"FILE" type:"path" help:"With --receipt: a recorder's keys/manifest.pub; then only the signature is checked, on any machine."`
}

// fault is a finding as JSON.
type fault struct {
	File      string `json:"file"` // below the store's folder
	Recording string `json:"recording,omitempty"`
	Error     string `json:"error"`
}

// errFaults is what verify ends with after it has told them.
var errFaults = errors.New("faults were found")

// Run tells the faults on stdout, one a line, and how it went on stderr. It
// ends with 1 when there are any.
func (c *verifyCmd) Run(e *env) error {
	if c.Receipt != "" {
		return checkReceipt(e, c.Receipt, c.SignedBy)
	}
	cfg, err := e.config()
	if err != nil {
		return err
	}
	only, kept, err := c.scope(e)
	if errors.Is(err, errNothing) {
		fmt.Fprintf(e.stderr, "%s: %v\n", cfg.Store.Dir, err)
		return nil
	}
	if err != nil {
		return err
	}
	faults := 0
	var failed error // of writing
	log := slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	found := func(f store.Finding) {
		if only == "" || f.Recording == only {
			faults++
			failed = errors.Join(failed, c.tell(e, f))
		}
	}
	err = store.Verify(e.ctx, cfg.Store.Dir, log, found)
	tally.Verify(cfg.Store.Dir, func(file string, err error) { found(store.Finding{File: file, Err: err}) })
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	if faults > 0 {
		fmt.Fprintf(e.stderr, "siprecd: %d fault(s) in %s\n", faults, cfg.Store.Dir)
		return silent{errFaults}
	}
	fmt.Fprintf(e.stderr, "verified %s: %s, no fault\n", cfg.Store.Dir, kept)
	return nil
}

// scope is the full id to look at, if one was given, and in words what there
// is. A folder that is too damaged to be listed is still verified.
func (c *verifyCmd) scope(e *env) (only, words string, err error) {
	s, _, err := kept(e)
	if err != nil {
		if c.ID == "" && !errors.Is(err, errNothing) {
			return "", "nothing could be listed", nil
		}
		return "", "", err
	}
	defer leave(e, s)
	if c.ID != "" {
		row, err := s.Get(c.ID)
		return row.ID, "recording " + row.ID, explainRead(c.ID, err)
	}
	counts := map[store.State]int{}
	for row, err := range s.List(e.ctx, store.Query{}) {
		if err != nil && row.ID == "" {
			break // Verify will say it
		}
		counts[row.State]++
	}
	words = fmt.Sprintf("%d finished recording(s)", counts[store.Finished])
	if n := counts[store.Live]; n > 0 {
		words += fmt.Sprintf(", %d live one(s) not looked at", n)
	}
	return "", words, nil
}

func (c *verifyCmd) tell(e *env, f store.Finding) error {
	var err error
	if c.JSON {
		err = json.NewEncoder(e.stdout).Encode(fault{f.File, f.Recording, f.Err.Error()})
	} else {
		_, err = fmt.Fprintln(e.stdout, web.Plain(f.String()))
	}
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
