package interop_test

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"siprecd/media"
	"siprecd/recorder"
	"siprecd/recorder/alarm"
	"siprecd/siprec"
	"siprecd/store"
	"siprecd/store/policy"
	"siprecd/store/seal"
)

// TestMain lets many rows run at a time, whatever -parallel says beyond one:
// they mostly wait.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() != "1" {
		if err := f.Value.Set("12"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// setup is what a row may change before its recorder starts.
type setup struct {
	policy policy.Policy
	rec    recorder.Config
	sip    siprec.Config
	media  media.Config
	dir    string // of the store; "": a new one
}

// rig is a whole recorder on loopback: real sockets, a real store.
type rig struct {
	t        *testing.T
	dir      string
	store    *store.Store
	rec      *recorder.Recorder
	sip      *siprec.Server
	identity []age.Identity
	addrs    []string // targets: udp, tcp, and what a row added
	log      *logBuffer
	stop     func()
}

// logBuffer keeps what is logged at info and above.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// council is a policy in the shape of the example's.
func council() policy.Policy {
	p := policy.Policy{
		Timezone: "Europe/London", Unlisted: "accept",
		Numbering: policy.Numbering{Country: "44", Trunk: "0", Area: "20", Extension: 4},
	}
	for _, l := range []string{
		"6020 Building control", "5333 Business waste", "7050 Council tax", "7733 Customer portal helpline",
		"7170 Ealing together", "9000 Facilities management", "5588 Family information service",
		"8825 Grime busters", "7000 Housing benefits", "7829 Housing benefits change of circumstances",
		"6222 Highways", "8888 Housing demand", "5682 Housing repairs", "8161 Mobility", "6999 Parks",
		"6644 Pest control", "6600 Planning", "8111 Pollution control", "7171 Registrars",
		"8000 Social services", "6000 Street services", "5000 Switchboard",
	} {
		p.Lines = append(p.Lines, policy.Line{Name: l[5:], Number: "020 8825 " + l[:4], Always: true})
	}
	p.Lines = append(p.Lines, policy.Line{Name: "Elections", Number: "020 8825 7777"})
	return p
}

// portBase hands every rig a stretch of media ports, so that none takes
// another's.
var portBase struct {
	sync.Mutex
	next int
}

func nextPorts() int {
	portBase.Lock()
	defer portBase.Unlock()
	const low, high, step = 20000, 32000, 60
	if portBase.next < low || portBase.next+step > high {
		portBase.next = low
	}
	p := portBase.next
	portBase.next += step
	return p
}

// newRig starts a recorder; change may alter its configuration.
func newRig(t *testing.T, change func(*setup)) *rig {
	t.Helper()
	r := &rig{t: t, log: &logBuffer{}}
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	port := nextPorts()
	s := setup{
		policy: council(),
		media: media.Config{
			Address: netip.MustParseAddr("127.0.0.1"), PortMin: port, PortMax: port + 59,
			Workers: 1, Allow: func(a netip.Addr) bool { return a.IsLoopback() },
		},
		rec: recorder.Config{
			Address: netip.MustParseAddr("127.0.0.1"),
			Layout:  media.Stereo, Bitrate: 36000, Complexity: 5, Version: "test", Log: log,
			Alarms: alarm.Limits{NoMedia: 8 * time.Second, Silence: time.Minute},
		},
		sip: siprec.Config{
			Listen: []string{"udp://127.0.0.1:0", "tcp://127.0.0.1:0"},
			Peers:  []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
			Logger: log,
		},
	}
	if change != nil {
		change(&s)
	}
	r.open(s)
	return r
}

// open starts everything, from the store up.
func (r *rig) open(s setup) {
	r.t.Helper()
	must := func(err error) {
		r.t.Helper()
		if err != nil {
			r.t.Fatal(err)
		}
	}
	r.dir = s.dir
	if r.dir == "" {
		r.dir = r.t.TempDir()
		_, err := seal.InitKeys(r.dir)
		must(err)
	}
	rules, err := policy.New(s.policy)
	must(err)
	r.store, err = store.Open(r.t.Context(), store.Options{Dir: r.dir, Normalise: rules.Normalise, Logger: s.rec.Log})
	must(err)
	engine, err := media.Open(s.media)
	must(err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	s.rec.Rules, s.rec.Store, s.rec.Media = rules, r.store, engine
	r.rec = recorder.New(context.WithoutCancel(ctx), s.rec)
	s.sip.Ready, s.sip.Handler = r.rec.Admit, r.rec
	r.sip, err = siprec.NewServer(s.sip)
	must(err)
	r.rec.Attach(r.sip)
	served := make(chan error, 1)
	go func() { served <- r.sip.Serve(ctx) }()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.rec.Watch(ctx)
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-watched
		for what, err := range map[string]error{
			"serve": <-served, "media": engine.Close(), "store": r.store.Close(context.WithoutCancel(ctx)),
		} {
			if err != nil {
				r.t.Errorf("%s: %v", what, err)
			}
		}
	})
	r.t.Cleanup(func() {
		r.stop()
		if r.t.Failed() {
			r.t.Log(r.log.String())
		}
	})
	r.addrs = r.sip.Addrs()
	key := filepath.Join(r.dir, "keys", seal.ConsoleKeyFile)
	f, err := os.Open(key)
	must(err)
	defer f.Close()
	r.identity, err = age.ParseIdentities(f)
	must(err)
}

// rows are all recordings, oldest first.
func (r *rig) rows() []store.Row {
	r.t.Helper()
	var rows []store.Row
	for row, err := range r.store.List(r.t.Context(), store.Query{}) {
		if err != nil {
			r.t.Fatal(err)
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b store.Row) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID))
	})
	return rows
}

// finished waits for n recordings to be finished and opens them, oldest first.
func (r *rig) finished(n int) []kept {
	r.t.Helper()
	var rows []store.Row
	await(r.t, fmt.Sprintf("%d recordings to be finished", n), func() bool {
		rows = slices.DeleteFunc(r.rows(), func(row store.Row) bool { return row.State != store.Finished })
		return len(rows) >= n
	})
	if len(rows) != n {
		r.t.Fatalf("%d recordings, want %d", len(rows), n)
	}
	var out []kept
	for _, row := range rows {
		out = append(out, r.openKept(row))
	}
	return out
}

// one is the only recording.
func (r *rig) one() kept {
	r.t.Helper()
	return r.finished(1)[0]
}

// none checks that nothing is kept.
func (r *rig) none() {
	r.t.Helper()
	if rows := r.rows(); len(rows) != 0 {
		r.t.Errorf("listed, and should not be: %+v", rows)
	}
}

// counted is a counter of refused and dropped messages.
func (r *rig) counted(reason string) bool { return r.sip.Counters()[reason] > 0 }

// await polls until a condition holds.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if !awaitFor(10*time.Second, ok) {
		t.Fatalf("waited in vain for %s", what)
	}
}

func awaitFor(limit time.Duration, ok func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			return ok()
		case <-tick.C:
		}
	}
	return true
}

// pause lets time go by that the case is about.
func pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// target is the address of a transport.
func (r *rig) target(network string) string {
	r.t.Helper()
	for _, a := range r.addrs {
		if rest, ok := strings.CutPrefix(a, network+"://"); ok {
			return rest
		}
	}
	r.t.Fatalf("the recorder does not listen on %s", network)
	return ""
}
