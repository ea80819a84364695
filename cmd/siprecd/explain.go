package main

type explainCmd struct{}

// Run implements the command.
func (explainCmd) Run(e *env) error { return nil }
