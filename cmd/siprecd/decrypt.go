package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"siprecd/cmd/siprecd/app"
	"siprecd/cmd/siprecd/tell"
	"siprecd/cmd/siprecd/unseal"
)

// decryptCmd opens a sealed export anywhere: it needs no data folder and no
// configuration.
type decryptCmd struct {
	Sealed   []string `arg:"" type:"path" help:"A folder made by siprecd export --sealed, or the segments of one recording in their order."`
	Identity string   `short:"i" required:"" placeholder:"FILE" type:"path" help:"Identity of a recipient: console.key, or the escrow key in a file."`
	Keybox   string   `placeholder:"FILE" type:"path" help:"The recording's keybox; in a folder it is found."`
	Output   string   `short:"o" required:"" placeholder:"FILE" help:"The Opus file to write; - for stdout."`
	SignedBy string   `placeholder:"FILE" type:"path" help:"The recorder's keys/manifest.pub: refuse a folder whose manifest it did not sign."`
	Force    bool     `help:"Replace the file if it exists."`
}

// Run joins the segments to one Opus file.
func (c *decryptCmd) Run(e *env) error {
	p, err := c.parcel()
	if errors.Is(err, unseal.ErrOrder) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	holders, err := app.ReadIdentities(c.Identity)
	if err != nil {
		return err
	}
	own, err := p.Unlock(holders...)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Identity, err)
	}
	var seconds float64
	err = e.writeOutput(c.Output, c.Force, func(w io.Writer) (err error) {
		seconds, err = p.Join(w, own)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stderr, "wrote %s: %s, segments: %d\n", outputName(c.Output), tell.Length(seconds), len(p.Segments))
	return nil
}

// parcel finds out what was handed over: a folder or single segments.
func (c *decryptCmd) parcel() (*unseal.Parcel, error) {
	info, err := os.Stat(c.Sealed[0])
	switch {
	case err != nil:
		return nil, fmt.Errorf("decrypt: %w", err)
	case info.IsDir() && len(c.Sealed) > 1:
		return nil, usagef("give one folder, or segments")
	case info.IsDir():
		return unseal.Folder(c.Sealed[0], c.Keybox, c.SignedBy)
	case c.Keybox == "":
		return nil, usagef("segments need --keybox (keybox.age of the same recording)")
	case c.SignedBy != "":
		return nil, usagef("--signed-by needs the folder with the manifest")
	}
	return unseal.Segments(c.Keybox, c.Sealed)
}
