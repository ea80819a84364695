package app

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// guardMemory keeps the process's memory out of core files and away from other
// processes of its user: keys and numbers of live calls are in it.
func guardMemory() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid memory dumps: %w", err)
	}
	return nil
}
