package floor

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpu is the CPU time of this thread so far, user and system.
func cpu() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
