package recorder

import (
	"errors"
	"fmt"
	"time"

	"siprecd/siprec"
)

// What the checks of readiness allow.
const (
	retryAfter    = 10 * time.Second // told with every 503
	maxJournalAge = 5 * time.Second  // audio not yet durable
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
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.cfg.Store.Health()
	load := r.cfg.Media.Load()
	var draining, journal, disk, ports error
	if r.draining {
		draining = errors.New("the recorder is stopping and takes no new calls")
	}
	if h.JournalAge > maxJournalAge {
		journal = fmt.Errorf("audio has been waiting for the disk for more than %.0f s", maxJournalAge.Seconds())
	}
	if h.DiskError == nil && h.DiskFree < r.cfg.Reserve {
		disk = fmt.Errorf("less than the reserve of %d MiB is free", r.cfg.Reserve>>20)
	}
	if h.DiskError != nil {
		disk = h.DiskError
	}
	if load.PortsTotal-load.PortsUsed < minFreePorts {
		ports = fmt.Errorf("fewer than %d of %d media ports are free", minFreePorts, load.PortsTotal)
	}
	now := time.Now().UTC()
	return []Check{
		r.check(now, "serving", draining),
		r.check(now, "store", h.LastError),
		r.check(now, "journal", journal),
		r.check(now, "disk", disk),
		r.check(now, "ports", ports),
	}
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
