// Package doctor examines a recorder from the outside, as the engineer does
// who is called at night: is there room, is the clock right, can the ports be
// had, do the keys open what is sealed to them, is the certificate good, and
// does a real call come out as a recording that can be opened and heard?
//
// The last step is the one that counts. It speaks SIPREC to the running
// server through its own listener; where no server runs on the folder, one is
// started for the length of the call. Every step is told with what was
// measured, so that a good report says something too.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"siprecd/cmd/siprecd/app"
	"siprecd/cmd/siprecd/config"
	"siprecd/recorder"
	"siprecd/recorder/web"
	"siprecd/store"
)

// Verdict is how a step went.
type Verdict string

// A warning is something to see to; a failure keeps calls from being recorded
// or recordings from being opened.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warning"
	Failure Verdict = "failure"
)

// Finding is what one step found.
type Finding struct {
	Step    string  `json:"step"`
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
}

// Patient is what is examined.
type Patient struct {
	Config   *config.Config
	Identity string // file of the console's age identity
	Version  string
	Now      func() time.Time
}

// Examine runs every step and tells each as it is done. A step that fails does
// not keep the next from being tried.
func (p Patient) Examine(ctx context.Context, tell func(Finding)) {
	for _, s := range []struct {
		name string
		run  func(context.Context) (Verdict, string)
	}{
		{"disk", p.disk}, {"clock", p.clock}, {"keys", p.keys}, {"certificate", p.certificate},
		{"server", p.server}, {"call", p.call},
	} {
		v, text := s.run(ctx)
		tell(Finding{s.name, v, text})
	}
}

// disk measures room, and what one durable write costs.
func (p Patient) disk(context.Context) (Verdict, string) {
	dir := p.Config.Store.Dir
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Failure, fmt.Sprintf("%s: %v", dir, err)
	}
	free := st.Bavail * uint64(st.Bsize)
	took, err := syncedWrite(dir)
	if err != nil {
		return Failure, fmt.Sprintf("cannot write in %s: %v", dir, err)
	}
	text := fmt.Sprintf("%d MiB free, a durable write takes %.1f ms", free>>20, float64(took.Microseconds())/1000)
	switch {
	case free < uint64(p.Config.Store.Reserve):
		return Failure, text + fmt.Sprintf("; below store.reserve of %s, so new calls are refused", p.Config.Store.Reserve)
	case free < 2*uint64(p.Config.Store.Reserve):
		return Warning, text + "; near store.reserve"
	case took > 100*time.Millisecond:
		return Warning, text + "; every call waits for two of them before it is answered"
	}
	return OK, text
}

// syncedWrite times a small file that is made durable.
func syncedWrite(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	began := time.Now()
	_, err = f.Write(make([]byte, 4096))
	err = errors.Join(err, f.Sync())
	took := time.Since(began)
	return took, errors.Join(err, f.Close())
}

// clock asks the kernel whether anything keeps its clock right: recordings are
// evidence, and retention counts days.
func (p Patient) clock(context.Context) (Verdict, string) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return Warning, fmt.Sprintf("the kernel does not tell whether the clock is kept: %v", err)
	}
	now := p.Now().UTC().Format(time.RFC3339)
	if state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0 {
		return Warning, now + ", not synchronised: run an NTP client on this machine"
	}
	return OK, fmt.Sprintf("%s, synchronised, largest error %d ms", now, t.Maxerror/1000)
}

// keys checks the key files and that the console's identity opens a keybox.
func (p Patient) keys(ctx context.Context) (Verdict, string) {
	if len(p.Config.Store.Recipients) < 2 {
		return Warning, "recordings are sealed to one recipient only: add the escrow's"
	}
	ids, err := app.ReadIdentities(p.Identity)
	if errors.Is(err, fs.ErrNotExist) {
		return Warning, p.Identity + " is not here: give it with --identity to have the call's recording opened"
	}
	if err != nil {
		return Failure, err.Error()
	}
	err = tryKeybox(p.Config.Store.Recipients, ids)
	if err != nil {
		return Failure, fmt.Sprintf("%s does not open what is sealed to store.recipients: %v", p.Identity, err)
	}
	return OK, fmt.Sprintf("%d recipients; %s opens what is sealed to them", len(p.Config.Store.Recipients), p.Identity)
}

