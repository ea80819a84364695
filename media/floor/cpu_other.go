//go:build !linux

package floor

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpu is the CPU time of this process so far, user and system.
func cpu() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
