package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"siprecd/siprec/siprectest"
)

// Load is what `siprecd call` places: two-party PCMA calls, all equally long.
type Load struct {
	Calls  int
	Rate   float64       // new ones a second
	Length time.Duration // of each; a multiple of 20 ms
}

// Ramp is how long it takes until the last call begins.
func (l Load) Ramp() time.Duration {
	return time.Duration(float64(l.Calls) / l.Rate * float64(time.Second))
}

// Packets is how many each leg sends.
func (l Load) Packets() uint64 { return uint64(l.Length / (20 * time.Millisecond)) }

// Caller is one `siprecd call` in a process of its own.
type Caller struct {
	cmd       *exec.Cmd
	out, errs bytes.Buffer
}

// Call begins to place calls on a server.
func (s *Server) Call(ctx context.Context, l Load) (*Caller, error) {
	c := &Caller{}
	c.cmd = exec.CommandContext(ctx, s.Bin, "call", "udp://"+s.SIP, "--to", "02088257050", "--codec", "pcma", "--shared", "--json",
		"--calls", strconv.Itoa(l.Calls), "--rate", strconv.FormatFloat(l.Rate, 'f', -1, 64), "--duration", l.Length.String())
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.errs
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start siprecd call: %w", err)
	}
	return c, nil
}

// PID is the caller's process.
func (c *Caller) PID() int { return c.cmd.Process.Pid }

// Wait waits for the calls to end. That some failed is in the report, not an
// error.
func (c *Caller) Wait() (siprectest.Report, error) {
	var r siprectest.Report
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return r, fmt.Errorf("siprecd call: %w", err)
	}
	if json.Unmarshal(c.out.Bytes(), &r) != nil || len(r.Calls) == 0 {
		return r, fmt.Errorf("siprecd call: no report: %s", bytes.TrimSpace(c.errs.Bytes()))
	}
	return r, nil
}

// Kill ends it in mid-call.
func (c *Caller) Kill() {
	_ = c.cmd.Process.Kill() // it may have ended
	_ = c.cmd.Wait()         // killed
}

// Dialled is a number without the blanks that people write.
func Dialled(number string) string { return strings.Join(strings.Fields(number), "") }