// certificate looks at what the tls:// listeners show.
func (p Patient) certificate(context.Context) (Verdict, string) {
	c := p.Config.SIP.TLS
	secure := slices.ContainsFunc(p.Config.SIP.Listen, func(l config.Listener) bool { return l.Transport == "tls" })
	if !secure {
		return OK, "no tls:// listener"
	}
	t, err := app.ServerTLS(c)
	if err != nil {
		return Failure, err.Error()
	}
	leaf := t.Certificates[0].Leaf
	left := leaf.NotAfter.Sub(p.Now())
	text := fmt.Sprintf("%s for %v, good until %s", filepath.Base(c.Certificate), names(leaf), leaf.NotAfter.UTC().Format(time.DateOnly))
	switch {
	case left < 0:
		return Failure, text + ": it has expired"
	case p.Now().Before(leaf.NotBefore):
		return Failure, text + ": it is not valid yet"
	case left < 21*24*time.Hour:
		return Warning, text + ": renew it"
	}
	return OK, text
}

// server asks the running server how it is.
func (p Patient) server(ctx context.Context) (Verdict, string) {
	st, err := p.status(ctx)
	switch {
	case errors.Is(err, web.ErrNoServer):
		return OK, "none runs on this folder; one is started for the call"
	case err != nil:
		return Failure, err.Error()
	case !st.OK && len(st.Problems) == len(st.Faults): // calls are recorded all the same
		return Warning, st.Sentence
	case !st.OK:
		return Failure, st.Sentence
	}
	return OK, st.Sentence
}

// status is the running server's account.
func (p Patient) status(ctx context.Context) (recorder.Status, error) {
	c := web.NewClient(filepath.Join(p.Config.Store.Dir, web.SocketName))
	defer c.Close()
	for st, err := range c.Follow(ctx) {
		return st, err
	}
	return recorder.Status{}, ctx.Err()
}

// call places the canary.
func (p Patient) call(ctx context.Context) (Verdict, string) {
	res, err := p.canary(ctx)
	if err != nil {
		return Failure, err.Error()
	}
	return OK, fmt.Sprintf("%s answered in %.0f ms; %.2f s recorded of a call of %.2f s; decrypted; caller left %.1f dBFS, our side right %.1f dBFS, leakage %.0f dB",
		res.Target, float64(res.Setup.Microseconds())/1000, res.Length.Seconds(), res.Call.Seconds(), res.Left, res.Right, res.Leakage)
}

// canary goes to the running server, or to one that is started for it.
func (p Patient) canary(ctx context.Context) (res *app.CanaryResult, err error) {
	st, err := p.status(ctx)
	if errors.Is(err, web.ErrNoServer) {
		return p.ownCanary(ctx)
	}
	if err != nil {
		return nil, err
	}
	s, err := store.Open(ctx, store.Options{Dir: p.Config.Store.Dir, ReadOnly: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close(ctx)) }()
	number, err := app.CanaryNumber(p.Config.Store.Dir)
	if err != nil {
		return nil, err
	}
	c := app.Canary{Store: s, Target: app.CanaryTarget(st.Listen), Number: number, Identity: p.Identity}
	if p.Config.SIP.TLS.Certificate != "" {
		t, err := app.ServerTLS(p.Config.SIP.TLS)
		if err != nil {
			return nil, err
		}
		c.TLS = app.PinnedTLS(t.Certificates[0])
	}
	return c.Run(ctx)
}

// ownCanary starts a recorder with the same configuration for one call.
func (p Patient) ownCanary(ctx context.Context) (*app.CanaryResult, error) {
	a, err := app.New(context.WithoutCancel(ctx), p.Config, p.Version, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	failed := a.Start()
	res, err := a.Canary(ctx, p.Identity)
	select {
	case more := <-failed:
		err = errors.Join(err, more)
	default:
	}
	return res, errors.Join(err, a.Stop())
}
