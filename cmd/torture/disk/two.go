package disk

import (
	"net/http"
	"strings"
	"time"

	"siprecd/cmd/torture/rig"
)

// second starts a recorder on a folder that one has already.
func second(l *rig.Lab) error {
	s, err := l.Server()
	if err != nil {
		return err
	}
	if _, err := s.Start(); err != nil {
		return err
	}
	other, err := l.ServerIn(s.Dir) // with ports of its own
	if err != nil {
		return err
	}
	refused, told := 0, 0
	var slowest time.Duration
	for range l.Rounds {
		began := time.Now()
		if err := other.Launch(); err != nil {
			return err
		}
		if err := l.Await("the second one's end", 10*time.Second, other.Ended); err != nil {
			return err
		}
		slowest = max(slowest, time.Since(began))
		if other.Stop(0) == 1 {
			refused++
		}
	}
	told = strings.Count(other.Output(), "in use by process")
	l.Count("second starts refused with exit code 1", refused, l.Rounds)
	l.Count("that say who has the folder", told, l.Rounds)
	l.Within("slowest refusal", slowest, time.Second)
	l.Count("the first one's readiness", s.Get("/readyz"), http.StatusOK)
	return nil
}
