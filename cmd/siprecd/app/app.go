// Package app is the running recorder: it wires the rooms together, serves,
// and takes everything down again in the reverse order.
//
//	New    config → store → media → recorder → SIP → HTTP; each part registers how it is closed
//	Start  serves; the channel tells the first part that fails
//	Drain  no new calls; those that are up go on to their end
//	Stop   no new calls → BYE to live ones, recordings finished → HTTP → SIP → media → store
//
// It also holds the canary, the call that a recorder places to itself and
// whose recording it opens as a user would: at start, and for the doctor.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"siprecd/cmd/siprecd/config"
	"siprecd/cmd/siprecd/sentinel"
	"siprecd/media"
	"siprecd/recorder"
	"siprecd/recorder/alarm"
	"siprecd/recorder/web"
	"siprecd/siprec"
	"siprecd/store"
	"siprecd/store/audit"
	"siprecd/store/policy"
)

// stopWithin is how long a stop may take: BYE to every client, last segments,
// manifests.
const stopWithin = 30 * time.Second

// closeWithin is how long the store may take to close after that.
const closeWithin = 5 * time.Second

// App is a recorder. Make one with New.
type App struct {
	ctx     context.Context // lives longer than the serving: finishing needs it
	cancel  context.CancelFunc
	log     *slog.Logger
	version string
	dir     string
	certs   *Certificates // nil: none

	store  *store.Store
	media  *media.Engine
	rec    *recorder.Recorder
	sip    *siprec.Server
	status net.Listener // nil: off
	web    []*http.Server
	socket net.Listener

	drain   time.Duration
	stopSIP context.CancelFunc
	group   sync.WaitGroup
	checks  []sentinel.Check
	undo    []func() error // run last to first
}

// New opens everything that a call needs. When a part cannot be opened, the
// parts before it are closed again and the error says which and why.
func New(ctx context.Context, cfg *config.Config, version string, log *slog.Logger) (*App, error) {
	ctx, cancel := context.WithCancel(ctx)
	a := &App{ctx: ctx, cancel: cancel, log: log, version: version, dir: cfg.Store.Dir, drain: cfg.Stop.Drain}
	sizeHeap()
	if err := guardMemory(); err != nil {
		log.Warn("the process's memory is not guarded", "err", err)
	}
	if err := a.open(cfg); err != nil {
		return nil, errors.Join(err, a.rollBack())
	}
	return a, nil
}

// open wires the parts from the bottom up.
func (a *App) open(cfg *config.Config) error {
	rules, err := a.rules(cfg)
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
		RefuseUnlisted: cfg.Policy.Unlisted == "refuse", Peer: peerOptions(cfg), Reserve: uint64(cfg.Store.Reserve),
		Alarms: alarm.Limits{NoMedia: cfg.Alarms.NoMedia, Silence: cfg.Alarms.Silence}, Dir: cfg.Store.Dir,
		Version: a.version, Log: a.log,
	})
	if err := a.openSIP(cfg); err != nil {
		return fmt.Errorf("open SIP: %w", err)
	}
	a.rec.Attach(a.sip)
	if err := a.openWeb(cfg); err != nil {
		return fmt.Errorf("open HTTP: %w", err)
	}
	a.checks = a.sentinels(cfg)
	return nil
}

// rules compiles the policy with one line more, the canary's.
func (a *App) rules(cfg *config.Config) (*policy.Rules, error) {
	number, err := CanaryNumber(cfg.Store.Dir)
	if err != nil {
		return nil, err
	}
	p := cfg.Policy
	p.Lines = append(slices.Clone(p.Lines), policy.Line{Name: CanaryLine, Number: number, Always: true})
	return policy.New(p)
}

func (a *App) openStore(cfg *config.Config, rules *policy.Rules) (err error) {
	a.store, err = store.Open(a.ctx, store.Options{
		Dir: cfg.Store.Dir, Recipients: cfg.Store.Recipients, Segment: cfg.Store.Segment,
		Normalise: rules.Normalise, Sinks: cfg.Audit.Sinks(), Logger: a.log,
	})
	if err == nil {
		a.store.Note(store.AuditEvent{Kind: audit.Config, Hash: cfg.Hash})
		a.onStop(a.closeStore)
	}
	return err
}

