package trail

import (
	"siprecd/store/audit"
	"siprecd/store/audit/sinks"
	"siprecd/store/remote"
)

// Event is one leaf of the log; see package audit.
type Event = audit.Event

// Target is where checkpoints go; see package sinks.
type Target = sinks.Target

// Dial reaches the process that has come to record into the folder since.
func Dial(dir string) func() (Asker, error) {
	return func() (Asker, error) {
		c, err := remote.Dial(dir)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
}
