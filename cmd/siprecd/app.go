package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"siprecd/cmd/siprecd/config"
	"siprecd/media"
	"siprecd/recorder"
	"siprecd/recorder/web"
	"siprecd/siprec"
	"siprecd/store"
	"siprecd/store/policy"
)

// app is the running recorder: newApp wires it, start serves, stop undoes both
// in the reverse order.
type app struct {
	ctx          context.Context // lives longer than the serving: finishing needs it
	cancel       context.CancelFunc
	log          *slog.Logger
	canaryNumber string
	opened       time.Time
	tls          *tls.Config // nil: no certificate

	store  *store.Store
	media  *media.Engine
	rec    *recorder.Recorder
	sip    *siprec.Server
	status net.Listener // nil: off
	web    []*http.Server
	socket net.Listener

	stopSIP context.CancelFunc
	group   sync.WaitGroup
	undo    []func() error // run last to first
}

// newApp opens everything that a call needs. When a part cannot be opened, the
// parts before it are closed again and the error says which and why.
func newApp(ctx context.Context, cfg *config.Config, log *slog.Logger) (*app, error) {
	ctx, cancel := context.WithCancel(ctx)
	a := &app{ctx: ctx, cancel: cancel, log: log, opened: time.Now()}
	if err := a.open(cfg); err != nil {
		return nil, errors.Join(err, a.rollBack())
	}
	return a, nil
}

// open wires the parts from the bottom up.
func (a *app) open(cfg *config.Config) error {
	rules, err := a.rules(cfg.Policy)
	if err != nil {
		return err
	}
	if err := a.openStore(cfg, rules); err != nil {
		return err
	}
	if err := a.openMedia(cfg); err != nil {
		return fmt.Errorf("open the media ports: %w", err)
	}
	a.rec = recorder.New(a.ctx, recorder.Config{
		Rules: rules, Store: a.store, Media: a.media, Address: cfg.Media.Address,
		Layout: media.Layout(cfg.Media.Layout), Bitrate: cfg.Media.Bitrate, Complexity: cfg.Media.Complexity,
		RefuseUnlisted: cfg.Policy.Unlisted == "refuse", Reserve: uint64(cfg.Store.Reserve),
		Version: buildVersion(), Log: a.log,
	})
	if err := a.openSIP(cfg); err != nil {
		return fmt.Errorf("open SIP: %w", err)
	}
	a.rec.Attach(a.sip)
	if err := a.openWeb(cfg); err != nil {
		return fmt.Errorf("open HTTP: %w", err)
	}
	return nil
}

// rules compiles the policy with one line more: the canary's, whose number
// nobody can guess and no network can dial.
func (a *app) rules(p policy.Policy) (*policy.Rules, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1e12))
	if err != nil {
		return nil, fmt.Errorf("draw the canary's number: %w", err)
	}
	a.canaryNumber = fmt.Sprintf("+999%012d", n)
	p.Lines = append(slices.Clone(p.Lines), policy.Line{Name: canaryLine, Number: a.canaryNumber, Always: true})
	return policy.New(p)
}

func (a *app) openStore(cfg *config.Config, rules *policy.Rules) (err error) {
	a.store, err = store.Open(a.ctx, store.Options{
		Dir: cfg.Store.Dir, Recipients: cfg.Store.Recipients, Segment: cfg.Store.Segment,
		Normalise: rules.Normalise, Logger: a.log,
	})
	if err == nil {
		a.onStop(func() error { return a.store.Close(a.ctx) })
	}
	return err
}

func (a *app) openMedia(cfg *config.Config) (err error) {
	a.media, err = media.Open(media.Config{
		Address: cfg.Media.Address, PortMin: cfg.Media.Ports.Min, PortMax: cfg.Media.Ports.Max,
		Allow: func(ip netip.Addr) bool { return allowed(cfg.SIP.Peers, ip) },
	})
	if err == nil {
		a.onStop(a.media.Close)
	}
	return err
}

// allowed says that an address belongs to a recording client.
func allowed(peers []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(peers, func(p netip.Prefix) bool { return p.Contains(ip.Unmap()) })
}

func (a *app) openSIP(cfg *config.Config) (err error) {
	listen := make([]string, len(cfg.SIP.Listen))
	for i, l := range cfg.SIP.Listen {
		listen[i] = l.String()
	}
	if cfg.SIP.TLS.Certificate != "" {
		if a.tls, err = serverTLS(cfg.SIP.TLS); err != nil {
			return err
		}
	}
	a.sip, err = siprec.NewServer(siprec.Config{
		Listen: listen, Peers: cfg.SIP.Peers, TLS: a.tls, UserAgent: "siprecd/" + buildVersion(),
		Ready: a.rec.Admit, Logger: a.log, Handler: a.rec,
	})
	return err
}

// openWeb listens for the status page and on the control socket, which the
// commands use while the server holds the store.
func (a *app) openWeb(cfg *config.Config) error {
	w := web.New(web.Options{Source: a.rec, Logger: a.log})
	var err error
	if a.socket, err = web.ListenControl(a.ctx, filepath.Join(cfg.Store.Dir, web.SocketName)); err != nil {
		return err
	}
	a.onStop(func() error { return ignoreClosed(a.socket.Close()) })
	a.web = append(a.web, web.NewHTTPServer(w.Control()))
	if cfg.HTTP.Listen == "" {
		return nil
	}
	if a.status, err = net.Listen("tcp", cfg.HTTP.Listen); err != nil {
		return err
	}
	a.onStop(func() error { return ignoreClosed(a.status.Close()) })
	a.web = append(a.web, web.NewHTTPServer(w.Handler()))
	return nil
}

// start serves; the channel tells the first part that failed.
func (a *app) start() <-chan error {
	failed := make(chan error, 3)
	sipCtx, stopSIP := context.WithCancel(a.ctx)
	a.stopSIP = stopSIP
	a.serve(failed, "SIP", func() error { return a.sip.Serve(sipCtx) })
	a.serve(failed, "control socket", func() error { return a.web[0].Serve(a.socket) })
	if a.status != nil {
		a.serve(failed, "status", func() error { return a.web[1].Serve(a.status) })
	}
	return failed
}

// serve runs one part and tells its failure, if it fails.
func (a *app) serve(failed chan<- error, name string, run func() error) {
	a.group.Go(func() {
		err := run()
		if err == nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, context.Canceled) {
			return
		}
		failed <- fmt.Errorf("%s: %w", name, err)
	})
}

// stop refuses new calls, ends live sessions, finishes their recordings and
// closes what newApp opened.
func (a *app) stop() error {
	ctx, cancel := context.WithTimeout(a.ctx, stopWithin)
	defer cancel()
	a.rec.Drain()
	err := a.sip.Shutdown(ctx)
	a.stopSIP()
	for _, s := range a.web {
		err = errors.Join(err, s.Close())
	}
	a.group.Wait()
	return errors.Join(err, a.rollBack())
}

// onStop registers how a part is closed, right after it was opened.
func (a *app) onStop(f func() error) { a.undo = append(a.undo, f) }

// rollBack closes what was opened, last first.
func (a *app) rollBack() error {
	var err error
	for _, f := range slices.Backward(a.undo) {
		err = errors.Join(err, f())
	}
	a.undo = nil
	a.cancel()
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
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