// closeStore saves what is to be saved, in bounded time also after stopWithin
// has passed.
func (a *App) closeStore() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), closeWithin)
	defer cancel()
	return a.store.Close(ctx)
}

func (a *App) openMedia(cfg *config.Config) (err error) {
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

func (a *App) openSIP(cfg *config.Config) (err error) {
	listen := make([]string, len(cfg.SIP.Listen))
	for i, l := range cfg.SIP.Listen {
		listen[i] = l.String()
	}
	var secure *tls.Config
	if cfg.SIP.TLS.Certificate != "" {
		if a.certs, err = NewCertificates(cfg.SIP.TLS, a.log); err != nil {
			return err
		}
		secure = a.certs.Server()
	}
	a.sip, err = siprec.NewServer(siprec.Config{
		Listen: listen, Peers: cfg.SIP.Peers, TLS: secure, Flood: siprec.Flood(cfg.SIP.Flood), UserAgent: "siprecd/" + a.version,
		Ready: a.rec.Admit, Logger: a.log, Handler: a.rec,
	})
	if err == nil {
		a.onStop(func() error { a.sip.Close(); return nil })
	}
	return err
}

// openWeb listens for the status page and on the control socket, which the
// commands use while the server holds the store.
func (a *App) openWeb(cfg *config.Config) error {
	w := web.New(web.Options{Source: a.rec, Tracer: a.rec, Logger: a.log})
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

// Start serves; the channel tells the first part that failed.
func (a *App) Start() <-chan error {
	failed := make(chan error, 4)
	sipCtx, stopSIP := context.WithCancel(a.ctx)
	a.stopSIP = stopSIP
	a.serve(failed, "SIP", func() error { return a.sip.Serve(sipCtx) })
	a.serve(failed, "refusals", func() error { return a.refusals(sipCtx) })
	a.serve(failed, "watch", func() error { a.rec.Watch(sipCtx); return nil })
	a.serve(failed, "guard", func() error { a.rec.Guard(sipCtx); return nil })
	a.serve(failed, "sentinel", func() error { sentinel.Run(sipCtx, a.checks, a.rec.Report, a.log); return nil })
	a.serve(failed, "control socket", func() error { return a.web[0].Serve(a.socket) })
	if a.status != nil {
		a.serve(failed, "status", func() error { return a.web[1].Serve(a.status) })
	}
	return failed
}

// serve runs one part and tells its failure, if it fails.
func (a *App) serve(failed chan<- error, name string, run func() error) {
	a.group.Go(func() {
		err := run()
		if err == nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, context.Canceled) {
			return
		}
		failed <- fmt.Errorf("%s: %w", name, err)
	})
}

// Stop refuses new calls, ends live sessions, finishes their recordings and
// closes what New opened.
func (a *App) Stop() error {
	ctx, cancel := context.WithTimeout(a.ctx, stopWithin)
	defer cancel()
	// A disk that does not take the last audio must not keep the process for
	// ever: then the next start finishes what is in the journal.
	stop := context.AfterFunc(ctx, a.cancel)
	defer stop()
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
func (a *App) onStop(f func() error) { a.undo = append(a.undo, f) }

// rollBack closes what was opened, last first.
func (a *App) rollBack() error {
	var err error
	for _, f := range slices.Backward(a.undo) {
		err = errors.Join(err, f())
	}
	a.undo = nil
	a.cancel()
	return err
}

// Reload reads the certificates again. Calls and connections go on; when the
// new files are no good, the old certificates stay.
func (a *App) Reload() {
	if a.certs != nil {
		a.certs.Reload()
	}
}

// Addrs are the bound SIP addresses, as udp://127.0.0.1:5060.
func (a *App) Addrs() []string { return a.sip.Addrs() }

// StatusURL is where the status page is; "" when it is off.
func (a *App) StatusURL() string {
	if a.status == nil {
		return ""
	}
	return "http://" + a.status.Addr().String() + "/status"
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
