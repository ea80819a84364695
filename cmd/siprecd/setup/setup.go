// Package setup makes a data folder: configuration, keys, and the first screen
// that an operator sees, with the escrow key that is shown this once.
//
// Promises: nothing that is there is overwritten; what fails half-way is taken
// away again, so that a second try finds a clean folder.
package setup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"siprecd/cmd/siprecd/config"
	"siprecd/store/seal"
)

// ConfigName is the configuration's name in a data folder.
const ConfigName = "siprecd.yaml"

// Command is siprecd init. It never overwrites.
type Command struct {
	Dir string `required:"" placeholder:"DIR" type:"path" help:"Folder to make: configuration, keys, and later the recordings."`
}

// Run makes the folder and shows the first screen on out.
func (c *Command) Run(out io.Writer) error {
	if err := c.untouched(); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	escrow, err := seal.InitKeys(c.Dir)
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if err := c.configure(); err != nil {
		return errors.Join(fmt.Errorf("write the configuration: %w", err), c.undo())
	}
	key, err := os.ReadFile(filepath.Join(c.keys(), seal.AuditFile))
	if err == nil {
		err = c.welcome(out, escrow, strings.TrimSpace(string(key)))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("tell the escrow key: %w", err), os.Remove(c.file()), c.undo())
	}
	return nil
}

// undo takes the keys away again: they are seconds old, nothing is sealed to
// them, and nobody has seen the escrow key. A second try finds a clean folder.
func (c *Command) undo() error { return os.RemoveAll(c.keys()) }

func (c *Command) file() string { return filepath.Join(c.Dir, ConfigName) }
func (c *Command) keys() string { return filepath.Join(c.Dir, "keys") }

// untouched refuses a folder that was made before, wholly or in part.
func (c *Command) untouched() error {
	haveConfig, err := exists(c.file())
	if err != nil {
		return err
	}
	haveKeys, err := c.hasKeys()
	if err != nil {
		return err
	}
	switch {
	case haveConfig && haveKeys:
		return fmt.Errorf("%s is a data folder already (%s and keys are there); nothing was changed", c.Dir, ConfigName)
	case haveConfig:
		return fmt.Errorf("%s exists, but there are no keys beside it; nothing was changed. "+
			"Put the keys folder back that belongs to it, or move the file away to begin anew", c.file())
	case haveKeys:
		return fmt.Errorf("%s holds keys, but there is no %s; nothing was changed. "+
			"If a former init was interrupted and nothing was recorded, remove %s and run init again; "+
			"if recordings were made, put the configuration back", c.keys(), ConfigName, c.keys())
	}
	return nil
}

// hasKeys is whether the folder of keys holds anything at all.
func (c *Command) hasKeys() (bool, error) {
	entries, err := os.ReadDir(c.keys())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return len(entries) > 0, err
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// configure writes the configuration with the new recipients.
func (c *Command) configure() (err error) {
	recipients, err := os.ReadFile(filepath.Join(c.keys(), seal.RecipientsFile))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(c.file(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(config.Example(strings.Fields(string(recipients))))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(c.file()))
	}
	return nil
}

// welcome is the first screen that an operator sees.
func (c *Command) welcome(out io.Writer, escrow, audit string) error {
	_, err := fmt.Fprintf(out, `A data folder for siprecd is ready: %[1]s

  %[2]s
      what is recorded and where: every key, with comments; an example policy
  %[3]s
      host.key     the recorder's own key; needed to serve
      console.key  opens recordings; move it to the machine where they are heard
      recipients   who recordings are sealed to
      audit.pub    checks the audit log

THE ESCROW KEY. It is shown this once and is stored nowhere:

      %[4]s

  It opens every recording when console.key is lost. Print it or write it down,
  put it in a safe, and clear this screen. Never keep it on this machine.

The audit key is no secret (it is in audit.pub too):

      %[5]s

  Keep a copy away from this machine, with the checkpoints that the recorder
  sends (audit.checkpoints in the configuration): with both, siprecd audit verify
  proves that nobody here has changed the log of who did what.

Next:

  siprecd check --config %[2]s
  siprecd serve --config %[2]s
`, c.Dir, c.file(), c.keys(), escrow, audit)
	return err
}
