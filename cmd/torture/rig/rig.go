// Package rig is what the torture rows stand on: a laboratory with the real
// binary on real sockets, and figures that pass or fail.
//
//	Row ─► Lab ─► Server (siprecd serve, its folder, its ports)
//	        │      └ List, Finished, Manifests, Status, Metric, Usage, Export:
//	        │        as an operator or a collector sees it
//	        ├► Place: calls in the background
//	        └► Figure, Control ─► Result ─► one line of the table
//
// A row says what it measures, and in how many rounds: all of them for the
// table, a few as a test. A row that needs what the machine lacks is skipped
// and says so; it never passes by that, nor does one that measured nothing. A
// negative control is a run whose fault must be caught: a row whose controls
// catch nothing fails.
//
// Promises: a row that panics, or hangs beyond its limit, is a failed row, and
// the next one runs; its servers are killed and its folder is removed in any
// case. Rows may run side by side, in several processes too: a server's ports
// are claimed for as long as its row runs.
//
// Caveat: the goroutine of a row that hangs, and heeds no context, stays.
package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// Row is one line of the table.
type Row struct {
	ID     string // of the goal table: A1
	What   string // in a few words
	Rounds int    // of the full run
	Short  int    // of the test
	Needs  []Need
	Limit  time.Duration    // how long it may take; 0: 20 minutes
	Run    func(*Lab) error // an error is a failure of the row itself
}

// Need is something that not every machine has.
type Need struct {
	Name string
	OK   func() bool
}

// Tool is the need for a program.
func Tool(name string) Need {
	return Need{Name: name, OK: func() bool { _, err := exec.LookPath(name); return err == nil }}
}

// Root is the need to be the superuser.
func Root() Need { return Need{Name: "root", OK: func() bool { return os.Geteuid() == 0 }} }

// Loop is the need for loop devices and the right to mount them.
func Loop() Need {
	return Need{Name: "loop mounts", OK: func() bool {
		f, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
		if err != nil {
			return false
		}
		f.Close()
		return os.Geteuid() == 0
	}}
}

// Figure is one measured value with its judgement.
type Figure struct {
	Name, Value, Goal string
	OK                bool
	Control           bool // a negative control
}

// Result is what came out of a row.
type Result struct {
	Row     Row
	Rounds  int
	Took    time.Duration
	Skipped string // what is lacking
	Err     error
	Figures []Figure
}

// OK says that the row passed: it ran, measured something, and every figure
// holds.
func (r Result) OK() bool {
	if r.Err != nil || r.Skipped != "" || len(r.Figures) == 0 {
		return false
	}
	for _, f := range r.Figures {
		if !f.OK {
			return false
		}
	}
	return true
}

// Lab is where one row runs. Figure, Control and Logf may be called from any
// goroutine.
type Lab struct {
	context.Context
	Bin    string // the siprecd under test
	Dir    string // for the row's files; removed afterwards
	Rounds int
	Short  bool // of a test: the machine has other things to do
	Span   int  // media ports of each server made from now on; 0: 1000
	Log    io.Writer

	mu      sync.Mutex
	figures []Figure
	servers []*Server
	cleanup []func()
	over    bool // what comes later is of a row that hung
}

// Figure notes a measured value: ok says whether it meets the goal.
func (l *Lab) Figure(name, value, goal string, ok bool) {
	l.add(Figure{Name: name, Value: value, Goal: goal, OK: ok})
}

func (l *Lab) add(f Figure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.figures = append(l.figures, f)
	l.logf("%s: %s (goal %s) %s", f.Name, f.Value, f.Goal, map[bool]string{true: "pass", false: "FAIL"}[f.OK])
}

// AtMost notes a duration that must not be longer than goal.
func (l *Lab) AtMost(name string, got, goal time.Duration) {
	l.Figure(name, got.Round(time.Millisecond).String(), "≤ "+goal.String(), got <= goal)
}

// Within notes how soon something was done. The short form, which shares its
// machine, is held against ten times as long, or ten seconds.
func (l *Lab) Within(name string, got, goal time.Duration) { l.AtMost(name, got, l.Ease(goal)) }

// Ease is a goal of speed as this run is held against it.
func (l *Lab) Ease(goal time.Duration) time.Duration {
	if l.Short {
		return max(10*goal, 10*time.Second)
	}
	return goal
}

// Count notes a number that must be exactly want.
func (l *Lab) Count(name string, got, want int) {
	l.Figure(name, fmt.Sprint(got), fmt.Sprint(want), got == want)
}

