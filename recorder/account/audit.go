package account

import (
	"siprecd/recorder/facts"
	"siprecd/store"
)

// Audit is the audit log as the status shows it.
func Audit(h store.AuditHealth) facts.Audit {
	a := facts.Audit{Leaves: h.Leaves, Waiting: h.Waiting, Checkpoint: string(h.Checkpoint.Note), Sinks: []facts.AuditSink{}}
	if !h.Checkpoint.At.IsZero() {
		a.At = h.Checkpoint.At.UTC()
	}
	if err := h.Error; err != nil {
		a.Error = err.Error()
	} else if h.Damage != nil {
		a.Error = h.Damage.Error()
	}
	for _, s := range h.Sinks {
		x := facts.AuditSink{Target: s.Target, Sent: s.Sent.UTC()}
		if s.Sent.IsZero() {
			x.Sent = s.Sent
		}
		if s.Error != nil {
			x.Error = s.Error.Error()
		}
		a.Sinks = append(a.Sinks, x)
	}
	return a
}
