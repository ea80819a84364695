// Package auditing is siprecd audit: it proves the log of what was done, shows
// it, and hands out its newest checkpoint.
//
//	verify      files ─► prove.Verify ─► faults on stdout, verdict on stderr
//	show        files ─► events, with who and why where these are still kept
//	checkpoint  files ─► the newest signed note
//
// All of them only read, beside a running recorder or without one.
package auditing

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"siprecd/recorder/web"
	"siprecd/store/audit"
	"siprecd/store/audit/prove"
	"siprecd/store/seal"
)

// Command is siprecd audit.
type Command struct {
	Verify     Verify     `cmd:"" help:"Prove the log, against checkpoints kept elsewhere, and say where it was changed."`
	Show       Show       `cmd:"" help:"List what was done, oldest first."`
	Checkpoint Checkpoint `cmd:"" help:"Print the newest signed checkpoint, to be kept elsewhere."`
}

// Opener gives a command what it works with.
type Opener func() (Env, error)

// ErrFaults is what Verify ends with (wrapped) after it has told them.
var ErrFaults = errors.New("the audit log is not what was signed")

// Env is what a command works with.
type Env struct {
	Stdout, Stderr io.Writer
	Dir            string // the recordings folder
}

// log is the log's folder, open for reading.
type log struct {
	root *os.Root
	key  *audit.Key
	box  *seal.Box // nil without the host key
}

// open opens the folder. Without a key file the recorder's own key is taken,
// from the host key.
func open(dir, keyFile string) (*log, error) {
	l := &log{}
	host, err := seal.LoadHost(dir)
	if err != nil && keyFile == "" {
		return nil, err
	}
	if err == nil {
		if err := l.own(host); err != nil {
			return nil, err
		}
	}
	if keyFile != "" {
		text, err := os.ReadFile(keyFile)
		if err != nil {
			return nil, fmt.Errorf("read the key: %w", err)
		}
		if l.key, err = audit.ParseKey(string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", keyFile, err)
		}
	}
	l.root, err = os.OpenRoot(dir)
	return l, err
}

func (l *log) own(host *seal.Host) error {
	signer, err := host.AuditSigner()
	if err == nil {
		l.key, err = audit.NewKey(signer)
	}
	if err == nil {
		l.box, err = host.Box(audit.DetailBox, nil)
	}
	return err
}

// Verify is siprecd audit verify.
type Verify struct {
	Checkpoint []string `placeholder:"FILE" type:"path" help:"Checkpoints that were kept elsewhere: a file of a sink, or of a system log. May be repeated."`
	Key        string   `placeholder:"FILE" type:"path" help:"The recorder's audit.pub, as it was kept elsewhere. Default: derived from keys/host.key."`
	JSON       bool     `help:"One JSON object per fault."`
}

// fault is a fault as JSON.
type fault struct {
	File      string `json:"file"`
	Kind      string `json:"kind"`
	Leaf      *int64 `json:"leaf,omitempty"`
	Recording string `json:"recording,omitempty"`
	Error     string `json:"error"`
}

// Run proves the log; ErrFaults when something is wrong with it.
func (c *Verify) Run(from Opener) error {
	e, err := from()
	if err != nil {
		return err
	}
	l, err := open(e.Dir, c.Key)
	if err != nil {
		return err
	}
	defer l.root.Close()
	var outside []byte
	for _, name := range c.Checkpoint {
		text, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read the checkpoint: %w", err)
		}
		outside = append(append(outside, text...), '\n')
	}
	faults := 0
	sum, err := prove.Verify(prove.Options{Root: l.root, Key: l.key, Box: l.box, Outside: outside, Running: true, Found: func(f prove.Fault) {
		faults++
		c.tell(e, f)
	}})
	if err != nil {
		return err
	}
	if faults > 0 {
		return fmt.Errorf("%w: %d fault(s) in %s", ErrFaults, faults, filepath.Join(e.Dir, audit.Dir))
	}
	fmt.Fprintf(e.Stderr, "verified the audit log of %s: %d leaves in %d tree(s), %d stored checkpoints, no fault\n", e.Dir, sum.Leaves, sum.Trees, sum.Stored)
	for _, p := range sum.Proven {
		fmt.Fprintf(e.Stderr, "proven by a checkpoint from outside: %s\n", p.Short())
	}
	if len(sum.Proven) == 0 {
		fmt.Fprintln(e.Stderr, "no checkpoint from outside was given: whoever has the host key could have made this log anew (--checkpoint FILE)")
	}
	return nil
}

