package main

import "siprecd/cmd/siprecd/auditing"

// audited is what siprecd audit works on; kong hands it to its commands.
func (e *env) audited() (auditing.Env, error) {
	cfg, err := e.config()
	if err != nil {
		return auditing.Env{}, err
	}
	return auditing.Env{Stdout: e.stdout, Stderr: e.stderr, Dir: cfg.Store.Dir}, nil
}
