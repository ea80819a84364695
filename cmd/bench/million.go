package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"siprecd/cmd/bench/figure"
	"siprecd/cmd/bench/proc"
	"siprecd/cmd/bench/rig"
	"siprecd/cmd/siprecd/config"
	"siprecd/store/fill"
	"siprecd/store/policy"
)

// large is what the large catalogue gave.
type large struct {
	count  int
	search figure.Samples // ms, one a query: the median of its repetitions
	worst  string         // the slowest query
	start  figure.Samples // seconds: after filling, after a clean stop, after kill -9
	memory figure.Samples // MB that listing everything cost: server, list
	faults []string
}

// million fills a catalogue, starts a server on it, and searches it with
// `siprecd list`.
func (b *bench) million(ctx context.Context) error {
	s, err := b.server(ctx, 5)
	if err != nil {
		return err
	}
	o, err := b.fill(ctx, s)
	if err != nil {
		return err
	}
	b.say("%d recordings catalogued", o.Count)
	defer s.Kill()
	for _, end := range []func() error{s.Stop, func() error { s.Kill(); return nil }, nil} {
		took, err := s.Start(ctx, 2*time.Minute)
		if err != nil {
			return err
		}
		b.large.start = append(b.large.start, took.Seconds())
		if end == nil {
			break
		}
		if err := end(); err != nil {
			return fmt.Errorf("stop the server: %w", err)
		}
	}
	if err := b.search(ctx, s, o); err != nil {
		return err
	}
	if err := b.listAll(ctx, s, o); err != nil {
		return err
	}
	b.large.count = o.Count
	b.say("%d recordings: ready after %.2f s; slowest of the lists by %s: %.0f ms; %v MB for a list of all %v",
		o.Count, b.large.start, b.large.worst, b.large.search.Quantile(1), b.large.memory, b.large.faults)
	return os.RemoveAll(s.Dir)
}

// fill makes half a year of recordings on the lines of the example policy.
func (b *bench) fill(ctx context.Context, s *rig.Server) (o fill.Options, err error) {
	cfg, _, err := config.Load(s.ConfigFile(), nil, time.Now())
	if err != nil {
		return o, err
	}
	rules, err := policy.New(cfg.Policy)
	if err != nil {
		return o, err
	}
	now := time.Now()
	o = fill.Options{
		Dir: s.Dir, Count: b.recordings, From: now.AddDate(0, -6, 0), To: now, Callers: 20000,
		Normalise: rules.Normalise, Logger: slog.New(slog.DiscardHandler),
	}
	for _, l := range cfg.Policy.Lines {
		o.Lines = append(o.Lines, fill.Line{Name: l.Name, Number: rig.Dialled(l.Number)})
	}
	return o, fill.Run(ctx, o)
}

// search asks for the first 50 in the ways that people do; the time is that of
// the whole command.
func (b *bench) search(ctx context.Context, s *rig.Server, o fill.Options) error {
	const repeat = 9
	day := func(ago int) string { return time.Now().AddDate(0, 0, -ago).Format(time.DateOnly) }
	line, number := o.Lines[7].Name, o.Caller(o.Count/2)
	for _, q := range []struct {
		name string
		want int
		args []string
	}{
		{"time", 50, nil},
		{"line", 50, []string{"--line", line}},
		{"day", 50, []string{"--from", day(90), "--to", day(89)}},
		{"number", 50, []string{"--number", number}},
		{"line and day", 50, []string{"--line", line, "--from", day(90), "--to", day(89)}},
		{"line called", 50, []string{"--number", o.Lines[7].Number}},
		{"number and line", 0, []string{"--number", number, "--line", line}},
		{"number unknown", 0, []string{"--number", "020 7946 0999"}},
		{"live", 0, []string{"--state", "live"}},
	} {
		var took figure.Samples
		found := 0
		for range repeat {
			began := time.Now()
			out, err := s.Run(ctx, "list", append([]string{"--json", "--limit", "50"}, q.args...)...)
			if err != nil {
				return err
			}
			found, took = bytes.Count(out, []byte("\n")), append(took, millis(time.Since(began)))
		}
		if found < min(q.want, b.recordings/o.Callers) {
			b.large.faults = append(b.large.faults, fmt.Sprintf("by %s only %d were found", q.name, found))
		}
		b.say("  by %s: %d in %.1f ms", q.name, found, took.Median())
		if took.Median() > b.large.search.Quantile(1) {
			b.large.worst = q.name
		}
		b.large.search = append(b.large.search, took.Median())
	}
	return nil
}

// listAll lists every recording and looks at the memory of both processes.
func (b *bench) listAll(ctx context.Context, s *rig.Server, o fill.Options) error {
	was, err := proc.MemoryOf(s.PID())
	if err != nil {
		return err
	}
	n, peak, err := s.Count(ctx, "list", "--json")
	if err != nil {
		return err
	}
	now, err := proc.MemoryOf(s.PID())
	if err != nil {
		return err
	}
	if n != o.Count {
		b.large.faults = append(b.large.faults, fmt.Sprintf("%d of %d are listed", n, o.Count))
	}
	b.large.memory = figure.Samples{float64(now.Anonymous-was.Anonymous) / 1e6, float64(peak) / 1e6}
	return nil
}
