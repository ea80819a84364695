package app

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"
)

// Loopback says what is wrong with an address that profiles are to be served
// at: they tell how the process works inside and ask for no password, so only
// this machine may see them. A name is not taken, for it may come to mean
// another machine.
func Loopback(addr string) error {
	at, err := netip.ParseAddrPort(addr)
	switch {
	case err != nil:
		return fmt.Errorf("profiles cannot be served at %q: write an address and a port, for example 127.0.0.1:6060", addr)
	case !at.Addr().Unmap().IsLoopback():
		return fmt.Errorf("profiles are not served at %s: only this machine may see them; use 127.0.0.1:%d, and ssh -L from elsewhere", addr, at.Port())
	}
	return nil
}

// ServeProfiles serves Go's profiles at an address of this machine until Stop,
// on a listener of their own: the status page never leads there.
func (a *App) ServeProfiles(addr string) error {
	if err := Loopback(addr); err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("serve profiles: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	// Writing is not limited: a profile takes as long as was asked for.
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	a.web = append(a.web, server) // which Stop closes
	a.group.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("profiles are no longer served", "err", err)
		}
	})
	return nil
}
