package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"siprecd/cmd/siprecd/config"
	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
)

// callCmd places SIPREC calls as an SBC does, and tells what it saw.
type callCmd struct {
	Target string `arg:"" optional:"" help:"Recorder: udp://host:port, tcp://host:port or tls://host:port. Default: the configuration's first listener."`

	From string `help:"Caller's number." default:"02079460123"`
	To   string `help:"Number called. Default: the policy's first line." placeholder:"NUMBER"`

	Caller  string        `help:"WAV file of the caller's leg. Default: built-in speech." placeholder:"FILE" type:"existingfile"`
	Agent   string        `help:"WAV file of our side's leg. Default: built-in speech." placeholder:"FILE" type:"existingfile"`
	Codec   string        `help:"pcma or pcmu." enum:"pcma,pcmu" default:"pcma"`
	Ptime   time.Duration `help:"Audio in a packet." default:"20ms"`
	Dialect string        `help:"Metadata: rfc7865, draft, broadworks or none." enum:"rfc7865,draft,broadworks,none" default:"rfc7865"`

	Calls      int           `help:"Number of calls." default:"1"`
	Rate       float64       `help:"New calls a second; 0: all at once." default:"0"`
	Concurrent int           `help:"Most calls at a time; 0: no limit." default:"0"`
	Duration   time.Duration `help:"Length of a call; 0: that of the longest audio." default:"0s"`

	Loss      float64       `help:"Fraction of packets lost." default:"0"`
	Reorder   float64       `help:"Fraction of packets swapped with the next." default:"0"`
	Duplicate float64       `help:"Fraction of packets sent twice." default:"0"`
	Late      time.Duration `help:"Our side's leg starts so much later." default:"0s"`
	Skew      float64       `help:"Our side's clock is fast by so many ppm." default:"0"`
	Seed      uint64        `help:"Seed of loss, reorder and duplicate." default:"1"`
	NoBye     bool          `help:"Vanish instead of ending the call."`
	Shared    bool          `help:"Send the media of all calls from two ports: cheaper, for load."`

	CA   string `help:"TLS: certificates that the recorder's is checked against." placeholder:"FILE" type:"existingfile"`
	Cert string `help:"TLS: client certificate." placeholder:"FILE" type:"existingfile"`
	Key  string `help:"TLS: key of the client certificate." placeholder:"FILE" type:"existingfile"`
	JSON bool   `help:"Print the report as JSON."`
}

// Run implements the command. It fails when a call was not answered with 200
// or did not end as it should.
func (c *callCmd) Run(e *env) error {
	o, err := c.options(e)
	if err != nil {
		return err
	}
	report, err := siprectest.Run(e.ctx, o)
	if err != nil {
		if errors.Is(err, siprectest.ErrOptions) {
			return usageError{err}
		}
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(e.stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(report)
	} else {
		_, err = fmt.Fprintln(e.stdout, strings.TrimRight(report.String(), "\n"))
	}
	if err != nil {
		return err
	}
	if failed := report.Totals.Calls - report.Totals.Completed; failed > 0 {
		return fmt.Errorf("%d of %d calls failed", failed, report.Totals.Calls)
	}
	return nil
}

// options are the flags in the client's terms; what the flags leave out comes
// from the configuration, if there is one.
func (c *callCmd) options(e *env) (siprectest.Options, error) {
	o := siprectest.Options{
		Target: c.Target, From: c.From, To: c.To, UserAgent: "siprecd-call/" + buildVersion(),
		Dialect: c.Dialect, Codec: c.Codec, Ptime: c.Ptime, Duration: c.Duration,
		Loss: c.Loss, Reorder: c.Reorder, Duplicate: c.Duplicate, Seed: c.Seed,
		Calls: c.Calls, Rate: c.Rate, Concurrent: c.Concurrent,
		Faults: siprectest.Faults{NoBye: c.NoBye}, SharePorts: c.Shared,
	}
	if o.Target == "" || o.To == "" {
		cfg, err := e.config()
		if err != nil {
			return o, fmt.Errorf("neither target and --to nor a configuration: %w", err)
		}
		fillFrom(&o, cfg)
	}
	o.From, o.To = dialled(o.From), dialled(o.To)
	var err error
	if o.Legs, err = c.legs(); err != nil {
		return o, err
	}
	o.TLS, err = c.tls()
	return o, err
}

// dialled is a number as it is put into a SIP URI: without the blanks that
// people write.
func dialled(number string) string { return strings.Join(strings.Fields(number), "") }

// fillFrom takes the first listener and the first line.
func fillFrom(o *siprectest.Options, cfg *config.Config) {
	if o.Target == "" {
		o.Target = cfg.SIP.Listen[0].String()
	}
	if o.To == "" && len(cfg.Policy.Lines) > 0 {
		o.To = cfg.Policy.Lines[0].Number
	}
}

// legs are the caller's and ours.
func (c *callCmd) legs() ([]siprectest.Leg, error) {
	legs, err := siprectest.Conversation()
	if err != nil {
		return nil, err
	}
	for i, path := range []string{c.Caller, c.Agent} {
		if path == "" {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read audio: %w", err)
		}
		channels, err := audio.ReadWAV(b)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		legs[i].Audio = channels[0]
	}
	legs[1].Start, legs[1].SkewPPM = c.Late, c.Skew
	return legs, nil
}

// tls is the client's side of a tls:// target.
func (c *callCmd) tls() (*tls.Config, error) {
	if c.CA == "" && c.Cert == "" {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("read --ca: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usagef("--ca: no certificate in %s", c.CA)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("read --cert and --key: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}
