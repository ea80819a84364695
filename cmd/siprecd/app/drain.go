package app

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

const (
	lookForEnd   = 50 * time.Millisecond  // how often a drain looks for the end of the last call
	signalWithin = 200 * time.Millisecond // how far apart two deliveries of one signal can be
)

// Drain is what SIGTERM asks for: new calls are refused, with 503 to INVITE and
// OPTIONS and on /readyz, and those that are up may end by themselves. The next
// signal on end, a part that fails and the configured limit end the wait. It
// does nothing when the signal that is due on end, for the process is to stop,
// is another.
func (a *App) Drain(w io.Writer, end <-chan os.Signal, failed <-chan error) error {
	if !terminated(end) {
		return nil
	}
	a.rec.Drain()
	left := a.rec.Recording()
	if left == 0 || a.drain == 0 {
		return nil
	}
	fmt.Fprintf(w, "siprecd: draining: new calls are refused; waiting up to %v for %d live calls; another signal ends them now\n", a.drain, left)
	timer := time.NewTimer(a.drain)
	defer timer.Stop()
	look := time.NewTicker(lookForEnd)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			if a.rec.Recording() == 0 {
				return nil
			}
		case <-timer.C:
			return nil
		case <-end:
			return nil
		case err := <-failed:
			return err
		}
	}
}

// terminated says whether what stops the process was SIGTERM: the context's end
// and the signal itself come a moment apart.
func terminated(end <-chan os.Signal) bool {
	wait := time.NewTimer(signalWithin)
	defer wait.Stop()
	select {
	case sig := <-end:
		return sig == syscall.SIGTERM
	case <-wait.C:
		return false // the context was ended by another hand
	}
}
