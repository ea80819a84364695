package recorder

import (
	"context"
	"fmt"
	"time"

	"siprecd/recorder/guard"
	"siprecd/siprec"
)

// retryAfter is told with every 503.
const retryAfter = 10 * time.Second

// Admit says whether a new call can be taken: nil, or the refusal that both
// INVITE and OPTIONS are answered with. /readyz says the same.
func (r *Recorder) Admit() error {
	for _, c := range r.Ready() {
		if !c.OK {
			return refuse(fmt.Errorf("%s: %s", c.Name, c.Error))
		}
	}
	return nil
}

// refuse is the refusal of a call that would be taken at a better time.
func refuse(why error) *siprec.Refusal {
	return &siprec.Refusal{Code: 503, Reason: "Service Unavailable", RetryAfter: retryAfter,
		Warning: fmt.Sprintf("399 siprecd %q", why.Error())}
}

// Ready lists the conditions of readiness, always all of them in one order.
func (r *Recorder) Ready() []Check {
	h, load := r.cfg.Store.Health(), r.cfg.Media.Load() // before mu: they may ask the disk
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now().UTC()
	var out []Check
	all := guard.Verdicts(!r.draining.IsZero(), h, load, r.cfg.Reserve, r.guard.Admit(load.Calls))
	for _, v := range append(all, guard.Verdict{Name: "files", Err: r.files.Err(now)}) {
		out = append(out, r.check(now, v.Name, v.Err))
	}
	return out
}

// Guard watches the load until ctx ends: see package guard. Without it every
// call is admitted, however busy the machine is.
func (r *Recorder) Guard(ctx context.Context) { r.guard.Run(ctx, r.cfg.Media, r.log) }

// check renders one verdict and remembers since when it holds. The caller
// holds mu.
func (r *Recorder) check(now time.Time, name string, err error) Check {
	c := Check{Name: name, OK: err == nil, Since: now}
	if err != nil {
		c.Error = err.Error()
	}
	if old, ok := r.checks[name]; ok && old.OK == c.OK {
		c.Since = old.Since
	}
	r.checks[name] = c
	return c
}
