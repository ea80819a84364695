// Command torture tries what a recorder is trusted with in the worst minute,
// and writes one table of what came out: make torture.
//
//	rows of crash, disk, clock, capture, book, attack, inject, theft, watch ─► rig.Run ─► table
//
// Every row runs the real binary on real sockets and files, one after the
// other; with -row it runs those alone, with -rounds in fewer rounds. Figures
// are printed as they come, and at the end the table. It goes to -out only when
// all rows ran in full: a part must not pass for the whole.
//
// It ends with 0 when every row passed; 1 when one failed or the run was cut
// short; 2 for wrong usage; 3 when none failed, but the machine could not run
// some: those are no pass. Ctrl-C ends the row that runs, cleans up after it,
// and prints what there is; a second one ends at once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"siprecd/cmd/torture/attack"
	"siprecd/cmd/torture/book"
	"siprecd/cmd/torture/capture"
	"siprecd/cmd/torture/clock"
	"siprecd/cmd/torture/crash"
	"siprecd/cmd/torture/disk"
	"siprecd/cmd/torture/fault"
	"siprecd/cmd/torture/inject"
	"siprecd/cmd/torture/rig"
	"siprecd/cmd/torture/theft"
	"siprecd/cmd/torture/watch"
)

func main() {
	if err := fault.Launch(); err != nil { // it does not return when it has worked
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(failed)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal is the system's
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// all are the rows in the order of the table.
func all() []rig.Row {
	return slices.Concat(crash.Rows(), disk.Rows(), clock.Rows(), capture.Rows(), book.Rows(), attack.Rows(), inject.Rows(), theft.Rows(), watch.Rows())
}

// The exit codes.
const (
	passed = iota
	failed
	misused
	incomplete
)

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	fs := flag.NewFlagSet("torture", flag.ContinueOnError)
	fs.SetOutput(errs)
	bin := fs.String("bin", "bin/siprecd", "the siprecd to torture")
	only := fs.String("row", "", "rows to run, by comma; empty for all")
	rounds := fs.Int("rounds", 0, "rounds of each row; 0 for its full number")
	file := fs.String("out", "", "file for the table of a full run")
	if err := fs.Parse(args); err != nil {
		return misused
	}
	rows, err := choose(all(), *only)
	switch {
	case err != nil:
	case *rounds < 0:
		err = errors.New("-rounds cannot be negative")
	case fs.NArg() > 0:
		err = fmt.Errorf("what is %q for? Rows are named with -row", fs.Arg(0))
	case *file != "" && (*only != "" || *rounds != 0):
		err = errors.New("-out is for a full run: without -row and -rounds")
	}
	if err != nil {
		fmt.Fprintln(errs, "torture:", err)
		return misused
	}
	r := report{began: time.Now(), about: about(ctx, *bin)}
	r.done = attempt(ctx, rows, *bin, *rounds, out)
	r.took = time.Since(r.began)
	text := r.table()
	fmt.Fprint(out, "\n", text)
	if *file != "" && ctx.Err() == nil {
		if err := replace(*file, text); err != nil {
			fmt.Fprintln(errs, "torture: write the table:", err)
			return failed
		}
	}
	return r.code()
}

// attempt runs the rows one after the other. Those that are not reached when
// ctx ends are results too.
func attempt(ctx context.Context, rows []rig.Row, bin string, rounds int, out io.Writer) []rig.Result {
	var done []rig.Result
	began := time.Now()
	for i, row := range rows {
		if ctx.Err() != nil {
			done = append(done, rig.Result{Row: row, Err: errors.New("the run was cut short")})
			continue
		}
		fmt.Fprintf(out, "%s (%d of %d, %v so far): %s\n", row.ID, i+1, len(rows), time.Since(began).Round(time.Second), row.What)
		r := rig.Run(ctx, row, bin, rounds, out)
		fmt.Fprintf(out, "  %s after %v\n", verdict(r), r.Took.Round(time.Millisecond))
		done = append(done, r)
	}
	return done
}

// replace writes a file as a whole or not at all.
func replace(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".torture-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it is of no use
	}
	return err
}

// choose picks rows by their names, in the order of the names, each once.
func choose(rows []rig.Row, only string) ([]rig.Row, error) {
	if only == "" {
		return rows, nil
	}
	var out []rig.Row
	for id := range strings.SplitSeq(only, ",") {
		id = strings.TrimSpace(id)
		named := func(r rig.Row) bool { return strings.EqualFold(r.ID, id) }
		i := slices.IndexFunc(rows, named)
		if i < 0 {
			return nil, fmt.Errorf("there is no row %q; there are %s", id, names(rows))
		}
		if !slices.ContainsFunc(out, named) {
			out = append(out, rows[i])
		}
	}
	return out, nil
}

func names(rows []rig.Row) string {
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	return strings.Join(ids, " ")
}

// about says what was tried, and on what.
func about(ctx context.Context, bin string) string {
	said := func(name string, args ...string) string {
		out, err := exec.CommandContext(ctx, name, args...).Output()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("%s, libopus %s, %d cores, %s", said(bin, "version"), said("pkg-config", "--modversion", "opus"), runtime.NumCPU(), system())
}

// system is what the machine's system calls itself.
func system() string {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return runtime.GOOS
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(v, `"`)
		}
	}
	return runtime.GOOS
}
