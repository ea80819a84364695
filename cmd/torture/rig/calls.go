package rig

import (
	"context"

	"siprecd/siprec/siprectest"
)

// Load is calls that are placed in the background.
type Load struct {
	stop context.CancelFunc
	done chan struct{}
	rep  siprectest.Report
	err  error
}

// Place places calls in the background, at s unless they have another target.
// They end with the row at the latest.
func (s *Server) Place(o siprectest.Options) *Load {
	if o.Target == "" {
		o.Target = "udp://" + s.UDP
	}
	ctx, cancel := context.WithCancel(s.lab)
	load := &Load{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(load.done)
		load.rep, load.err = siprectest.Run(ctx, o)
	}()
	s.lab.Cleanup(func() { cancel(); <-load.done })
	return load
}

// Wait waits for the end of the calls.
func (l *Load) Wait() (siprectest.Report, error) {
	<-l.done
	return l.rep, l.err
}

// Stop places no more calls, ends those that are up with BYE, and waits.
func (l *Load) Stop() (siprectest.Report, error) {
	l.stop()
	return l.Wait()
}
