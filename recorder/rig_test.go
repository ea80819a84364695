package recorder_test

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
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

// rig is a whole recorder on loopback: real sockets, a real store.
type rig struct {
	t        *testing.T
	dir      string
	store    *store.Store
	rec      *recorder.Recorder
	media    *media.Engine
	identity []age.Identity
	udp, tcp string     // targets
	log      transcript // of every level
	clocked  time.Time  // until when the guard has been told how busy the machine is
}

// transcript keeps what is written to it.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (w *transcript) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

// bytes are what was written so far.
func (w *transcript) bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.b.Bytes())
}

// council is a policy in the shape of the example's.
func council() policy.Policy {
	p := policy.Policy{
		Timezone: "Europe/London", Unlisted: "accept",
		Numbering: policy.Numbering{Country: "44", Trunk: "0", Area: "20", Extension: 4},
	}
	for name, extension := range map[string]string{
		"Building control": "6020", "Business waste": "5333", "Council tax": "7050",
		"Customer portal helpline": "7733", "Ealing together": "7170", "Facilities management": "9000",
		"Family information service": "5588", "Grime busters": "8825", "Housing benefits": "7000",
		"Housing benefits change of circumstances": "7829", "Highways": "6222", "Housing demand": "8888",
		"Housing repairs": "5682", "Mobility": "8161", "Parks": "6999", "Pest control": "6644",
		"Planning": "6600", "Pollution control": "8111", "Registrars": "7171", "Social services": "8000",
		"Street services": "6000", "Switchboard": "5000",
	} {
		p.Lines = append(p.Lines, policy.Line{Name: name, Number: "020 8825 " + extension, Always: true})
	}
	p.Lines = append(p.Lines, policy.Line{Name: "Elections", Number: "020 8825 7777"})
	return p
}

// newRig starts a recorder; change may alter its configuration.
func newRig(t *testing.T, change func(*recorder.Config)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := seal.InitKeys(r.dir)
	must(err)
	rules, err := policy.New(council())
	must(err)
	log := slog.New(slog.NewMultiHandler(
		slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}),
		slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	r.store, err = store.Open(t.Context(), store.Options{Dir: r.dir, Normalise: rules.Normalise, Logger: log})
	must(err)
	engine, err := media.Open(media.Config{
		Address: netip.MustParseAddr("127.0.0.1"), PortMin: 33000, PortMax: 34999,
		Allow: func(a netip.Addr) bool { return a.IsLoopback() },
	})
	must(err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cfg := recorder.Config{
		Rules: rules, Store: r.store, Media: engine, Address: netip.MustParseAddr("127.0.0.1"),
		Layout: media.Stereo, Bitrate: 36000, Complexity: 5, Version: "test", Log: log,
		Alarms: alarm.Limits{NoMedia: 8 * time.Second, Silence: time.Minute},
	}
	if change != nil {
		change(&cfg)
	}
	r.media = engine
	r.rec = recorder.New(context.WithoutCancel(ctx), cfg)
	server, err := siprec.NewServer(siprec.Config{
		Listen: []string{"udp://127.0.0.1:0", "tcp://127.0.0.1:0"},
		Peers:  []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Ready:  r.rec.Admit, Logger: log, Handler: r.rec,
	})
	must(err)
	r.rec.Attach(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.rec.Watch(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-watched
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
		if err := r.store.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	r.udp, r.tcp = server.Addrs()[0], server.Addrs()[1]
	key, err := filepath.Glob(filepath.Join(r.dir, "keys", seal.ConsoleKeyFile))
	must(err)
	r.identity = identities(t, key[0])
	return r
}

// rows are all recordings, newest first.
func (r *rig) rows() []store.Row {
	r.t.Helper()
	var rows []store.Row
	for row, err := range r.store.List(r.t.Context(), store.Query{}) {
		if err != nil {
			r.t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

// finished waits for n recordings to be finished and returns them.
func (r *rig) finished(n int) []store.Row {
	r.t.Helper()
	var rows []store.Row
	await(r.t, "recordings to be finished", func() bool {
		rows = slices.DeleteFunc(r.rows(), func(row store.Row) bool { return row.State != store.Finished })
		return len(rows) >= n
	})
	if len(rows) != n {
		r.t.Fatalf("%d recordings, want %d", len(rows), n)
	}
	return rows
}

// sealed is a recording as the console reads it.
func (r *rig) sealed(id string) *store.Sealed {
	r.t.Helper()
	s, err := r.store.Read(r.t.Context(), store.Access{Who: "test", Why: "test"}, id)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// details are a recording's, opened with the console's identity.
func (r *rig) details(id string) store.Details {
	r.t.Helper()
	d, err := r.sealed(id).Details(r.identity...)
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

// heard is a recording's audio.
func (r *rig) heard(id string) *media.Audio {
	r.t.Helper()
	var b bytes.Buffer
	if err := store.Export(&b, r.sealed(id), r.identity...); err != nil {
		r.t.Fatal(err)
	}
	a, err := media.Decode(&b)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// level is the RMS level of one frequency in a stretch of PCM, dBFS.
func level(pcm []int16, hz float64) float64 {
	var re, im float64
	for i, v := range pcm {
		sin, cos := math.Sincos(2 * math.Pi * hz * float64(i) / media.DecodedRate)
		re += float64(v) / 32768 * cos
		im += float64(v) / 32768 * sin
	}
	return 20 * math.Log10(max(math.Hypot(re, im)*math.Sqrt2/float64(max(len(pcm), 1)), 1e-9))
}

// await polls until a condition holds.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}
