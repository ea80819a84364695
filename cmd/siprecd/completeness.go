package main

import (
	"siprecd/cmd/siprecd/tell"
	"siprecd/recorder/tally"
)

// completenessCmd shows what became of a day's calls, line by line.
type completenessCmd struct {
	Day  string `help:"YYYY-MM-DD, today or yesterday, by the policy's clock." default:"today" placeholder:"DAY"`
	JSON bool   `help:"As one JSON object."`
}

// Run reads the account that the server keeps; it is two seconds old at most.
func (c *completenessCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	day, err := tally.Named(c.Day, cfg.Policy.Timezone, e.now())
	if err != nil {
		return usagef("--day: %w", err)
	}
	account, err := tally.ReadIn(cfg.Store.Dir, day)
	if err != nil {
		return err
	}
	return tell.Account(e.stdout, account, c.JSON)
}
