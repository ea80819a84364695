package capture

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"siprecd/cmd/torture/calls"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
)

// group is calls that are up at the same time.
type group struct {
	client *siprectest.Client
	calls  []*siprectest.Call
}

// gather places n calls and returns when all are up.
func gather(l *rig.Lab, s *rig.Server, n int, o siprectest.Options) (*group, error) {
	client, err := siprectest.Dial(l, "udp://"+s.UDP, nil)
	if err != nil {
		return nil, err
	}
	l.Cleanup(func() { _ = client.Close() }) // it may be closed already
	g := &group{client: client}
	for range n {
		call, err := calls.Up(l, client, o)
		if err != nil {
			return nil, fmt.Errorf("call %d of %d: %w", len(g.calls)+1, n, err)
		}
		g.calls = append(g.calls, call)
		if err := l.Sleep(5 * time.Millisecond); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// end ends the calls: at once, or when their media has been sent or the
// recorder has hung up. Each is reported on.
func (g *group) end(ctx context.Context, atOnce bool) ([]siprectest.CallReport, error) {
	reports, failed := make([]siprectest.CallReport, len(g.calls)), make([]error, len(g.calls))
	var all sync.WaitGroup
	for i, c := range g.calls {
		all.Go(func() {
			if !atOnce {
				failed[i] = c.Wait(ctx)
			}
			failed[i] = errors.Join(failed[i], c.Bye(ctx))
			reports[i] = c.Report()
		})
	}
	all.Wait()
	return reports, errors.Join(failed...)
}

// sentBy is how many packets the calls have sent.
func sentBy(reports []siprectest.CallReport) (n int) {
	for _, r := range reports {
		for _, leg := range r.Legs {
			n += leg.Sent
		}
	}
	return n
}

// answered is how many calls of a run were taken, and a figure: all in the full
// form; in the short one those that were not must have been told 503.
func answered(l *rig.Lab, rep siprectest.Report, full int) int {
	t := rep.Totals
	value := fmt.Sprintf("%d of %d, %d told that the recorder is busy", t.Codes["200"], t.Calls, t.Codes["503"])
	if brief(l, full) {
		l.Figure("calls taken", value, "all, or 503", t.Completed > 0 && t.Completed+t.Codes["503"] == t.Calls)
	} else {
		l.Figure("calls taken", value, "all", t.Calls > 0 && t.Completed == t.Calls)
	}
	return t.Completed
}
