// Package trail brings the store's events to the one audit log, whoever has it
// open.
//
//	the process that records:  Trail ─► audit.Log ─► sinks
//	a command beside it:       Trail ─► store.sock ─► the recorder's Trail
//	a command alone:           Trail ─► audit.Log, opened for one event
//
// There is never more than one writer: the log's own lock says so. A command
// that finds it taken asks the process that took it.
//
// Whatever a command says of itself, the recorder books it under the user that
// the socket names.
package trail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"siprecd/store/audit"
	"siprecd/store/audit/sinks"
	"siprecd/store/disk"
	"siprecd/store/seal"
)

// lockWait is how long a command waits for another one's event.
const lockWait = 5 * time.Second

// Options configure a Trail.
type Options struct {
	Root    *os.Root
	Host    *seal.Host
	Targets []sinks.Target // where checkpoints go
	Tick    time.Duration
	Logger  *slog.Logger
}

// Asker reaches the process that records; it is the client of store.sock.
type Asker interface {
	Audit(message []byte) error
}

// Trail takes events. The methods may be used from several goroutines.
type Trail struct {
	o   Options
	key *audit.Key
	box *seal.Box

	mu     sync.Mutex
	log    *audit.Log // nil in a command
	sinks  *sinks.Set // nil in a command
	asker  Asker      // nil when nobody else is there
	redial func() (Asker, error)
	outlet func() *sinks.Set // for a command that is alone
}

// message is an event as it crosses the socket.
type message struct {
	audit.Event
	Who string `json:"who,omitempty"`
	Why string `json:"why,omitempty"`
}

func prepare(o Options) (*Trail, error) {
	signer, err := o.Host.AuditSigner()
	if err != nil {
		return nil, err
	}
	t := &Trail{o: o}
	if t.key, err = audit.NewKey(signer); err != nil {
		return nil, err
	}
	t.box, err = o.Host.Box(audit.DetailBox, nil)
	return t, err
}

// Open opens the log for the process that records, and says that it started.
// ctx ends the sinks.
func Open(ctx context.Context, o Options) (*Trail, error) {
	t, err := prepare(o)
	if err != nil {
		return nil, err
	}
	if err := o.Host.WriteAuditKey(o.Root.Name()); err != nil {
		return nil, err
	}
	t.sinks = sinks.Open(context.WithoutCancel(ctx), o.Targets, o.Logger)
	if t.log, err = audit.Open(t.options(t.sinks), lockWait); err != nil {
		t.sinks.Close()
		return nil, err
	}
	started := audit.Event{Kind: audit.Started, Actor: Self()}
	if t.log.Crashed() {
		started.Result = "no clean stop before"
	}
	t.log.Note(started)
	return t, nil
}

// options are the log's, whose checkpoints go to these sinks.
func (t *Trail) options(to *sinks.Set) audit.Options {
	return audit.Options{
		Root: t.o.Root, Key: t.key, Box: t.box, Tick: t.o.Tick, Logger: t.o.Logger,
		Deliver: func(c audit.Checkpoint) { to.Send(sinks.Message{Note: c.Note, Line: c.Line()}) },
	}
}

// Beside is the trail of a command. asker is nil when no recorder runs; redial
// finds one that has started since. ctx ends the sinks.
func Beside(ctx context.Context, o Options, asker Asker, redial func() (Asker, error)) (*Trail, error) {
	t, err := prepare(o)
	if err == nil {
		t.asker, t.redial = asker, redial
		t.outlet = func() *sinks.Set { return sinks.Open(context.WithoutCancel(ctx), o.Targets, o.Logger) }
	}
	return t, err
}

// Append writes an event and returns nil when it is durable, wherever the log
// is. For accesses: no Append, no access.
func (t *Trail) Append(e audit.Event) error {
	if e.Actor == "" {
		e.Actor = Self()
	}
	if t.log != nil {
		return t.log.Append(e)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asker == nil {
		err := t.alone(e)
		if !errors.Is(err, disk.ErrLocked) {
			return err
		}
		var err2 error
		if t.asker, err2 = t.redial(); err2 != nil {
			t.asker = nil
			return fmt.Errorf("%w: %w", audit.ErrUnwritten, errors.Join(err, err2))
		}
	}
	text, err := json.Marshal(message{e, e.Who, e.Why})
	if err == nil {
		err = t.asker.Audit(text)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", audit.ErrUnwritten, err)
	}
	return nil
}

// alone opens the log for one event, whose checkpoint leaves as the recorder's
// do: else what is done while none runs could be cut off again, unseen. Where a
// recorder had closed the log, it is left closed.
func (t *Trail) alone(e audit.Event) error {
	out := t.outlet()
	defer out.Close()
	l, err := audit.Open(t.options(out), lockWait)
	if err != nil {
		return err
	}
	clean := !l.Crashed()
	err = l.Append(e)
	if clean {
		l.Note(audit.Event{Kind: audit.Stopped, Actor: Self()})
	}
	return errors.Join(err, l.Close())
}

// Note takes an event and returns at once; it is durable a tick later, whatever
// the disk does meanwhile.
func (t *Trail) Note(e audit.Event) {
	if e.Actor == "" {
		e.Actor = Self()
	}
	if t.log != nil {
		t.log.Note(e)
		return
	}
	if err := t.Append(e); err != nil {
		t.o.Logger.Error("an event is not in the audit log", "kind", e.Kind, "err", err)
	}
}

// Answer books what a command says over the socket, for the user that the
// socket names.
func (t *Trail) Answer(text []byte, uid int) error {
	var m message
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("%w: %w", audit.ErrEvent, err)
	}
	m.Event.Who, m.Event.Why = m.Who, m.Why
	_, command, _ := strings.Cut(m.Actor, "/")
	m.Event.Actor = actor(uid, command)
	m.Event.At = time.Time{}
	return t.Append(m.Event)
}

// Checkpoint is the newest signed checkpoint, a note in text; nil in a command,
// and before the first.
func (t *Trail) Checkpoint() []byte {
	if t.log == nil {
		return nil
	}
	return t.log.Checkpoint()
}

// Health is the log's and the sinks' account of themselves.
type Health struct {
	audit.Health
	Sinks []sinks.State
}

// AuditHealth tells how the log is; zero in a command.
func (t *Trail) AuditHealth() Health {
	if t.log == nil {
		return Health{}
	}
	return Health{t.log.Health(), t.sinks.States()}
}

// Close says that the recorder stopped, and gives the last checkpoint two
// seconds to leave.
func (t *Trail) Close() error {
	if t == nil || t.log == nil {
		return nil
	}
	t.log.Note(audit.Event{Kind: audit.Stopped, Actor: Self()})
	err := t.log.Close()
	t.sinks.Close()
	return err
}

// Self names this process as the log may: its user's number and its command.
func Self() string {
	command := filepath.Base(os.Args[0])
	for _, a := range os.Args[1:] {
		if !strings.HasPrefix(a, "-") && !strings.ContainsAny(a, "/=.") {
			command = a
			break
		}
	}
	return actor(os.Getuid(), command)
}

// actor keeps of a command what may stand in a leaf: nobody's name has the
// shape of one of ours.
func actor(uid int, command string) string {
	word := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, command)
	return "uid:" + strconv.Itoa(uid) + "/" + word[:min(len(word), 16)]
}
