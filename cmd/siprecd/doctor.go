package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"siprecd/cmd/siprecd/doctor"
)

// doctorCmd examines the recorder from the outside.
type doctorCmd struct {
	Identity string `help:"Identity that opens the test call's recording. Default: keys/console.key in the store." short:"i" placeholder:"FILE" type:"path"`
	JSON     bool   `help:"One finding per line, as JSON."`
}

// Run tells every step and fails if one of them did.
func (c *doctorCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	p := doctor.Patient{Config: cfg, Identity: identityPath(c.Identity, cfg), Version: buildVersion(), Now: e.now}
	failed := 0
	p.Examine(e.ctx, func(f doctor.Finding) {
		if f.Verdict == doctor.Failure {
			failed++
		}
		err = errors.Join(err, c.tell(e, f))
	})
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if failed > 0 {
		return fmt.Errorf("the doctor found %s", count(failed, "failure"))
	}
	return nil
}

// tell prints one finding.
func (c *doctorCmd) tell(e *env, f doctor.Finding) error {
	if c.JSON {
		return json.NewEncoder(e.stdout).Encode(f)
	}
	_, err := fmt.Fprintf(e.stdout, "%-8s  %-11s  %s\n", f.Verdict, f.Step, f.Text)
	return err
}
