package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"siprecd/siprec/siprectest"
	"siprecd/store"
)

// poll is how often the list of live recordings is asked for: what Watch sees
// is late by at most that and the time of one list.
const poll = 25 * time.Millisecond

// Watch places calls and asks the running store all the while which recordings
// are live. It returns the caller's report and, by recording id, when each
// had ceased to be so: then it is listed as finished.
func (s *Server) Watch(ctx context.Context, l Load) (map[string]time.Time, siprectest.Report, error) {
	kept, err := s.open(ctx)
	if err != nil {
		return nil, siprectest.Report{}, err
	}
	gone, stop, watched := map[string]time.Time{}, make(chan struct{}), make(chan error, 1)
	go func() { watched <- watch(ctx, kept, gone, stop) }()
	report, err := s.place(ctx, l)
	if err == nil {
		err = s.AwaitLive(ctx, 0, time.Minute)
	}
	close(stop)
	err = errors.Join(err, <-watched, kept.Close(ctx))
	return gone, report, err
}

// place places calls and waits for them.
func (s *Server) place(ctx context.Context, l Load) (siprectest.Report, error) {
	c, err := s.Call(ctx, l)
	if err != nil {
		return siprectest.Report{}, err
	}
	return c.Wait()
}

// open asks the running server for its recordings.
func (s *Server) open(ctx context.Context) (*store.Store, error) {
	return store.Open(ctx, store.Options{Dir: s.Dir, ReadOnly: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
}

// watch notes when recordings cease to be live, until stop is closed; then it
// looks once more.
func watch(ctx context.Context, kept *store.Store, gone map[string]time.Time, stop <-chan struct{}) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	was := map[string]bool{}
	for last := false; ; {
		now := map[string]bool{}
		for row, err := range kept.List(ctx, store.Query{State: store.Live}) {
			if err != nil {
				return fmt.Errorf("list live recordings: %w", err)
			}
			now[row.ID] = true
		}
		at := time.Now()
		for id := range was {
			if !now[id] {
				gone[id] = at
			}
		}
		if was = now; last {
			return nil
		}
		select {
		case <-tick.C:
		case <-stop:
			last = true
		}
	}
}

// Delays are the times from a call's BYE to its recording's end, ms, for those
// recordings whose call is in the report.
func (s *Server) Delays(ctx context.Context, gone map[string]time.Time, r siprectest.Report) ([]float64, error) {
	kept, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	byes := map[string]time.Time{}
	for _, c := range r.Calls {
		if !c.ByeAt.IsZero() {
			byes[c.CallID] = c.ByeAt
		}
	}
	var list []float64
	for id, at := range gone {
		d, err2 := kept.Details(store.Access{Who: "bench", Why: "match calls and recordings"}, id)
		if err = errors.Join(err, err2); err != nil {
			break
		}
		if bye, ok := byes[d.CallID]; ok {
			list = append(list, at.Sub(bye).Seconds()*1000)
		}
	}
	return list, errors.Join(err, kept.Close(ctx))
}
