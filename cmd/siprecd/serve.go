package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"siprecd/cmd/siprecd/config"
)

// stopWithin is how long a stop may take: BYE to every client, last segments,
// manifests.
const stopWithin = 30 * time.Second

// serveCmd runs the recorder until SIGINT or SIGTERM.
type serveCmd struct {
	Canary   bool   `help:"Place one call to the server itself first, and check its recording."`
	Identity string `help:"Identity that opens the canary's recording. Default: keys/console.key in the store." short:"i" placeholder:"FILE" type:"path"`
}

// Run serves. It fails before it has taken a call when anything that a call
// needs is missing.
func (c *serveCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	a, err := newApp(context.WithoutCancel(e.ctx), cfg, newLogger(cfg.Log, e.stderr))
	if err != nil {
		return err
	}
	failed := a.start()
	err = c.announce(e, a, cfg)
	if err == nil {
		select {
		case <-e.ctx.Done():
		case err = <-failed:
		}
	}
	fmt.Fprintln(e.stderr, "siprecd: stopping: live recordings are being finished")
	return errors.Join(err, a.stop())
}

// announce runs the canary if it is wanted and prints the banner.
func (c *serveCmd) announce(e *env, a *app, cfg *config.Config) error {
	if !c.Canary {
		return banner(e.stdout, a, cfg, nil)
	}
	ctx, cancel := context.WithTimeout(e.ctx, canaryWithin)
	defer cancel()
	res, err := a.canary(ctx, identityPath(c.Identity, cfg))
	if err != nil {
		return fmt.Errorf("canary call failed: %w", err)
	}
	return banner(e.stdout, a, cfg, res)
}
