package main

import "siprecd/cmd/siprecd/setup"

// initCmd makes a data folder; see package setup.
type initCmd struct{ setup.Command }

// Run implements the command.
func (c *initCmd) Run(e *env) error { return c.Command.Run(e.stdout) }