// Control notes a negative control: of so many injected faults, how many were
// caught. All must be, and there must be some.
func (l *Lab) Control(name string, caught, of int) {
	l.add(Figure{Name: "control: " + name, Value: fmt.Sprintf("%d of %d caught", caught, of), Goal: "all", OK: of > 0 && caught == of, Control: true})
}

// Logf writes a line for who watches the run.
func (l *Lab) Logf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logf(format, args...)
}

func (l *Lab) logf(format string, args ...any) {
	if l.over {
		return // a row that hung has come back: its log may be gone
	}
	fmt.Fprintf(l.Log, "    "+strings.TrimSuffix(format, "\n")+"\n", args...)
}

// Cleanup has f run when the row is over, the latest first.
func (l *Lab) Cleanup(f func()) {
	l.mu.Lock()
	over := l.over
	if !over {
		l.cleanup = append(l.cleanup, f)
	}
	l.mu.Unlock()
	if over {
		f() // the row was given up while it made this
	}
}

// Sleep waits for a span of the test itself (a call's length, say), or for the
// row's end, which is its error. To wait for something, use Await.
func (l *Lab) Sleep(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-l.Done():
		return context.Cause(l)
	}
}

// Await polls until ok, for at most limit.
func (l *Lab) Await(what string, limit time.Duration, ok func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(limit)
	defer late.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late.C:
			return fmt.Errorf("did not happen within %v: %s", limit, what)
		case <-l.Done():
			return fmt.Errorf("waited for: %s: %w", what, context.Cause(l))
		}
	}
	return nil
}

// Tool runs an outsider that must succeed and gives its output.
func (l *Lab) Tool(name string, args ...string) (string, error) {
	out, err := exec.CommandContext(l, name, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// rowLimit is how long a row may take that says nothing else; grace how long
// it may take to notice that its time is over.
const (
	rowLimit = 20 * time.Minute
	grace    = 15 * time.Second
)

// Run runs a row in a folder of its own; rounds 0 means the row's full number.
func Run(ctx context.Context, row Row, bin string, rounds int, log io.Writer) Result {
	if rounds == 0 {
		rounds = row.Rounds
	}
	res := Result{Row: row, Rounds: rounds}
	for _, n := range row.Needs {
		if !n.OK() {
			res.Skipped = n.Name
			return res
		}
	}
	dir, err := os.MkdirTemp("", "siprecd-"+row.ID+"-")
	if err != nil {
		res.Err = err
		return res
	}
	if bin, err = filepath.Abs(bin); err == nil {
		_, err = os.Stat(bin)
	}
	if err != nil {
		res.Err = errors.Join(err, os.RemoveAll(dir))
		return res
	}
	limit := row.Limit
	if limit == 0 {
		limit = rowLimit
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not over within %v", limit))
	defer cancel()
	lab := &Lab{Context: ctx, Bin: bin, Dir: dir, Rounds: rounds, Short: rounds <= row.Short && rounds < row.Rounds, Log: log}
	began := time.Now()
	res.Err = lab.attempt(row)
	res.Took = time.Since(began)
	cancel()
	return lab.close(res)
}

// attempt runs the row and waits for it, or for its limit.
func (l *Lab) attempt(row Row) error {
	done := make(chan error, 1)
	go func() { done <- l.guarded(row) }()
	select {
	case err := <-done:
		return err
	case <-l.Done():
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case err := <-done:
		if cause := context.Cause(l); !errors.Is(err, cause) {
			err = errors.Join(cause, err)
		}
		return err
	case <-late.C:
		return fmt.Errorf("%w, and does not stop", context.Cause(l))
	}
}

// guarded runs the row; a panic in it is its failure, told with where.
func (l *Lab) guarded(row Row) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
			l.Logf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return row.Run(l)
}

// close ends what the row started and takes its figures.
func (l *Lab) close(res Result) Result {
	l.mu.Lock()
	l.over = true
	cleanup, servers := l.cleanup, l.servers
	res.Figures = slices.Clone(l.figures)
	l.mu.Unlock()
	failed := !res.OK()
	for _, s := range servers {
		s.Kill()
		if failed {
			fmt.Fprintf(l.Log, "--- the log of %s\n%s\n", s.Dir, told(s.Output()))
		}
	}
	for _, f := range slices.Backward(cleanup) {
		f()
	}
	res.Err = errors.Join(res.Err, os.RemoveAll(l.Dir))
	return res
}

// told is what a log says of trouble, and its end.
func told(log string) string {
	var bad []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			bad = append(bad, line)
		}
	}
	const most = 60 // lines of each
	lines := slices.Collect(strings.Lines(log))
	return strings.Join(bad[:min(most, len(bad))], "") + "...\n" + strings.Join(lines[max(0, len(lines)-most):], "")
}
