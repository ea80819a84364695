package watch

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"siprecd/cmd/torture/disk"
	"siprecd/cmd/torture/fault"
	"siprecd/cmd/torture/rig"
)

// toldOfDisks is row G5d.
func toldOfDisks(l *rig.Lab) error {
	return sideBySide(l, onDisk, onKernel)
}

// onDisk is a server on a disk of its own, which is filled and frozen.
func onDisk(l *rig.Lab) (*site, []trouble, error) {
	dir, err := disk.Small(l, "128M")
	if err != nil {
		return nil, nil, err
	}
	s, err := l.ServerIn(filepath.Join(dir, "data"), "store.reserve=24MiB", "shutdown.drain=0s")
	if err != nil {
		return nil, nil, err
	}
	if _, err := s.Start(); err != nil {
		return nil, nil, err
	}
	return &site{Server: s, lab: l, disk: dir}, []trouble{
		{name: "less than the reserve", told: "disk", refuses: true, inject: func(s *site) (func() error, error) { return disk.Fill(s.disk, 20<<20) }},
		{name: "the disk stands still", told: "journal", refuses: true, inject: frozen},
	}, nil
}

// frozen has a call live whose audio cannot be written. The disk is thawed when
// the row's time is over, too: nothing that waits for it could be ended.
func frozen(s *site) (func() error, error) {
	return both(live, func(s *site) (func() error, error) {
		thaw := func() error { return exec.Command("fsfreeze", "-u", s.disk).Run() }
		stop := context.AfterFunc(s.lab, func() { _ = thaw() })
		_, err := s.lab.Tool("fsfreeze", "-f", s.disk)
		return func() error {
			if !stop() {
				return nil
			}
			return thaw()
		}, err
	})(s)
}

// onKernel is a server whose system calls are answered by the row.
func onKernel(l *rig.Lab) (*site, []trouble, error) {
	s, err := l.Server("shutdown.drain=0s")
	if err != nil {
		return nil, nil, err
	}
	inj, err := fault.New(l, s)
	if err == nil {
		err = inj.OwnClock()
	}
	if err != nil {
		return nil, nil, err
	}
	if _, err := s.Start(); err != nil {
		return nil, nil, err
	}
	return &site{Server: s, lab: l, inj: inj}, []trouble{
		{name: "the audit log cannot be written", told: "audit", inject: auditFails},
		{name: "the clock is stepped", told: "clock", stays: true, inject: stepped},
	}, nil
}

// auditFails lets no byte into the audit log, while calls want to be noted.
func auditFails(s *site) (func() error, error) {
	s.inj.Judge(func(op fault.Op) fault.Answer {
		if strings.HasPrefix(op.Path, "audit") && (op.Kind == fault.Write || op.Kind == fault.Sync) {
			return fault.Answer{Err: unix.EIO}
		}
		return fault.Answer{}
	})
	end, err := live(s)
	if err != nil {
		return nil, err
	}
	return func() error {
		s.inj.Judge(nil)
		return end()
	}, nil
}

// stepped sets the server's clock back by an hour.
func stepped(s *site) (func() error, error) {
	s.inj.Clock(-time.Hour)
	return func() error {
		s.inj.Clock(0)
		return nil
	}, nil
}
