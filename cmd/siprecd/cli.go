package main

import (
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"siprecd/cmd/siprecd/auditing"
	"siprecd/cmd/siprecd/config"
)

// cli is the command line: one field per command, in the order of the help.
type cli struct {
	Config string   `help:"Configuration file. Without it: $$SIPRECD_CONFIG, ./siprecd.yaml, ./data/siprecd.yaml, /etc/siprecd/siprecd.yaml." placeholder:"FILE"`
	Set    []string `help:"Override one key of the configuration, value in YAML; may be repeated." placeholder:"KEY=VALUE" sep:"none"`

	Init         initCmd          `cmd:"" help:"Make a data folder: configuration, keys, example policy."`
	Check        checkCmd         `cmd:"" help:"Check the configuration and the policy."`
	Serve        serveCmd         `cmd:"" help:"Record calls until stopped."`
	Doctor       doctorCmd        `cmd:"" help:"Examine disk, clock, keys and certificate, and place a call."`
	Call         callCmd          `cmd:"" help:"Place SIPREC calls, as an SBC does, and say what was seen."`
	Explain      explainCmd       `cmd:"" help:"Say whether a call is recorded, and why."`
	List         listCmd          `cmd:"" help:"List the recordings, newest first."`
	Export       exportCmd        `cmd:"" help:"Write a recording as one Opus file, or sealed as it is kept."`
	Erase        eraseCmd         `cmd:"" help:"Destroy recordings, so that no copy of them can be read."`
	Verify       verifyCmd        `cmd:"" help:"Check every byte that is kept."`
	Audit        auditing.Command `cmd:"" help:"Prove and show the log of what was done with recordings."`
	Decrypt      decryptCmd       `cmd:"" help:"Open a sealed export on any machine."`
	Tail         tailCmd          `cmd:"" help:"Follow what the running server does."`
	Trace        traceCmd         `cmd:"" help:"Show the SIP messages of a call that is live or ended lately."`
	Completeness completenessCmd  `cmd:"" help:"Show how many of a day's calls were recorded, line by line."`
	Reconcile    reconcileCmd     `cmd:"" help:"Compare call records (CSV) with what was recorded."`

	Version versionCmd `cmd:"" help:"Print the version."`
}

// env is what a command gets from the outside world.
type env struct {
	ctx            context.Context // ends on SIGINT and SIGTERM
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	now            func() time.Time
	configPath     string   // --config, "" when not given
	sets           []string // --set, in order
}

func newEnv(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) *env {
	return &env{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr, getenv: os.Getenv, now: time.Now}
}

// usageError is a command line that cannot be carried out: exit code 2.
type usageError struct{ err error }

func (u usageError) Error() string { return u.err.Error() }
func (u usageError) Unwrap() error { return u.err }

// usagef makes a usageError.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// silent marks an error whose story the command has already told.
type silent struct{ error }

func (s silent) Unwrap() error { return s.error }

// dispatch parses the arguments and runs the command that they name.
func (e *env) dispatch(args []string) error {
	if fips140.Enforced() { // age's keys are refused then, and making a hybrid one would never end
		return usagef("GODEBUG=fips140=only is not supported: recordings are sealed with age, whose X25519 and ChaCha20-Poly1305 it forbids; fips140=on works")
	}
	var c cli
	left := false // kong wanted to leave: help was shown
	parser, err := kong.New(&c,
		kong.Name("siprecd"),
		kong.Description("SIPREC session recording server. Start with: siprecd init --dir DIR"),
		kong.Writers(e.stdout, e.stderr),
		kong.Exit(func(int) { left = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
	)
	if err != nil {
		return fmt.Errorf("build the command line: %w", err)
	}
	command, err := parser.Parse(args)
	if left {
		return nil
	}
	if err != nil {
		return usageError{err}
	}
	e.configPath, e.sets = c.Config, c.Set
	return command.Run(e, auditing.Opener(e.audited))
}

// config finds, reads and checks the configuration; warnings go to stderr.
// Every command that needs it calls this once.
func (e *env) config() (*config.Config, error) {
	path, err := config.Find(e.configPath, e.getenv)
	if err != nil {
		return nil, err
	}
	cfg, warnings, err := config.Load(path, e.sets, e.now())
	for _, w := range warnings {
		fmt.Fprintf(e.stderr, "warning: %s\n", w)
	}
	return cfg, err
}

// report tells the error and gives the exit code.
func (e *env) report(err error) int {
	var quiet silent
	if err != nil && !errors.As(err, &quiet) {
		fmt.Fprintf(e.stderr, "siprecd: %v\n", err)
	}
	var usage *kong.ParseError
	if errors.As(err, &usage) {
		fmt.Fprintln(e.stderr, "siprecd: try siprecd --help")
	}
	return exitCode(err)
}

// exitCode is the one place that knows the codes: 0 done, 1 failed, 2 wrong
// usage or bad configuration.
func exitCode(err error) int {
	var usage usageError
	var bad *config.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage), errors.As(err, &bad), errors.Is(err, config.ErrNotFound):
		return 2
	}
	return 1
}
