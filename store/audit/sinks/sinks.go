// Package sinks carries the audit log's checkpoints out of the recorder's reach:
// to files, to a system log, to a web address.
//
//	Send ─► queue of each sink (newest 16) ─► file: append, sync
//	                                       ─► syslog: RFC 5424, facility 13 (log audit)
//	                                       ─► http, https: POST, 2xx
//
// Each sink has a goroutine of its own and is tried again, from every second to
// every half minute, until it takes what waits; Send never blocks. States says
// which of them fail. A checkpoint says all that the ones before it said, so it
// is no loss when old ones drop out of a full queue.
//
// Caveat: a datagram to a system log on another machine is not answered, so
// that its loss is not seen unless the machine says that nobody listens.
package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits of delivery.
const (
	maxQueue  = 16
	within    = 5 * time.Second // one try
	firstWait = time.Second
	maxWait   = 30 * time.Second
	farewell  = 2 * time.Second // for what waits when the sinks are closed
)

// Target is where checkpoints go, as it is configured.
type Target struct{ url *url.URL }

// Parse reads file:///path, syslog:// (this machine's), syslog://host:port
// (UDP), http://… or https://….
func Parse(text string) (Target, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Target{}, errors.New("not a URL: write file:///path, syslog://, syslog://host:port or https://host/path")
	}
	good, form := true, ""
	switch u.Scheme {
	case "file":
		good = u.Host == "" && filepath.IsAbs(u.Path) && !strings.HasSuffix(u.Path, "/") && u.RawQuery == ""
		form = "a file is written as file:///path, with three slashes and an absolute path"
	case "syslog":
		good = u.Path == "" && u.User == nil && (u.Host == "" || hostPort(u.Host))
		form = "a system log is written as syslog:// for this machine's, or syslog://host:port"
	case "http", "https":
		good, form = u.Hostname() != "", "the URL has no host"
	default:
		good, form = false, fmt.Sprintf("unknown kind %q: use file, syslog, http or https", u.Scheme)
	}
	if !good {
		return Target{}, errors.New(form)
	}
	return Target{u}, nil
}

func hostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return false
	}
	n, err := net.LookupPort("udp", port)
	return err == nil && n > 0
}

// String is the target without what may be a secret: a password, a query.
func (t Target) String() string {
	u := *t.url
	if u.RawQuery != "" {
		u.RawQuery = "xxxxx"
	}
	return u.Redacted()
}

// State is how a sink is.
type State struct {
	Target string
	Sent   time.Time // the latest delivery; zero: none yet
	Since  time.Time // since when it fails; zero: it does not
	Error  error     // why
}

// Set is a set of open sinks.
type Set struct {
	log    *slog.Logger
	sinks  []*sink
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// A Message is one checkpoint in its two forms.
type Message struct {
	Note []byte // for files and web addresses
	Line string // for system logs
}

type sink struct {
	target Target
	send   func(context.Context, Message) error
	more   chan struct{}

	mu    sync.Mutex
	queue []Message
	state State
	done  bool
}

// Open starts a goroutine for each target. ctx ends them all.
func Open(ctx context.Context, targets []Target, log *slog.Logger) *Set {
	ctx, cancel := context.WithCancel(ctx)
	s := &Set{log: log, cancel: cancel}
	for _, t := range targets {
		k := &sink{target: t, send: sender(t.url), more: make(chan struct{}, 1), state: State{Target: t.String()}}
		s.sinks = append(s.sinks, k)
		s.work.Go(func() { k.run(ctx, log) })
	}
	return s
}

// Send queues a checkpoint for every sink and returns at once.
func (s *Set) Send(m Message) {
	for _, k := range s.sinks {
		k.mu.Lock()
		if k.queue = append(k.queue, m); len(k.queue) > maxQueue {
			k.queue = slices.Delete(k.queue, 0, len(k.queue)-maxQueue)
		}
		k.mu.Unlock()
		k.wake()
	}
}

func (k *sink) wake() {
	select {
	case k.more <- struct{}{}:
	default:
	}
}

// States tells how each sink is, in the order of the configuration.
func (s *Set) States() []State {
	out := make([]State, len(s.sinks))
	for i, k := range s.sinks {
		k.mu.Lock()
		out[i] = k.state
		k.mu.Unlock()
	}
	return out
}

// Close gives what waits two seconds more.
func (s *Set) Close() {
	for _, k := range s.sinks {
		k.mu.Lock()
		k.done = true
		k.mu.Unlock()
		k.wake()
	}
	late := time.AfterFunc(farewell, s.cancel)
	s.work.Wait()
	late.Stop()
	s.cancel()
}

func (k *sink) run(ctx context.Context, log *slog.Logger) {
	wait := firstWait
	for {
		err := k.deliver(ctx)
		k.note(err, log)
		if k.over(err) {
			return
		}
		var again <-chan time.Time
		if wait = min(2*wait, maxWait); err == nil {
			wait = firstWait
		} else {
			again = time.After(wait / 2)
		}
		select {
		case <-ctx.Done():
			return
		case <-k.more:
		case <-again:
		}
	}
}

// over is whether Close was called and there is no more to do, or no hope.
func (k *sink) over(err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.done && (err != nil || len(k.queue) == 0)
}

// deliver sends what waits, oldest first.
func (k *sink) deliver(ctx context.Context) error {
	for {
		k.mu.Lock()
		if len(k.queue) == 0 {
			k.mu.Unlock()
			return nil
		}
		m := k.queue[0]
		k.mu.Unlock()
		try, cancel := context.WithTimeout(ctx, within)
		err := k.send(try, m)
		cancel()
		if err != nil {
			return err
		}
		k.mu.Lock()
		if len(k.queue) > 0 && &k.queue[0].Note[0] == &m.Note[0] { // else it dropped out meanwhile
			k.queue = k.queue[1:]
		}
		k.state.Sent = time.Now()
		k.mu.Unlock()
	}
}

// note keeps the outcome of a try, and logs where it turns.
func (k *sink) note(err error, log *slog.Logger) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err != nil && k.state.Error == nil:
		k.state.Since = time.Now()
		log.Error("checkpoints of the audit log do not leave; will be tried again", "sink", k.state.Target, "err", err)
	case err == nil && k.state.Error != nil:
		log.Info("checkpoints of the audit log leave again", "sink", k.state.Target)
		k.state.Since = time.Time{}
	}
	k.state.Error = err
}
