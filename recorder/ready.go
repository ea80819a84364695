package recorder

import (
	"errors"
	"fmt"
	"time"

	"siprecd/media"
	"siprecd/siprec"
	"siprecd/store"
)

// What the checks of readiness allow.
const (
	retryAfter    = 10 * time.Second // told with every 503
	maxJournalAge = 5 * time.Second  // audio not yet durable
	maxLate       = time.Second      // the media path behind its plan
	minFreePorts  = 4                // media ports left for a next call
)

// Admit says whether a new call can be taken: nil, or the refusal that both
// INVITE and OPTIONS are answered with. /readyz says the same.
func (r *Recorder) Admit() error {
	for _, c := range r.Ready() {
		if !c.OK {
			return &siprec.Refusal{Code: 503, Reason: "Service Unavailable", RetryAfter: retryAfter,
				Warning: fmt.Sprintf("399 siprecd %q", c.Name+": "+c.Error)}
		}
	}
	return nil
}

// Ready lists the conditions of readiness, always all of them in one order.
func (r *Recorder) Ready() []Check {
	h, load := r.cfg.Store.Health(), r.cfg.Media.Load() // before mu: they may ask the disk
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now().UTC()
	var out []Check
	for _, v := range verdicts(r.draining, h, load, r.cfg.Reserve) {
		out = append(out, r.check(now, v.name, v.err))
	}
	return out
}

// verdict is one condition of readiness; nil is good.
type verdict struct {
	name string
	err  error
}

// verdicts judges the facts. The words hold no figure that changes by itself:
// who follows the status would be told anew each time.
func verdicts(draining bool, h store.Health, load media.Load, reserve uint64) []verdict {
	v := []verdict{{name: "serving"}, {"store", errors.Join(h.LastError, h.StuckError)}, {name: "journal"}, {"disk", h.DiskError}, {name: "media"}, {name: "ports"}}
	if draining {
		v[0].err = errors.New("the recorder is stopping and takes no new calls")
	}
	if h.JournalAge > maxJournalAge {
		v[2].err = fmt.Errorf("audio has been waiting for the disk for more than %.0f s", maxJournalAge.Seconds())
	}
	if h.DiskError == nil && h.DiskFree < reserve {
		v[3].err = fmt.Errorf("less than the reserve of %d MiB is free", reserve>>20)
	}
	if load.Late > maxLate {
		v[4].err = fmt.Errorf("media is handled more than %.0f s late: the machine is too busy", maxLate.Seconds())
	}
	if load.PortsTotal-load.PortsUsed < minFreePorts {
		v[5].err = fmt.Errorf("fewer than %d of %d media ports are free", minFreePorts, load.PortsTotal)
	}
	return v
}

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
