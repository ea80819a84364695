package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"siprecd/cmd/siprecd/tell"
)

// tailCmd follows what a running server does.
type tailCmd struct {
	JSON bool `help:"One status object per line, as on /status."`
}

// Run follows until interrupted. It fails when no server runs on the folder,
// and when the server goes.
func (c *tailCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	client := controlClient(cfg)
	defer client.Close()
	teller := tell.New(e.stdout)
	lines := json.NewEncoder(e.stdout)
	for st, err := range client.Follow(e.ctx) {
		if err != nil {
			return err
		}
		if c.JSON {
			err = lines.Encode(st)
		} else {
			err = teller.Tell(st)
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	if e.ctx.Err() != nil {
		return nil
	}
	return errors.New("the server has stopped")
}
