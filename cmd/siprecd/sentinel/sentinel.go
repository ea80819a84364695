// Package sentinel looks after what can go wrong around a recorder without any
// call telling of it, and reports each fault under its name while it lasts.
//
//	certificate   the server's own expires soon, or its new files are no good
//	keys          the host's keys or the recipients cannot be read any more
//	configuration the file is not what it was at the start
//	clock         the wall clock was stepped
//	descriptors   few are left
//	memory        most of what the process may have is used
//	socket        commands cannot reach the server: its control socket is gone
//	lock          the folder is not locked any more: a second server could start
//	address       the media address is no longer this machine's
//	client        a recording client that was heard before has fallen silent
//	malformed     many messages from allowed clients are no SIP
//	backlog       segments are sealed more slowly than they come
//
//	Check.Look ──every 4 s, each on its own──► report(name, text or "")
//
// Promises: each check has a goroutine of its own, so that one that hangs on a
// disk holds up no other; texts name no person.
package sentinel

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Every is how often a check looks.
const Every = 4 * time.Second

// leaveWithin is how long Run waits at its end for checks that hang.
const leaveWithin = time.Second

// Check looks at one thing.
type Check struct {
	Name string
	Look func(now time.Time) string // what is wrong, a sentence without its full stop; "" for nothing
}

// Run looks until ctx ends.
func Run(ctx context.Context, checks []Check, report func(name, text string), log *slog.Logger) {
	var all sync.WaitGroup
	for _, c := range checks {
		all.Go(func() { c.run(ctx, report) })
	}
	done := make(chan struct{})
	go func() { // not waited for where a check hangs: nothing could end it
		defer close(done)
		all.Wait()
	}()
	<-ctx.Done()
	late := time.NewTimer(leaveWithin)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		log.Warn("a look at the machine hangs and is left behind")
	}
}

func (c Check) run(ctx context.Context, report func(name, text string)) {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		report(c.Name, c.Look(time.Now()))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
