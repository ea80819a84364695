package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"siprecd/cmd/siprecd/app"
	"siprecd/cmd/siprecd/tell"
	"siprecd/recorder/web"
	"siprecd/store"
)

// exportCmd hands one recording over: opened as one Opus file, or sealed.
type exportCmd struct {
	ID       string `arg:"" help:"The recording; the beginning of its id is enough when only one begins so."`
	Output   string `short:"o" required:"" placeholder:"FILE" help:"The file to write; - for stdout. With --sealed a folder, new or empty."`
	Identity string `short:"i" placeholder:"FILE" type:"path" help:"Identity that opens it. Default: keys/console.key in the store."`
	Sealed   bool   `help:"Copy it as it is kept, encrypted, with keybox and manifest. Needs no identity; opens with stock age or siprecd decrypt."`
	Why      string `default:"export on the command line" help:"The reason, for the record of accesses." placeholder:"TEXT"`
	Force    bool   `help:"Replace the file if it exists."`
}

// Run exports and says on stderr what was written.
func (c *exportCmd) Run(e *env) error {
	if c.Sealed && c.Output == "-" {
		return usagef("a sealed export is a folder: -o cannot be -")
	}
	s, cfg, err := kept(e)
	if err != nil {
		return err
	}
	defer leave(e, s)
	x, err := s.Read(e.ctx, e.access(c.Why), c.ID)
	if err != nil {
		return explainRead(c.ID, err)
	}
	if c.Sealed {
		err = makeFolder(c.Output, func(dir string) error { return store.ExportSealed(dir, x) })
	} else {
		err = c.opus(e, x, identityPath(c.Identity, cfg))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stderr, "wrote %s: %s\n", outputName(c.Output), about(x))
	return nil
}

func (c *exportCmd) opus(e *env, x *store.Sealed, identity string) error {
	holders, err := app.ReadIdentities(identity)
	if err != nil {
		return err
	}
	if _, err := x.Identity(holders...); err != nil { // before anything is written
		return fmt.Errorf("%s does not open this recording: %w", identity, err)
	}
	return e.writeOutput(c.Output, c.Force, func(w io.Writer) error { return store.Export(w, x, holders...) })
}

// explainRead turns the store's refusals into what the operator can do.
func explainRead(id string, err error) error {
	switch {
	case errors.Is(err, store.ErrAmbiguous):
		return fmt.Errorf("more than one recording begins with %q: give more of the id (siprecd list shows it)", id)
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("there is no recording %q", id)
	case errors.Is(err, store.ErrErased):
		return fmt.Errorf("recording %q was erased", id)
	case errors.Is(err, store.ErrLive):
		return fmt.Errorf("recording %q is still live: export it when the call has ended", id)
	}
	return err
}

// about words what a recording is, without names and numbers.
func about(x *store.Sealed) string {
	m := &x.Manifest
	parts := []string{tell.Length(m.Duration), channelWords(m.Channels), web.Plain(m.Line),
		"started " + m.Started.UTC().Format(time.DateTime) + " UTC", fmt.Sprintf("segments: %d", len(m.Segments))}
	if m.Interrupted {
		parts = append(parts, "interrupted")
	}
	if n := len(m.Gaps); n > 0 {
		parts = append(parts, fmt.Sprintf("gaps: %d", n))
	}
	return strings.Join(parts, ", ")
}

func channelWords(channels []store.ManifestChannel) string {
	if len(channels) == 1 {
		return "mono"
	}
	words := make([]string, len(channels))
	for i, c := range channels {
		words[i] = web.Plain(c.Name + " " + c.Role)
	}
	return "stereo (" + strings.Join(words, ", ") + ")"
}
