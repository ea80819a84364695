package main

type initCmd struct{}

// Run implements the command.
func (initCmd) Run(e *env) error { return nil }