func (c *Verify) tell(e Env, f prove.Fault) {
	if !c.JSON {
		fmt.Fprintln(e.Stdout, web.Plain(f.String()))
		return
	}
	x := fault{File: f.File, Kind: f.Kind, Recording: f.Recording, Error: f.Err.Error()}
	if f.Leaf >= 0 {
		x.Leaf = &f.Leaf
	}
	_ = json.NewEncoder(e.Stdout).Encode(x) // the count on stderr and the exit code stay
}

// Show is siprecd audit show.
type Show struct {
	Recording string `placeholder:"ID" help:"Only events of this recording; the beginning of its id is enough."`
	JSON      bool   `help:"One JSON object per event."`
}

// shown is an event as JSON.
type shown struct {
	Tree string `json:"tree"`
	audit.Event
	Who string `json:"who,omitempty"`
	Why string `json:"why,omitempty"`
}

// Run lists events, oldest first.
func (c *Show) Run(from Opener) error {
	e, err := from()
	if err != nil {
		return err
	}
	l, err := open(e.Dir, "")
	if err != nil {
		return err
	}
	defer l.root.Close()
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	out := json.NewEncoder(e.Stdout)
	if !c.JSON {
		fmt.Fprintln(w, "TIME (UTC)\tWHAT\tRECORDING\tBY\tMORE")
	}
	var failed error
	err = prove.Events(l.root, l.box, func(x prove.Entry) bool {
		if !strings.HasPrefix(strings.ReplaceAll(x.Recording, "-", ""), strings.ReplaceAll(c.Recording, "-", "")) {
			return true
		}
		if c.JSON {
			s := shown{Tree: x.Tree, Event: x.Event}
			if x.Detail != nil {
				s.Who, s.Why = x.Detail.Who, x.Detail.Why
			}
			failed = out.Encode(s)
		} else {
			_, failed = fmt.Fprintln(w, row(x))
		}
		return failed == nil
	})
	return errors.Join(err, failed, w.Flush())
}

// row is an event in the table. Who and why were typed by somebody.
func row(x prove.Entry) string {
	by := x.Actor
	var more []string
	if x.Detail != nil {
		by = x.Detail.Who + " " + by
		more = append(more, x.Detail.Why)
	} else if x.Event.Detail != "" {
		more = append(more, "(who and why are not kept any more)")
	}
	if x.Result != "" {
		more = append(more, x.Result)
	}
	if x.Count > 1 {
		more = append(more, fmt.Sprintf("%d times", x.Count))
	}
	if x.Prev != "" {
		more = append(more, x.Prev)
	}
	cells := []string{x.At.UTC().Format("2006-01-02 15:04:05.000"), string(x.Kind), x.Recording, strings.TrimSpace(by), strings.Join(more, "; ")}
	for i, c := range cells {
		if cells[i] = web.Plain(c); c == "" && i < len(cells)-1 {
			cells[i] = "-"
		}
	}
	return strings.Join(cells, "\t")
}

// Checkpoint is siprecd audit checkpoint.
type Checkpoint struct{}

// Run prints the newest checkpoint, as it was signed.
func (c *Checkpoint) Run(from Opener) error {
	e, err := from()
	if err != nil {
		return err
	}
	l, err := open(e.Dir, "")
	if err != nil {
		return err
	}
	defer l.root.Close()
	names, err := audit.Trees(l.root)
	if err != nil {
		return err
	}
	for i := len(names) - 1; i >= 0; i-- {
		list, _, _, err := l.key.Stored(l.root, names[i])
		if err != nil {
			return err
		}
		if n := len(list); n > 0 {
			_, err := e.Stdout.Write(list[n-1].Note)
			return err
		}
	}
	return errors.New("there is no checkpoint in " + filepath.Join(e.Dir, audit.Dir))
}
