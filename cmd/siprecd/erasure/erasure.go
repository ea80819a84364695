// Package erasure is what the command line does to erase recordings for good,
// and to check afterwards that they are gone.
//
//	erase ID... ─► what they are ─► confirmed? ─► store.Erase ─► receipts
//	verify --receipt FILE ─► signature ─► the folder says the same
//
// Promises: nobody is asked twice and nothing is erased by a slip: on a terminal
// the question must be answered with the word, elsewhere --yes must be said. A
// receipt holds no personal data, and is one JSON object a line.
//
// Caveat: who checks a receipt away from the recorder checks its signature
// only; that the keybox is gone is for the recorder's folder to show.
package erasure

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"siprecd/cmd/siprecd/tell"
	"siprecd/recorder/web"
	"siprecd/store"
	"siprecd/store/seal"
)

// ErrUsage is returned (wrapped) when the command cannot be meant like this.
var ErrUsage = errors.New("not confirmed")

// Command is siprecd erase.
type Command struct {
	IDs     []string `arg:"" name:"id" help:"Recordings; the beginning of an id is enough when only one begins so."`
	Reason  string   `required:"" placeholder:"TEXT" help:"Why; kept as a keyed hash."`
	Yes     bool     `help:"Do not ask."`
	Receipt string   `placeholder:"FILE" type:"path" help:"Write the signed receipts to this new file instead of stdout."`
}

// Env is what the command gets from outside.
type Env struct {
	Context context.Context
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Store   *store.Store // opened for writing, or one that asks the recorder
	Who     string
	Write   func(path string, produce func(io.Writer) error) error // a new file, whole or not at all
}

// Run asks, erases and hands out the receipts.
func (c *Command) Run(e Env) error {
	var rows []store.Row
	for _, id := range c.IDs {
		row, err := e.Store.Get(id)
		if err == nil && row.State == store.Live {
			err = store.ErrLive
		}
		if err != nil {
			return explain(id, err)
		}
		rows = append(rows, row)
	}
	if err := c.confirm(e, rows); err != nil {
		return err
	}
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	receipts, err := e.Store.Erase(e.Context, store.Access{Who: e.Who, Why: c.Reason}, ids...)
	if err != nil {
		return err
	}
	text := append(bytes.Join(receipts, []byte("\n")), '\n')
	if c.Receipt == "" {
		_, err = e.Stdout.Write(text)
	} else {
		err = e.Write(c.Receipt, func(w io.Writer) error { _, err := w.Write(text); return err })
	}
	if err != nil {
		return fmt.Errorf("%d recording(s) are erased, but the receipt is not written (the same command gives it again): %w", len(rows), err)
	}
	fmt.Fprintf(e.Stderr, "erased %d recording(s): no copy of them can be read\n", len(rows))
	return nil
}

// explain turns the store's refusals into what the operator can do.
func explain(id string, err error) error {
	switch {
	case errors.Is(err, store.ErrAmbiguous):
		return fmt.Errorf("more than one recording begins with %q: give more of the id (siprecd list shows it); nothing was erased", id)
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("there is no recording %q; nothing was erased", id)
	case errors.Is(err, store.ErrLive):
		return fmt.Errorf("recording %q is still live: erase it when the call has ended; nothing was erased", id)
	}
	return err
}

// confirm shows what is to go and wants a word.
func (c *Command) confirm(e Env, rows []store.Row) error {
	if c.Yes {
		return nil
	}
	if f, ok := e.Stdin.(*os.File); !ok || !terminal(f) {
		return fmt.Errorf("%w: this is no terminal; say --yes to erase %d recording(s)", ErrUsage, len(rows))
	}
	for _, r := range rows {
		fmt.Fprintf(e.Stderr, "  %s  %s UTC  %s  %s  %s\n", r.ID, r.Started.UTC().Format(time.DateTime), tell.Length(r.Duration), r.State, web.Plain(r.Line))
	}
	fmt.Fprintf(e.Stderr, "Erase %d recording(s) for good? Every copy becomes unreadable, backups included. Type erase: ", len(rows))
	answer, _ := bufio.NewReader(e.Stdin).ReadString('\n')
	if strings.TrimSpace(answer) != "erase" {
		return errors.New("nothing was erased")
	}
	return nil
}

func terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Check checks each receipt in the file against a recorder's manifest.pub and
// says so on out. With a store it also wants the recordings to be gone there;
// nil: only the signatures are checked.
func Check(out io.Writer, file, pub string, s *store.Store, dir string) error {
	key, err := os.ReadFile(pub)
	if err != nil {
		return fmt.Errorf("read the recorder's public key: %w", err)
	}
	public, err := seal.ParsePublic(key)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read receipt: %w", err)
	}
	n := 0
	for line := range bytes.Lines(text) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		n++
		r, err := store.OpenReceipt(line, public)
		if err == nil && s != nil {
			err = gone(s, dir, r.ID)
		}
		if err != nil {
			return fmt.Errorf("%s, receipt %d: %w", file, n, err)
		}
		fmt.Fprintf(out, "%s erased %s UTC: %d files, signature good%s\n", r.ID, r.Erased.Format(time.DateTime), len(r.Files),
			map[bool]string{true: ", gone from the store", false: ""}[s != nil])
	}
	if n == 0 {
		return fmt.Errorf("%s holds no receipt", file)
	}
	return nil
}

// gone says that a recording is erased in the catalogue and has no files.
func gone(s *store.Store, dir, id string) error {
	row, err := s.Get(id)
	if err != nil {
		return fmt.Errorf("recording %s: %w", id, err)
	}
	if row.State != store.Erased {
		return fmt.Errorf("recording %s is %s, not erased", id, row.State)
	}
	folder, err := store.Folder(id)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(dir, folder)); err == nil {
		return fmt.Errorf("recording %s has files in %s", id, folder)
	}
	return nil
}
