package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestCompactBesideWriters compacts again and again while others write, change
// and delete: nothing that was acknowledged may be lost, and what was deleted
// may not come back.
func TestCompactBesideWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	d := open(t, path, options())
	filler := string(make([]byte, 10000))
	for i := range 60 {
		if err := d.Update(func(tx *Tx) error {
			for k := range 20 {
				if err := tx.Bucket([]byte("b")).Put(fmt.Appendf(nil, "old %d %d", i, k), []byte(filler)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var work sync.WaitGroup
	var mu sync.Mutex
	acked, longest := map[string]string{}, time.Duration(0)
	for w := range 4 {
		work.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				key, value := fmt.Sprintf("%d %d", w, n%50), fmt.Sprint(n)
				began := time.Now()
				err := put(d, key, value)
				if n%7 == 0 && err == nil {
					value = ""
					err = d.Update(func(tx *Tx) error { return tx.Bucket([]byte("b")).Delete([]byte(key)) })
				}
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				acked[key], longest = value, max(longest, time.Since(began))
				mu.Unlock()
			}
		})
	}
	written := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acked)
	}
	rounds := 0
	for ; rounds < 5 || written() < 4*50 && rounds < 25; rounds++ { // a slow disk needs more of them
		if err := d.Compact(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	work.Wait()
	t.Logf("longest write %v, keys %d, compactions %d", longest, len(acked), rounds)
	if len(acked) < 4*50 { // writers that wait for a compaction do one write each beside it
		t.Errorf("only %d keys were written beside %d compactions", len(acked), rounds)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, path, options())
	for key, want := range acked {
		if got := get(t, d, key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if get(t, d, "old 59 19") != filler {
		t.Error("an old value is lost")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCompactCutShort ends a compaction early, and opens a file beside which
// one was killed: the database is as it was, and nothing stays behind.
func TestCompactCutShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	d := open(t, path, options())
	for i := range 300 { // two pieces: it is asked between them
		if err := put(d, fmt.Sprint(i), string(make([]byte, 20000))); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Compact(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cut short: %v", err)
	}
	if err := errors.Join(put(d, "a", "b"), d.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+tempSuffix, []byte("half a copy"), 0o600); err != nil {
		t.Fatal(err)
	}
	d = open(t, path, options())
	if get(t, d, "a") != "b" {
		t.Error("a write is lost")
	}
	if left, _ := filepath.Glob(path + "?*"); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	if err := errors.Join(d.Compact(t.Context()), d.Close()); err != nil {
		t.Fatal(err)
	}
}
