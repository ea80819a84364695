// Command siprecd is a SIPREC session recording server: it records the calls
// of listed lines that a session border controller forks to it.
//
// main is a hallway: arguments go to run, run parses them with kong and calls
// the Run method of one command. A command is a struct with its flags and a
// method Run(*env) error in a file of its own; a field of cli makes it known.
// Errors become exit codes in exitCode and nowhere else.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program: it returns the exit code. It is main's body and the
// entry of the tests.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := newEnv(ctx, stdin, stdout, stderr)
	return e.report(e.dispatch(args))
}
