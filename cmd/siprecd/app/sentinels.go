package app

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"siprecd/cmd/siprecd/config"
	"siprecd/cmd/siprecd/sentinel"
	"siprecd/recorder/web"
	"siprecd/store/seal"
)

// sentinels are the checks of what can go wrong around this recorder.
func (a *App) sentinels(cfg *config.Config) []sentinel.Check {
	dir, start := cfg.Store.Dir, time.Now()
	checks := []sentinel.Check{
		sentinel.Configuration(cfg.File),
		sentinel.Clock(time.Now, func() time.Duration { return time.Since(start) }),
		sentinel.Descriptors(),
		sentinel.Memory(nil),
		sentinel.File("socket", filepath.Join(dir, web.SocketName), "commands cannot reach this server"),
		sentinel.File("lock", filepath.Join(dir, "lock"), "a second server could write to the folder"),
		sentinel.Keys(func() error { return readableKeys(dir) }),
		sentinel.Address(cfg.Media.Address, net.InterfaceAddrs),
		sentinel.Clients(a.sip.Peers, cfg.Alarms.Quiet),
		sentinel.Malformed(a.sip.Counters),
		sentinel.Backlog(a.store.Health),
		sentinel.Audit(a.store.AuditHealth),
		sentinel.AuditSinks(a.store.AuditHealth),
	}
	if a.certs != nil {
		checks = append(checks, sentinel.Certificate(a.certs.Validity, cfg.Alarms.Certificate))
	}
	return checks
}

// readableKeys reads what the next start will need.
func readableKeys(dir string) error {
	if _, err := seal.LoadHost(dir); err != nil {
		return fmt.Errorf("host key: %w", err)
	}
	if _, err := os.ReadFile(filepath.Join(dir, "keys", seal.RecipientsFile)); err != nil {
		return fmt.Errorf("recipients: %w", err)
	}
	return nil
}
