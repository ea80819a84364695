package files

import (
	"os"
	"testing"
	"time"
)

func TestReserve(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		used  int
		limit uint64
		ok    bool
	}{
		{100, 1024, true}, {896, 1024, true}, {897, 1024, false}, {30, 64, true}, {33, 64, false},
		{-1, 64, true}, {1000, 0, true}, {5, 1 << 40, true},
	} {
		w := Watch{count: func() int { return c.used }, limit: c.limit}
		if err := w.Err(now); (err == nil) != c.ok {
			t.Errorf("%d of %d: %v", c.used, c.limit, err)
		}
	}
}

func TestCountsSeldom(t *testing.T) {
	n, now := 0, time.Now()
	w := Watch{count: func() int { n++; return 1 }, limit: 1000}
	for range 100 {
		_ = w.Err(now)
	}
	_ = w.Err(now.Add(time.Second))
	if n != 2 {
		t.Errorf("counted %d times", n)
	}
}

func TestRealCount(t *testing.T) {
	before := open()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if before > 0 && open() != before+1 {
		t.Errorf("%d, then %d", before, open())
	}
	if limit() == 0 {
		t.Error("no limit is known")
	}
	var w Watch
	if err := w.Err(time.Now()); err != nil {
		t.Error(err)
	}
}
