// Command bench measures siprecd as its users run it, against what libopus
// alone costs, and says whether the goals are met. `make bench` runs it.
//
//	round 1, 2, 3:  libopus │ 20 calls │ libopus │ 100 │ libopus │ 300 │ libopus │ … complexity 0
//	                latency: 200 live, 20 new a second         crash: kill -9 at 300 live
//	once:           hold: 300 calls for minutes                million: list and start
//	                                   │
//	                     medians, spread, faults ─► one table, exit code
//
// A window: a fresh siprecd on the loopback, driven by `siprecd call` in another
// process (PCMA, 20 ms, both parties in conversation), everything as `siprecd
// init` leaves it but for the bit rate, 32 kbit/s, which the goals name. Once
// all calls are up, the CPU of the server's process (user and system, from
// /proc) is taken over a whole number of conversations. In the same seconds
// libopus encodes the same audio flat out on one thread of this program, a
// quarter of each second: the speed of a shared machine wanders by some 15 %
// from one minute to the next, so what was measured at another time is another
// machine's figure. It also runs right before and right after, while nothing
// else of ours does, and is printed with the window. Then the calls end and every recording is judged (package rig).
//
// Promises: a run that lost anything fails its rows, whatever they say; what was
// not measured is not shown as a figure. Goals are judged by the median of the
// rounds; the range stands beside it.
//
// Caveats: on the loopback the kernel charges the way to the socket to the
// sender. How noisy the machine was is printed: libopus' own spread, the time
// that the hypervisor gave to others, and other processes' CPU. When these are
// large, run it again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"siprecd/cmd/bench/figure"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// settings are the flags.
type settings struct {
	bin, dir   string
	rounds     int
	window     time.Duration
	rate       float64
	hold       time.Duration
	calls      int // of cost's last window, hold and crash
	light      int
	latency    time.Duration
	recordings int
	floor      time.Duration
	rows       []string
}

// rows are the groups of figures that can be asked for.
func rows() []string { return []string{"cost", "light", "latency", "crash", "hold", "million"} }

func parse(args []string, stderr io.Writer) (s settings, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	list := f.String("rows", strings.Join(rows(), ","), "what to measure")
	f.StringVar(&s.bin, "bin", "bin/siprecd", "the release build")
	f.StringVar(&s.dir, "dir", "", "folder for scratch data; default: the system's")
	f.IntVar(&s.rounds, "rounds", 3, "rounds of cost, light, latency and crash")
	f.DurationVar(&s.window, "window", 19200*time.Millisecond, "CPU is taken for so long; whole conversations are 6.4s")
	f.Float64Var(&s.rate, "rate", 30, "new calls a second until all are up")
	f.DurationVar(&s.hold, "hold", 5*time.Minute, "how long calls are held")
	f.IntVar(&s.calls, "calls", 300, "calls of the largest window, of hold and of crash")
	f.IntVar(&s.light, "light", 450, "calls at complexity 0")
	f.DurationVar(&s.latency, "latency", 30*time.Second, "how long calls come and go")
	f.IntVar(&s.recordings, "recordings", 1_000_000, "rows of the large catalogue")
	f.DurationVar(&s.floor, "floor", 1500*time.Millisecond, "CPU time of a run of libopus")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	s.rows = strings.Split(*list, ",")
	for _, r := range s.rows {
		if !slices.Contains(rows(), r) {
			return s, fmt.Errorf("-rows %s: there are %s", r, strings.Join(rows(), ", "))
		}
	}
	if f.NArg() > 0 || s.rounds < 1 || s.window < time.Second {
		return s, errors.New("want flags only, at least one round, and windows of at least a second")
	}
	return s, nil
}

// run is the program: exit code 0 when every goal is met, 1 when one is missed
// or cannot be measured, 2 for wrong usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	b, err := newBench(s, stdout)
	if err == nil {
		err = errors.Join(b.measure(ctx), b.close())
	}
	if b == nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	list := b.figures()
	fmt.Fprintf(stdout, "\n%s\n%s", figure.Table(list), b.noise())
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	for _, f := range list {
		if !f.Pass() {
			return 1
		}
	}
	return 0
}
