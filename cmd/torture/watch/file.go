package watch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"siprecd/cmd/torture/foe"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
)

// onFolder is a server whose folder is disturbed.
func onFolder(l *rig.Lab) (*site, []trouble, error) {
	s, err := begin(l)
	return s, []trouble{
		{name: "control socket gone", told: "socket", inject: moved("siprecd.sock")},
		{name: "lock gone", told: "lock", inject: moved("lock")},
		{name: "lock replaced", told: "lock", inject: replaced("lock")},
	}, err
}

// onKeys is a server whose keys and configuration are disturbed.
func onKeys(l *rig.Lab) (*site, []trouble, error) {
	s, err := begin(l)
	return s, []trouble{
		{name: "host key gone", told: "keys", inject: moved("keys/host.key")},
		{name: "recipients gone", told: "keys", inject: moved("keys/recipients")},
		{name: "configuration changed", told: "configuration", inject: replaced("siprecd.yaml")},
	}, err
}

// onLimits is a server with TLS, and what runs out around it: certificates,
// descriptors, places to write to.
func onLimits(l *rig.Lab) (*site, []trouble, error) {
	certs := filepath.Join(l.Dir, "tls")
	if err := os.Mkdir(certs, 0o700); err != nil {
		return nil, nil, err
	}
	cert, key, err := rig.Certificate(certs, time.Now().Add(goodFor))
	if err != nil {
		return nil, nil, err
	}
	s, err := l.Server("alarms.certificate=5h", "shutdown.drain=0s", "sip.tls.certificate="+cert, "sip.tls.key="+key)
	if err != nil {
		return nil, nil, err
	}
	s.Sets = append(s.Sets, fmt.Sprintf("sip.listen=[udp://%s, tcp://%s, tls://127.0.0.1:%d]", s.UDP, s.TCP, s.Spare(0)))
	if _, err := s.Start(); err != nil {
		return nil, nil, err
	}
	return &site{Server: s, lab: l, certs: certs}, []trouble{
		{name: "account cannot be saved", told: "completeness", inject: both(replaced("completeness"), live)},
		{name: "segments cannot be written", told: "store", refuses: true, inject: both(replaced("recordings"), called)},
		{name: "few descriptors left", told: "descriptors", inject: fewDescriptors},
		{name: "certificate expires soon", told: "certificate", inject: certified(3 * time.Hour)},
		{name: "certificate expired", told: "certificate", inject: certified(-time.Hour)},
		{name: "new certificate is no good", told: "certificate", inject: spoilt},
	}, nil
}

// goodFor is how long a certificate is good that nobody need be told of.
const goodFor = 40 * time.Hour

type injection = func(*site) (func() error, error)

// both makes two things at once, and ends them in the other order.
func both(one, two injection) injection {
	return func(s *site) (func() error, error) {
		first, err := one(s)
		if err != nil {
			return nil, err
		}
		second, err := two(s)
		if err != nil {
			return nil, errors.Join(err, first())
		}
		return func() error { return errors.Join(second(), first()) }, nil
	}
}

// moved renames a file away, and back.
func moved(path string) injection {
	return func(s *site) (func() error, error) {
		from := filepath.Join(s.Dir, path)
		return func() error { return os.Rename(from+".away", from) }, os.Rename(from, from+".away")
	}
}

// replaced puts something else in the place of a file or folder, and takes it
// out again.
func replaced(path string) injection {
	return func(s *site) (func() error, error) {
		back, err := moved(path)(s)
		if err != nil {
			return nil, err
		}
		other := filepath.Join(s.Dir, path)
		if err := os.WriteFile(other, []byte("something else\n"), 0o600); err != nil {
			return nil, errors.Join(err, back())
		}
		return func() error { return errors.Join(os.Remove(other), back()) }, nil
	}
}

// live is a call that lasts until the fault is mended.
func live(s *site) (func() error, error) {
	end, err := calling(func(*siprectest.Options) {})(s)
	if err != nil {
		return nil, err
	}
	err = s.lab.Await("a live call", toldWithin, func() bool {
		st, err := foe.Status(s.Server)
		return err == nil && len(st.Calls) > 0
	})
	return end, err
}

// called is one call that was up.
func called(s *site) (func() error, error) {
	end, err := live(s)
	if end != nil {
		err = errors.Join(err, end())
	}
	return func() error { return nil }, err
}

// fewDescriptors lowers the limit of the process that runs.
func fewDescriptors(s *site) (func() error, error) {
	u, err := s.Usage()
	if err != nil {
		return nil, err
	}
	limit := unix.Rlimit{Cur: uint64(u.Files) + 40, Max: uint64(u.Files) + 4096}
	if err := unix.Prlimit(s.Pid(), unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		return nil, err
	}
	return func() error {
		limit.Cur = limit.Max
		return unix.Prlimit(s.Pid(), unix.RLIMIT_NOFILE, &limit, nil)
	}, nil
}

// certified puts another certificate in place, that ends so far from now.
func certified(left time.Duration) injection {
	return func(s *site) (func() error, error) {
		_, _, err := rig.Certificate(s.certs, time.Now().Add(left))
		return s.certify, err
	}
}

// certify gives the server a good certificate.
func (s *site) certify() error {
	_, _, err := rig.Certificate(s.certs, time.Now().Add(goodFor))
	return err
}

func spoilt(s *site) (func() error, error) {
	return s.certify, os.WriteFile(filepath.Join(s.certs, "cert.pem"), []byte("no certificate"), 0o600)
}
