package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"siprecd/cmd/siprecd/app"
	"siprecd/cmd/siprecd/config"
	"siprecd/store/seal"
)

// serveCmd runs the recorder until SIGINT or SIGTERM; SIGHUP reads the
// certificates again. SIGTERM is a service manager's: live calls may end by
// themselves for as long as shutdown.drain says. SIGINT is a person's at the
// terminal who wants an end: live calls are ended with BYE and all is finished.
type serveCmd struct {
	Canary   bool   `help:"Place one call to the server itself first, and check its recording."`
	Identity string `help:"Identity that opens the canary's recording. Default: keys/console.key in the store." short:"i" placeholder:"FILE" type:"path"`
	Pprof    string `help:"Serve Go's profiles at this address, for example 127.0.0.1:6060; only addresses of this machine are taken." placeholder:"ADDR"`
}

// Validate refuses a wrong command line before anything is opened; kong calls it.
func (c *serveCmd) Validate() error {
	if c.Pprof == "" {
		return nil
	}
	return app.Loopback(c.Pprof)
}

// Run serves. It fails before it has taken a call when anything that a call
// needs is missing.
func (c *serveCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE)
	reload, end := make(chan os.Signal, 1), make(chan os.Signal, 2)
	signal.Notify(reload, syscall.SIGHUP)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(reload)
	defer signal.Stop(end)
	a, err := app.New(context.WithoutCancel(e.ctx), cfg, buildVersion(), newLogger(cfg.Log, e.stderr))
	if err != nil {
		return err
	}
	failed := a.Start()
	if c.Pprof != "" {
		err = a.ServeProfiles(c.Pprof)
	}
	if err == nil {
		err = c.announce(e, a, cfg)
	}
	for serving := err == nil; serving; {
		select {
		case <-e.ctx.Done():
			err = a.Drain(e.stderr, end, failed)
			serving = false
		case err = <-failed:
			serving = false
		case <-reload:
			a.Reload()
		}
	}
	fmt.Fprintln(e.stderr, "siprecd: stopping: live recordings are being finished")
	return errors.Join(err, a.Stop())
}

// announce runs the canary if it is wanted and prints the banner.
func (c *serveCmd) announce(e *env, a *app.App, cfg *config.Config) error {
	if !c.Canary {
		return a.Banner(e.stdout, cfg, nil)
	}
	res, err := a.Canary(e.ctx, identityPath(c.Identity, cfg))
	if err != nil {
		return fmt.Errorf("canary call failed: %w", err)
	}
	return a.Banner(e.stdout, cfg, res)
}

// identityPath is the identity that opens recordings here.
func identityPath(flag string, cfg *config.Config) string {
	if flag != "" {
		return flag
	}
	return filepath.Join(cfg.Store.Dir, "keys", seal.ConsoleKeyFile)
}

// newLogger makes the server's logger on w.
func newLogger(cfg config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.Level)) // the configuration allows only its names
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
