package attack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"siprecd/cmd/torture/foe"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
)

// exhausted uses up the media ports, then the descriptors: 503 at the limit,
// always; live calls go on; and nothing leaks over thousands of calls.
func exhausted(l *rig.Lab) error {
	if err := noPorts(l); err != nil {
		return fmt.Errorf("ports: %w", err)
	}
	if err := noFiles(l); err != nil {
		return fmt.Errorf("descriptors: %w", err)
	}
	return nil
}

// noPorts has a server with few ports.
func noPorts(l *rig.Lab) error {
	s, err := l.Server()
	if err != nil {
		return err
	}
	var low, high int
	for _, set := range s.Sets {
		_, _ = fmt.Sscanf(set, "media.ports=%d-%d", &low, &high)
	}
	s.Sets = append(s.Sets, fmt.Sprintf("media.ports=%d-%d", low, low+39))
	if _, err := s.Start(); err != nil {
		return err
	}
	if failed := cycles(l, s, 3); failed > 0 { // what is made once is made
		return errors.New("no call could be placed")
	}
	if err := s.Idle(20 * time.Second); err != nil {
		return err
	}
	calm, err := settled(l, s)
	if err != nil {
		return err
	}
	placed, other, err := fill(l, s, 40, 100, 2*time.Second)
	if err != nil {
		return err
	}
	l.Figure("calls until the ports were used up", fmt.Sprint(placed), "7 to 9", placed >= 7 && placed <= 9)
	l.Count("answers at the limit that were not 503", other, 0)
	if err := s.Idle(20 * time.Second); err != nil {
		return err
	}
	if err := leaks(l, s, calm); err != nil {
		return err
	}
	placed, _, err = fill(l, s, 40, 1, 2*time.Second)
	l.Figure("calls until the ports are used up, afterwards", fmt.Sprint(placed), "7 to 9", placed >= 7 && placed <= 9)
	return err
}

// leaks places calls by the thousand and looks what is left of them.
func leaks(l *rig.Lab, s *rig.Server, calm rig.Usage) (err error) {
	failed := cycles(l, s, l.Rounds)
	l.Figure("calls one after the other that failed", fmt.Sprintf("%d of %d", failed, l.Rounds), "0", failed == 0)
	var now rig.Usage
	_ = l.Await("descriptors are as before", time.Minute, func() bool {
		now, err = s.Usage()
		return err == nil && now.Files <= calm.Files
	})
	if now.Files > calm.Files {
		for _, f := range files(s) {
			l.Logf("open: %s", f)
		}
	}
	l.Figure("descriptors after them", fmt.Sprintf("%+d", now.Files-calm.Files), "+0", err == nil && now.Files <= calm.Files)
	return err
}

// settled waits until the server has open what stays open: the audit log,
// which its first leaf opens, and no recording any more. It says what it uses
// then.
func settled(l *rig.Lab, s *rig.Server) (rig.Usage, error) {
	err := l.Await("the first calls are booked", time.Minute, func() bool {
		booked := false
		for _, f := range files(s) {
			if strings.Contains(f, "/recordings/") || strings.Contains(f, "/journal/") {
				return false
			}
			booked = booked || strings.Contains(f, "/audit/") && strings.HasSuffix(f, ".log")
		}
		return booked
	})
	if err != nil {
		return rig.Usage{}, err
	}
	return s.Usage()
}

// files names what the server has open.
func files(s *rig.Server) (out []string) {
	dir := filepath.Join("/proc", fmt.Sprint(s.Pid()), "fd")
	names, _ := os.ReadDir(dir)
	for _, n := range names {
		to, _ := os.Readlink(filepath.Join(dir, n.Name()))
		out = append(out, to)
	}
	return out
}

// fill places calls until one is refused, tries so many more, and ends them
// all: how many were placed, and how many answers at the limit were not 503.
func fill(l *rig.Lab, s *rig.Server, most, tries int, patience time.Duration) (placed, other int, err error) {
	p, err := foe.Dial("tcp", "", s.TCP, nil)
	if err != nil {
		return 0, 0, err
	}
	defer p.Close()
	var up []func()
	defer func() {
		for _, end := range up {
			end()
		}
	}()
	for range most {
		r := p.Invite("", nil)
		a, err := p.Call(r, patience+5*time.Second)
		if err != nil {
			return placed, other, err
		}
		if a.Code() != 200 {
			break
		}
		placed++
		_ = p.Ack(r, a)
		up = append(up, func() { _, _ = p.Bye(r, a) })
	}
	for range tries {
		r := p.Invite("", nil)
		a, err := p.Call(r, 5*time.Second)
		if err != nil {
			return placed, other, err
		}
		if placed < most && a.Code() != 503 {
			other++
		}
		if a.Code() == 200 {
			_ = p.Ack(r, a)
			_, _ = p.Bye(r, a)
		}
	}
	return placed, other, nil
}

// cycles places so many calls, a few at a time; how many failed.
func cycles(l *rig.Lab, s *rig.Server, n int) (failed int) {
	const workers = 3
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			p, err := foe.Dial("tcp", foe.Source(w)+":0", s.TCP, nil)
			if err != nil {
				return
			}
			defer p.Close()
			for i := w; i < n && l.Err() == nil; i += workers {
				if err := cycle(p); err != nil {
					l.Logf("call %d: %v", i, err)
					mu.Lock()
					failed++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return failed
}

// cycle is one call without media.
func cycle(p *foe.Peer) error {
	r := p.Invite("", nil)
	a, err := p.Call(r, 20*time.Second)
	if err != nil || a.Code() != 200 {
		return fmt.Errorf("INVITE: %d %s: %w", a.Code(), a.Head.Reason, err)
	}
	if err := p.Ack(r, a); err != nil {
		return err
	}
	if a, err = p.Bye(r, a); err != nil || a.Code() != 200 {
		return fmt.Errorf("BYE: %d: %w", a.Code(), err)
	}
	return nil
}

// noFiles has a server that may open few files. A call that was taken is
// recorded to its end whatever comes.
func noFiles(l *rig.Lab) error {
	s, err := l.Server("store.segment=5s")
	if err != nil {
		return err
	}
	s.Wrap = []string{"prlimit", "--nofile=160:160", "--"}
	if _, err := s.Start(); err != nil {
		return err
	}
	b, err := foe.Play(l, s, 2, siprectest.Options{Duration: 7 * time.Second})
	if err != nil {
		return err
	}
	placed, other, err := fill(l, s, 200, 50, 5*time.Second)
	if err != nil {
		return err
	}
	most := 0
	if names, err := os.ReadDir(filepath.Join("/proc", fmt.Sprint(s.Pid()), "fd")); err == nil {
		most = len(names)
	}
	l.Logf("160 descriptors: %d more calls, %d in use afterwards", placed, most)
	foe.Wait(l, time.Second) // their ports are free
	l.Figure("calls until the descriptors were used up", fmt.Sprint(placed), "some, not 200", placed > 0 && placed < 200)
	l.Count("answers at that limit that were not 503", other, 0)
	sent, missing, err := b.Settle(l, s)
	if err != nil {
		return err
	}
	l.Figure("packets of live calls that were lost meanwhile", fmt.Sprintf("%d of %d", missing, sent), "0", missing == 0 && sent > 0)
	l.Count("live calls that ended otherwise than by their BYE", b.End(l), 0)
	failed := cycles(l, s, 20)
	l.Count("calls afterwards that failed", failed, 0)
	return nil
}
