package app

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much garbage may gather, in per cent of what is in use. Go's
// default is 100. Most of what a call holds is its encoder, which the collector
// need not look through, and little is thrown away per second: a small heap
// costs next to nothing.
const gcPercent = 30

// sizeHeap keeps the heap small, unless GOGC says otherwise.
func sizeHeap() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
