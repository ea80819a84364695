package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"siprecd/cmd/bench/figure"
	"siprecd/cmd/bench/rig"
	"siprecd/media/floor"
	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
)

// bitrate is what the goals name, bit/s for both channels.
const bitrate = 32000

// encoders is how many calls libopus encodes in turn when it runs alone.
const encoders = 4

// bench is one run of the program.
type bench struct {
	settings
	out   io.Writer
	root  string // scratch folder
	made  int    // folders in it
	audio floor.Audio
	began time.Time

	windows []window // in the order in which they were measured
	steady  []window // hold's
	floors  map[int]figure.Samples
	broken  map[string][]string // by group of rows: why something could not be measured
	quick   latencies
	crash   crashes
	large   large
}

func newBench(s settings, out io.Writer) (*bench, error) {
	legs, err := siprectest.Conversation()
	if err != nil {
		return nil, err
	}
	var sides [2][]byte
	for i := range sides {
		for _, v := range legs[i].Audio.PCM {
			sides[i] = append(sides[i], audio.EncodeALaw(v))
		}
	}
	b := &bench{settings: s, out: out, began: time.Now(), floors: map[int]figure.Samples{}, broken: map[string][]string{}}
	if b.audio, err = floor.Decode(sides[0], sides[1]); err != nil {
		return nil, err
	}
	if b.bin, err = filepath.Abs(s.bin); err != nil {
		return nil, err
	}
	if b.root, err = os.MkdirTemp(s.dir, "siprecd-bench-"); err != nil {
		return nil, fmt.Errorf("make a scratch folder: %w", err)
	}
	return b, nil
}

func (b *bench) close() error { return os.RemoveAll(b.root) }

// measure runs all that was asked for, interleaved. Only a run that is stopped
// is an error: what cannot be measured fails its rows, and the others go on.
func (b *bench) measure(ctx context.Context) error {
	for round := range b.rounds {
		b.say("round %d of %d", round+1, b.rounds)
		for _, calls := range b.sizes() {
			b.try(ctx, "cost", b.take(plan{calls, 5, b.settings.window}, &b.windows))
		}
		b.try(ctx, "light", b.take(plan{b.light, 0, b.settings.window}, &b.windows))
		b.try(ctx, "latency", b.comeAndGo)
		b.try(ctx, "crash", b.die)
	}
	b.try(ctx, "hold", b.take(plan{b.calls, 5, b.hold}, &b.steady))
	b.try(ctx, "million", b.million)
	return context.Cause(ctx)
}

// try measures something for a group of rows, if that is wanted.
func (b *bench) try(ctx context.Context, row string, measure func(context.Context) error) {
	if !slices.Contains(b.rows, row) || ctx.Err() != nil {
		return
	}
	if err := measure(ctx); err != nil {
		b.say("%s: %v", row, err)
		b.broken[row] = append(b.broken[row], err.Error())
	}
}

// take measures a window and keeps it.
func (b *bench) take(p plan, into *[]window) func(context.Context) error {
	return func(ctx context.Context) error {
		w, err := b.window(ctx, p)
		if err == nil {
			*into = append(*into, w)
		}
		return err
	}
}

// sizes are the windows of the row cost.
func (b *bench) sizes() []int { return []int{min(20, b.calls), min(100, b.calls), b.calls} }

// server makes a new data folder for a server; sets are further keys of its
// configuration.
func (b *bench) server(ctx context.Context, complexity int, sets ...string) (*rig.Server, error) {
	b.made++
	return rig.New(ctx, b.bin, filepath.Join(b.root, fmt.Sprint(b.made)),
		append(sets, fmt.Sprintf("media.bitrate=%d", bitrate), fmt.Sprintf("media.complexity=%d", complexity))...)
}

// libopus runs the codec alone and keeps what a call second cost.
func (b *bench) libopus(complexity int) (time.Duration, error) {
	d, err := b.audio.Cost(floor.Coding{Bitrate: bitrate, Complexity: complexity}, encoders, b.floor)
	if err == nil {
		b.floors[complexity] = append(b.floors[complexity], millis(d))
	}
	return d, err
}

// say tells how the run goes.
func (b *bench) say(format string, args ...any) {
	at := time.Since(b.began).Round(time.Second)
	fmt.Fprintf(b.out, "%6s  %s\n", at, fmt.Sprintf(format, args...)) // only news
}

func millis(d time.Duration) float64 { return d.Seconds() * 1000 }
