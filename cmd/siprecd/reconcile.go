package main

import (
	"errors"

	"siprecd/cmd/siprecd/app"
	"siprecd/cmd/siprecd/reconcile"
	"siprecd/recorder/web"
)

// reconcileCmd compares call records with recordings; it fails when a call is
// missing or cut short.
type reconcileCmd struct {
	reconcile.Flags `embed:""`
}

// Run compares. It reads the list of recordings and opens none.
func (c *reconcileCmd) Run(e *env) error {
	s, cfg, err := kept(e)
	if err != nil && !errors.Is(err, errNothing) {
		return err
	}
	if s != nil {
		defer leave(e, s)
	}
	records, rules, err := c.Records(e.stdin, cfg.Policy)
	if err != nil {
		return usageError{err}
	}
	report, err := c.Compare(e.ctx, s, rules, records, app.CanaryLine)
	if err != nil {
		return err
	}
	if err := c.Write(e.stdout, report, web.Plain); err != nil {
		return err
	}
	if !report.OK() {
		return silent{errors.New("calls are missing, too short or recorded in part")}
	}
	return nil
}
