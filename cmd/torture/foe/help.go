// Package foe is what rows of attacks stand on.
//
//	Peer  writes its own bytes: nothing of ours lies between it and the wire
//	Band  calls of an honest client that are up meanwhile
//
// It answers the recorder's BYE, and that is all it does by itself.
package foe

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"siprecd/cmd/torture/rig"
	"siprecd/recorder"
	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
)

// Start makes a server and runs it.
func Start(l *rig.Lab, sets ...string) (*rig.Server, error) {
	s, err := l.Server(sets...)
	if err != nil {
		return nil, err
	}
	_, err = s.Start()
	return s, err
}

// Status is /status with its types.
func Status(s *rig.Server) (recorder.Status, error) {
	var st recorder.Status
	code, b := s.Fetch("/status?format=json")
	if err := json.Unmarshal(b, &st); err != nil {
		return st, fmt.Errorf("status %d: %w", code, err)
	}
	return st, nil
}

// Band are calls that are up during an attack.
type Band struct {
	client *siprectest.Client
	Calls  []*siprectest.Call
	close  func()
}

// Play places n calls of the given length, one after the other.
func Play(l *rig.Lab, s *rig.Server, n int, o siprectest.Options) (*Band, error) {
	c, err := siprectest.Dial(l, "udp://"+s.UDP, nil)
	if err != nil {
		return nil, err
	}
	b := &Band{client: c, close: sync.OnceFunc(func() { _ = c.Close() })}
	l.Cleanup(b.close)
	if o.Legs == nil {
		o.Legs = []siprectest.Leg{{Name: "A Resident", Audio: audio.Tone(440, -18)}, {Name: "Council Tax", Audio: audio.Tone(1000, -18)}}
	}
	for range n {
		call, err := c.Invite(l, o)
		if err != nil {
			return nil, fmt.Errorf("place a call: %w", err)
		}
		b.Calls = append(b.Calls, call)
	}
	return b, nil
}

// Settle waits for the end of the media and counts: packets that were sent, and
// those that did not get into the recordings.
func (b *Band) Settle(l *rig.Lab, s *rig.Server) (sent, missing int, err error) {
	for _, c := range b.Calls {
		if err := c.Wait(l); err != nil {
			return 0, 0, err
		}
		for _, leg := range c.Report().Legs {
			sent += leg.Sent
		}
	}
	placed := uint64(0)
	_ = l.Await("all packets are placed", 5*time.Second, func() bool {
		st, err := Status(s)
		placed = 0
		for _, c := range st.Calls {
			for _, leg := range c.Legs {
				placed += leg.Packets
			}
		}
		return err == nil && int(placed) >= sent
	})
	return sent, max(0, sent-int(placed)), nil
}

// End hangs all of them up.
func (b *Band) End(ctx context.Context) (failed int) {
	for _, c := range b.Calls {
		if c.Bye(ctx) != nil {
			failed++
		}
	}
	b.close()
	return failed
}

// CPU is the processor time that a process has used, by the scheduler's count.
func CPU(pid int) (sum time.Duration) {
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			continue // a thread that has ended
		}
		if f := strings.Fields(string(b)); len(f) > 0 {
			ns, _ := strconv.ParseInt(f[0], 10, 64)
			sum += time.Duration(ns)
		}
	}
	return sum
}

// Wait lets time pass.
func Wait(l *rig.Lab, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.Done():
	}
}

// Source is address number n of those that attacks come from.
func Source(n int) string {
	n += 256 // 127.1.1.0 and what follows: none of them ends in the live calls'
	return fmt.Sprintf("127.%d.%d.%d", 1+n>>16&127, 1+n>>8&127, n&255)
}

// MiB writes a number of bytes.
func MiB(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// RTP is one packet.
func RTP(pt uint8, seq uint16, ts, ssrc uint32, payload []byte) []byte {
	b := []byte{0x80, pt, byte(seq >> 8), byte(seq), byte(ts >> 24), byte(ts >> 16), byte(ts >> 8), byte(ts),
		byte(ssrc >> 24), byte(ssrc >> 16), byte(ssrc >> 8), byte(ssrc)}
	return append(b, payload...)
}
