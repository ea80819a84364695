package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"

	"siprecd/cmd/siprecd/config"
	"siprecd/cmd/siprecd/erasure"
	"siprecd/store"
	"siprecd/store/policy"
	"siprecd/store/seal"
)

// eraseCmd destroys recordings for good; see package erasure.
type eraseCmd struct{ erasure.Command }

// Run erases, through the running server where there is one.
func (c *eraseCmd) Run(e *env) error {
	if c.Receipt != "" {
		if err := mayWrite(c.Receipt, false); err != nil {
			return err
		}
	}
	s, err := changing(e)
	if err != nil {
		return err
	}
	err = c.Command.Run(erasure.Env{
		Context: context.WithoutCancel(e.ctx), Stdin: e.stdin, Stdout: e.stdout, Stderr: e.stderr, Store: s,
		Who:   e.access(c.Reason).Who,
		Write: func(path string, produce func(io.Writer) error) error { return e.writeOutput(path, false, produce) },
	})
	err = errors.Join(err, s.Close(context.WithoutCancel(e.ctx)))
	if errors.Is(err, erasure.ErrUsage) {
		return usageError{err}
	}
	return err
}

// changing opens the recordings folder for a change: by itself, or, where a
// server has it, so that the server is asked.
func changing(e *env) (*store.Store, error) {
	cfg, err := e.config()
	if err != nil {
		return nil, err
	}
	if untouched(cfg.Store.Dir) {
		return nil, errNothing
	}
	rules, err := policy.New(cfg.Policy)
	if err != nil {
		return nil, err
	}
	s, err := store.Open(e.ctx, store.Options{
		Dir: cfg.Store.Dir, Recipients: cfg.Store.Recipients, Segment: cfg.Store.Segment, Normalise: rules.Normalise, Sinks: cfg.Audit.Sinks(),
		Logger: slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if errors.Is(err, store.ErrLocked) {
		s, _, err = kept(e)
	}
	return s, err
}

// checkReceipt is siprecd verify --receipt: with a key of the operator's the
// signature alone, away from the recorder; else the folder must say the same.
func checkReceipt(e *env, file, signedBy string) error {
	if signedBy != "" {
		return erasure.Check(e.stdout, file, signedBy, nil, "")
	}
	s, cfg, err := kept(e)
	if err != nil {
		return err
	}
	defer leave(e, s)
	return erasure.Check(e.stdout, file, manifestKey(cfg), s, cfg.Store.Dir)
}

func manifestKey(cfg *config.Config) string {
	return filepath.Join(cfg.Store.Dir, "keys", seal.ManifestFile)
}
