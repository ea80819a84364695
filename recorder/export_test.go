package recorder

import "siprecd/recorder/guard"

// Capacity is the guard, which tests tell how busy the machine is.
func (r *Recorder) Capacity() *guard.Guard { return r.guard }
