package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"siprecd/media/ogg"
	"siprecd/store/seal"
)

// house is a folder with keys, and the identity that opens its recordings.
type house struct {
	dir     string
	console age.Identity
	escrow  age.Identity
	log     *slog.Logger
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func newHouse(t testing.TB) house {
	t.Helper()
	h := house{dir: t.TempDir(), log: slog.New(slog.NewTextHandler(testLog{t}, nil))}
	escrow, err := seal.InitKeys(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	h.escrow = parseIdentity(t, escrow)
	text, err := os.ReadFile(filepath.Join(h.dir, "keys", seal.ConsoleKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	h.console = parseIdentity(t, string(text))
	return h
}

func parseIdentity(t testing.TB, text string) age.Identity {
	t.Helper()
	ids, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil || len(ids) != 1 {
		t.Fatal("identity:", err)
	}
	return ids[0]
}

// open opens the folder and waits until what a crash had left is finished.
func (h house) open(t testing.TB, change ...func(*Options)) *Store {
	t.Helper()
	s := h.start(t, change...)
	until(t, patience, "what was interrupted is finished", func() bool { return s.Health().Live == 0 })
	return s
}

func (h house) start(t testing.TB, change ...func(*Options)) *Store {
	t.Helper()
	o := Options{Dir: h.dir, Logger: h.log, Normalise: digits}
	for _, c := range change {
		c(&o)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func shut(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// digits stands in for the policy's normalisation.
func digits(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
	if rest, ok := strings.CutPrefix(s, "44"); ok {
		return "0" + rest
	}
	return s
}

func admission() Admission {
	return Admission{
		Line: "council tax", Started: time.Now(), Channels: 2, Rate: 8000, PreSkip: 312, Bitrate: 32000,
		Decision: json.RawMessage(`{"record":true,"reason":"listed"}`),
		Details: Details{
			CallID: "planted-call-id@192.0.2.9", Direction: "inbound",
			Caller: "+442079460123", Called: "020 8825 7050", Agent: "Planted Agentname",
			Numbers:   []string{"02079460123", "02088257050"},
			Documents: []Document{{At: time.Now(), Body: []byte("<recording>planted-call-id</recording>")}},
		},
	}
}

// fake returns n packets that look like 20 ms of SILK stereo.
func fake(n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = make([]byte, 60+i%30)
		_, _ = rand.Read(list[i])
		list[i][0] = 1<<3 | 4
	}
	return list
}

func feed(r *Recording, packets [][]byte) {
	for len(packets) > 0 {
		n := min(15, len(packets))
		r.WritePackets(packets[:n])
		packets = packets[n:]
	}
}

func closing(packets int) Closing {
	return Closing{
		Ended: time.Now(), Samples: int64(packets)*960 - 312, Cause: "bye",
		Flags: []string{"positional"}, Gaps: []Gap{{Channel: "left", From: 0.5, To: 0.7, Reason: "loss", Packets: 10}},
		Quality: json.RawMessage(`{"lost":10}`), Details: admission().Details,
	}
}

func record(t testing.TB, s *Store, packets [][]byte) string {
	t.Helper()
	r, err := s.Begin(t.Context(), admission())
	if err != nil {
		t.Fatal(err)
	}
	feed(r, packets)
	if err := r.Finish(t.Context(), closing(len(packets))); err != nil {
		t.Fatal(err)
	}
	return r.ID()
}

var someone = Access{Who: "test", Why: "test"}

func export(t testing.TB, s *Store, h house, id string) ([][]byte, *ogg.Reader) {
	t.Helper()
	x, err := s.Read(t.Context(), someone, id)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Export(&out, x, h.console); err != nil {
		t.Fatal(err)
	}
	return packetsOf(t, out.Bytes())
}

func packetsOf(t testing.TB, file []byte) (packets [][]byte, r *ogg.Reader) {
	t.Helper()
	r, err := ogg.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return packets, r
		}
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, bytes.Clone(p.Data))
	}
}

func samePackets(t testing.TB, have, want [][]byte) {
	t.Helper()
	if len(have) != len(want) {
		t.Fatalf("%d packets, want %d", len(have), len(want))
	}
	for i := range want {
		if !bytes.Equal(have[i], want[i]) {
			t.Fatalf("packet %d of %d differs", i, len(want))
		}
	}
}

func TestOneCall(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Segment = time.Second; o.Tick = 20 * time.Millisecond })
	want := fake(172)
	r, err := s.Begin(t.Context(), admission())
	if err != nil {
		t.Fatal(err)
	}
	row, err := s.Get(r.ID()[:13])
	if err != nil || row.State != Live || row.Line != "council tax" {
		t.Fatalf("live row %+v, %v", row, err)
	}
	if _, err := s.Read(t.Context(), someone, r.ID()); !errors.Is(err, ErrLive) {
		t.Fatalf("read of a live one: %v", err)
	}
	feed(r, want[:100])
	r.Event("hold", "")
	feed(r, want[100:])
	c := closing(172)
	c.Samples -= 500
	if err := r.Finish(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	row, err = s.Get(r.ID())
	if err != nil || row.State != Finished || row.Segments != 4 || row.Caller != "+442079460123" {
		t.Fatalf("finished row %+v, %v", row, err)
	}
	have, o := export(t, s, h, r.ID())
	samePackets(t, have, want)
	if o.Total() != c.Samples || o.Head().PreSkip != 312 {
		t.Errorf("plays %d samples after %d, want %d after 312", o.Total(), o.Head().PreSkip, c.Samples)
	}
	shut(t, s)
	verifyClean(t, h)
}

func verifyClean(t testing.TB, h house) {
	t.Helper()
	err := Verify(t.Context(), h.dir, h.log, func(f Finding) { t.Error("finding:", f) })
	if err != nil {
		t.Fatal(err)
	}
}
