package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"siprecd/cmd/siprecd/config"
	"siprecd/recorder/web"
	"siprecd/store"
	"siprecd/store/policy"
)

// kept opens the recordings folder for reading: the store asks the running
// server where there is one, and reads by itself where there is none.
func kept(e *env) (*store.Store, *config.Config, error) {
	cfg, err := e.config()
	if err != nil {
		return nil, nil, err
	}
	rules, err := policy.New(cfg.Policy)
	if err != nil {
		return nil, nil, err
	}
	s, err := store.Open(e.ctx, store.Options{
		Dir:       cfg.Store.Dir,
		Normalise: rules.Normalise,
		Sinks:     cfg.Audit.Sinks(),
		Logger:    slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		ReadOnly:  true,
	})
	if errors.Is(err, fs.ErrNotExist) && untouched(cfg.Store.Dir) {
		err = errNothing
	}
	return s, cfg, err
}

// errNothing means that no server has run on the folder yet.
var errNothing = errors.New("nothing has been recorded in this folder yet")

// untouched is a folder as siprecd init leaves it: keys, but nothing that a
// server makes. A folder that has lost its catalogue is not one.
func untouched(dir string) bool {
	_, keys := os.Stat(filepath.Join(dir, "keys"))
	_, made := os.Stat(filepath.Join(dir, "recordings"))
	return keys == nil && errors.Is(made, fs.ErrNotExist)
}

// leave closes a store that was only read: nothing is lost when that fails.
func leave(e *env, s *store.Store) { _ = s.Close(context.WithoutCancel(e.ctx)) }

// controlClient reaches the server that runs on the folder.
func controlClient(cfg *config.Config) *web.Client {
	return web.NewClient(filepath.Join(cfg.Store.Dir, web.SocketName))
}

// access says who runs this command: the user id, which cannot be lied about,
// and the name that goes with it for whoever reads the log.
func (e *env) access(why string) store.Access {
	name := e.getenv("SUDO_USER")
	if name == "" {
		name = e.getenv("LOGNAME")
	}
	who := "uid " + strconv.Itoa(os.Getuid())
	if name != "" {
		who += " (" + web.Plain(name) + ")"
	}
	return store.Access{Who: who, Why: why}
}
