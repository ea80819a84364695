package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"siprecd/recorder"
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
	teller := &teller{out: e.stdout}
	lines := json.NewEncoder(e.stdout)
	for st, err := range client.Follow(e.ctx) {
		if err != nil {
			return err
		}
		if c.JSON {
			err = lines.Encode(st)
		} else {
			err = teller.tell(st)
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

// callEnd words what became of a call that is live no more.
func callEnd(c recorder.LiveCall) string {
	var packets, lost uint64
	for _, leg := range c.Legs {
		packets += leg.Packets
		lost += leg.Lost
	}
	return fmt.Sprintf("after %s, %d packets, %d lost", clockLength(c.Seconds), packets, lost)
}
