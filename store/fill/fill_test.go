package fill

import (
	"log/slog"
	"testing"
	"time"

	"siprecd/store"
	"siprecd/store/seal"
)

func TestWhatIsFilledInIsFound(t *testing.T) {
	dir := t.TempDir()
	if _, err := seal.InitKeys(dir); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	o := Options{
		Dir: dir, Count: 2*firstBatch + 100, From: now.Add(-48 * time.Hour), To: now, Callers: 210,
		Lines:     []Line{{"Council tax", "02088257050"}, {"Parks", "02088256999"}},
		Normalise: func(s string) string { return s }, Logger: slog.New(slog.DiscardHandler),
	}
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{Dir: dir, Logger: o.Logger})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	for _, c := range []struct {
		name string
		q    store.Query
		want int
	}{
		{"all", store.Query{}, o.Count},
		{"line", store.Query{Line: "Parks"}, o.Count / 2},
		{"number", store.Query{Number: "sip:" + o.Caller(3) + "@example.org"}, 10},
		{"first day", store.Query{To: now.Add(-24 * time.Hour)}, o.Count / 2},
		{"live", store.Query{State: store.Live}, 0},
	} {
		n := 0
		for _, err := range s.List(t.Context(), c.q) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n < c.want-1 || n > c.want+1 {
			t.Errorf("%s: %d found, want %d", c.name, n, c.want)
		}
	}
}
