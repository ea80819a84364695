package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"siprecd/cmd/siprecd/config"
	"siprecd/recorder"
	"siprecd/recorder/web"
	"siprecd/siprec/trace"
)

// traceCmd shows what an SBC and the running server said to each other.
type traceCmd struct {
	Call    string `arg:"" optional:"" help:"Beginning of a recording id, or a Call-ID."`
	Last    bool   `help:"The call that began last."`
	Refused bool   `help:"The INVITEs that were refused lately."`
	Raw     bool   `help:"The messages whole; keys are overwritten."`
	Pcap    string `help:"Write the messages as a capture file, for Wireshark and others." placeholder:"FILE" type:"path"`
}

// Run asks the server over its control socket. What it prints holds numbers
// and names.
func (c *traceCmd) Run(e *env) error {
	if chosen := []bool{c.Call != "", c.Last, c.Refused}; count1(chosen) != 1 {
		return usagef("give a recording id or Call-ID, or --last, or --refused")
	}
	cfg, err := e.config()
	if err != nil {
		return err
	}
	calls, err := fetchTraces(e, cfg, recorder.TraceQuery{Call: c.Call, Last: c.Last, Refused: c.Refused})
	if err != nil {
		return err
	}
	if len(calls) == 0 {
		return errors.New("no such call is remembered: only live and recent ones are, since the server's start")
	}
	if c.Pcap != "" {
		return c.capture(e, calls)
	}
	for i, t := range calls {
		if i > 0 {
			fmt.Fprintln(e.stdout)
		}
		if err := c.show(e.stdout, t); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

func count1(of []bool) int {
	n := 0
	for _, b := range of {
		if b {
			n++
		}
	}
	return n
}

func fetchTraces(e *env, cfg *config.Config, q recorder.TraceQuery) ([]recorder.Traced, error) {
	client := controlClient(cfg)
	defer client.Close()
	return client.Trace(e.ctx, q)
}

// show prints one call: what is known of it, then its ladder or its messages.
func (c *traceCmd) show(w io.Writer, t recorder.Traced) error {
	name := "no recording is remembered" // not to be recorded, or long over: then siprecd list has it
	switch {
	case t.ID != "":
		name = "recording " + t.ID
	case t.Dialog.State == "refused":
		name = "not recorded"
	}
	if t.Line != "" {
		name += ", " + web.Plain(t.Line)
	}
	state := string(t.Dialog.State)
	if state == "" {
		state = "its messages are no longer remembered"
	}
	fmt.Fprintf(w, "%s, %s\nCall-ID %s\n", name, state, web.Plain(t.Dialog.CallID))
	if c.Raw {
		return t.Dialog.WriteRaw(w)
	}
	return t.Dialog.WriteLadder(w, t.Events)
}

// capture writes the messages of all calls in the order of time. The file is
// readable by its owner only: it holds what a call's metadata holds.
func (c *traceCmd) capture(e *env, calls []recorder.Traced) error {
	var all []trace.Message
	for _, t := range calls {
		all = append(all, t.Dialog.Messages...)
	}
	slices.SortStableFunc(all, func(a, b trace.Message) int { return a.At.Compare(b.At) })
	f, err := os.OpenFile(c.Pcap, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	// A file that was there before has the mode that it had.
	if err := errors.Join(f.Chmod(0o600), trace.WritePcap(f, all), f.Close()); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s: %s of %s\n", c.Pcap, count(len(all), "message"), count(len(calls), "call"))
	return nil
}
