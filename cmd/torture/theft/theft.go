// Package theft holds the rows of what a thief gets: who takes the disk, the
// logs, the memory, an old backup, or changes what is kept.
//
//	calls with planted names, numbers and Call-IDs ─► siprecd
//	    ├─ E1  folder, logs at debug ─► needles ─► none may be found
//	    ├─ E1m memory of the idle process, as root
//	    ├─ E2  folder without the console's key ─► age, siprecd export: nothing opens
//	    ├─ E3  erase ─► live folder, three old backups, all keys ─► nothing opens
//	    ├─ E4  twelve kinds of tampering ─► siprecd verify names the recording
//	    └─ E5  export ─► stock age opens it; E6 FIPS modes
//
// Everything is looked for by bytes, in the forms that a careless program would
// leave: as it is, UTF-16, hex, base64. Each row first shows that it would find
// what it looks for.
package theft

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
	"siprecd/store"
)

// Rows are E1 to E6 of the goal table.
func Rows() []rig.Row {
	age := rig.Tool("age")
	return []rig.Row{
		{ID: "E1", What: "planted numbers, names and Call-IDs in files and logs", Rounds: 1000, Short: 25, Run: planted},
		{ID: "E1m", What: "the memory of the idle recorder, as root", Rounds: 200, Short: 4, Needs: []rig.Need{rig.Root()}, Run: memory},
		{ID: "E2", What: "the folder without the console's key", Rounds: 20, Short: 2, Needs: []rig.Need{age}, Run: stolen},
		{ID: "E3", What: "erase: live, journal, keyboxes, three backups, all keys", Rounds: 20, Short: 2, Needs: []rig.Need{age}, Run: erased},
		{ID: "E3b", What: "admissions while 100,000 keyboxes are compacted; rounds are erasures", Rounds: 20, Short: 1, Run: busy},
		{ID: "E4", What: "tampering of twelve kinds", Rounds: 100, Short: 1, Run: tampered},
		{ID: "E5", What: "Debian's age opens exports and segments", Rounds: 200, Short: 3, Needs: []rig.Need{age}, Run: stockAge},
		{ID: "E5n", What: "the newest age opens them, classical and hybrid", Rounds: 50, Short: 1, Needs: []rig.Need{newestAge()}, Run: newAge},
		{ID: "E6", What: "FIPS modes", Rounds: 3, Short: 1, Run: fips},
	}
}

// caller is one planted call.
type caller struct {
	number string // as dialled
	name   string
	aor    string
	callID string // the client's, once it has called
}

func callerOf(n int) caller {
	return caller{
		number: fmt.Sprintf("0207946%04d", n%10000),
		name:   fmt.Sprintf("Plantagenet%04dQuux", n),
		aor:    fmt.Sprintf("sip:0207946%04d@plant%04dzz.example", n%10000, n),
	}
}

// most is how many planted calls are up at a time.
const most = 12

// plant places n calls of length each, one for each caller, and returns the
// callers once all recordings are finished.
func plant(l *rig.Lab, s *rig.Server, n int, length time.Duration) ([]caller, []store.Row, error) {
	client, err := siprectest.Dial(l, "udp://"+s.UDP, nil)
	if err != nil {
		return nil, nil, err
	}
	defer client.Close()
	list, errs := make([]caller, n), make([]error, n)
	room := make(chan struct{}, most)
	var calls sync.WaitGroup
	for i := range list {
		room <- struct{}{}
		calls.Go(func() {
			defer func() { <-room }()
			list[i] = callerOf(i)
			errs[i] = list[i].call(l, client, length)
		})
	}
	calls.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, nil, fmt.Errorf("place call: %w", err)
		}
	}
	rows, err := s.Finished(n, time.Minute)
	return list, rows, err
}

func (c *caller) call(ctx context.Context, client *siprectest.Client, length time.Duration) error {
	o := siprectest.Options{
		From: c.number, Duration: length, Timeout: 20 * time.Second,
		Legs: []siprectest.Leg{
			{Name: c.name, AoR: c.aor, Audio: audio.Tone(440, -18)},
			{Name: "Agent " + c.name, Audio: audio.Tone(1000, -18)},
		},
	}
	call, err := client.Invite(ctx, o)
	for tries := 0; refusedForNow(err) && tries < 300 && ctx.Err() == nil; tries++ {
		rest := time.NewTimer(200 * time.Millisecond)
		select {
		case <-rest.C:
		case <-ctx.Done():
		}
		call, err = client.Invite(ctx, o)
	}
	if err != nil {
		return err
	}
	c.callID = call.ID()
	if err := call.Wait(ctx); err != nil {
		return err
	}
	return call.Bye(ctx)
}

// refusedForNow says that the recorder is at its limit, as it may be on a busy
// machine.
func refusedForNow(err error) bool {
	var status *siprectest.StatusError
	return errors.As(err, &status) && status.Code == 503
}

// begin makes and starts a server.
func begin(l *rig.Lab, sets ...string) (*rig.Server, error) {
	s, err := l.Server(sets...)
	if err == nil {
		_, err = s.Start()
	}
	return s, err
}
