package sentinel

import (
	"fmt"
	"strings"
	"time"

	"siprecd/store"
)

// Audit tells when the audit log cannot be written, or is not what was signed.
func Audit(health func() store.AuditHealth) Check {
	return Check{"audit", func(time.Time) string {
		switch h := health(); {
		case h.Damage != nil:
			return "the audit log was found changed at the start (run siprecd audit verify)"
		case h.Error != nil:
			return "the audit log cannot be written, so that no recording is handed out: " + cause(h.Error)
		}
		return ""
	}}
}

// AuditSinks tells where checkpoints of the audit log do not arrive.
func AuditSinks(health func() store.AuditHealth) Check {
	return Check{"audit checkpoints", func(time.Time) string {
		var failing []string
		for _, s := range health().Sinks {
			if s.Error != nil {
				failing = append(failing, s.Target)
			}
		}
		if len(failing) == 0 {
			return ""
		}
		return fmt.Sprintf("checkpoints of the audit log do not reach %s", strings.Join(failing, ", "))
	}}
}
