package guard

import (
	"errors"
	"fmt"
	"time"

	"siprecd/media"
	"siprecd/store"
)

// What the other conditions allow.
const (
	maxJournalAge = 5 * time.Second // audio not yet durable
	minFreePorts  = 4               // media ports left for a next call
)

// Verdict is one condition under which new calls are taken; a nil Err is good.
type Verdict struct {
	Name string
	Err  error
}

// Verdicts judges the facts: always the same conditions in the same order.
// reserve is in bytes; busy is what Admit says. The words hold no figure that
// changes by itself: who follows the status would be told anew each time.
func Verdicts(draining bool, h store.Health, load media.Load, reserve uint64, busy error) []Verdict {
	v := []Verdict{
		{Name: "serving"}, {"store", errors.Join(h.LastError, h.StuckError)}, {Name: "journal"},
		{"disk", h.DiskError}, {"media", busy}, {Name: "ports"},
	}
	if draining {
		v[0].Err = errors.New("draining: the recorder is stopping and takes no new calls")
	}
	if h.JournalAge > maxJournalAge {
		v[2].Err = fmt.Errorf("audio has been waiting for the disk for more than %.0f s", maxJournalAge.Seconds())
	}
	if h.DiskError == nil && h.DiskFree < reserve {
		v[3].Err = fmt.Errorf("less than the reserve of %d MiB is free", reserve>>20)
	}
	if load.PortsTotal-load.PortsUsed < minFreePorts {
		v[5].Err = fmt.Errorf("fewer than %d of %d media ports are free", minFreePorts, load.PortsTotal)
	}
	return v
}
