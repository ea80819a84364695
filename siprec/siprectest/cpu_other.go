//go:build !unix

package siprectest

import "time"

// cpuTime is not known here.
func cpuTime() time.Duration { return 0 }
