package media

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// lagSink notes how far behind the present each batch is, and how many packets
// it brings.
type lagSink struct {
	start time.Time

	mu     sync.Mutex
	frames int
	lags   []time.Duration
	sizes  []int
}

func (s *lagSink) WritePackets(packets [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := time.Duration(s.frames) * frameTime // when the audio of the first packet began
	s.frames += len(packets)
	s.lags = append(s.lags, time.Since(s.start)-oldest)
	s.sizes = append(s.sizes, len(packets))
}

// take is how far behind the batches since it was last called were, and how
// large: the first, second or third quartile.
func (s *lagSink) take(quartile int) (lag time.Duration, size, batches int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lags) == 0 {
		return 0, 0, 0
	}
	slices.Sort(s.lags)
	slices.Sort(s.sizes)
	n := len(s.lags)
	lag, size = s.lags[n*quartile/4], s.sizes[n*quartile/4]
	s.lags, s.sizes = nil, nil
	return lag, size, n
}

// A call that is listened to comes a frame or two at a time and 520 ms sooner;
// the one beside it stays in its batches.
func TestHasten(t *testing.T) {
	e, err := Open(Config{Address: netip.MustParseAddr("127.0.0.1"), PortMin: 42000, PortMax: 42199, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	start := time.Now()
	sinks := [2]*lagSink{{start: start}, {start: start}}
	var calls [2]*Call
	for i := range calls {
		if calls[i], err = e.NewCall(CallConfig{Start: start, Layout: Stereo, Rate: 8000, Complexity: 5, Sink: sinks[i]}); err != nil {
			t.Fatal(err)
		}
	}
	settle := func(batches int) {
		t.Helper()
		for _, s := range sinks {
			s.take(1)
		}
		seen := 0
		for deadline := time.After(60 * time.Second); seen < batches; {
			select {
			case <-time.After(HastySweep):
			case <-deadline:
				t.Fatalf("%d batches in a minute", seen)
			}
			sinks[1].mu.Lock()
			seen = len(sinks[1].sizes)
			sinks[1].mu.Unlock()
		}
	}
	full := int(DefaultSweep / frameTime)
	calls[0].Hasten(true)
	settle(4)
	// A busy machine makes the batches larger and later now and then, never
	// smaller or sooner: the better quarter tells what is aimed at.
	lag, size, batches := sinks[0].take(1)
	besideLag, besideSize, _ := sinks[1].take(3)
	if size > 2 || batches < full || lag > besideLag-DefaultSweep*3/4 {
		t.Errorf("hastened: %d batches, the better of %d packets and %v behind; beside it %v", batches, size, lag, besideLag)
	}
	if lag < DefaultDepth {
		t.Errorf("hastened: encoded %v after it came, before late packets could", lag)
	}
	t.Logf("hastened: %v behind", lag)
	if besideSize < full-3 || besideLag < DefaultDepth+DefaultSweep/2 {
		t.Errorf("beside it: %d packets, %v behind", besideSize, besideLag)
	}
	calls[0].Hasten(false)
	settle(4)
	if _, size, _ := sinks[0].take(3); size < full-3 {
		t.Errorf("no longer hastened: %d packets", size)
	}
	calls[1].Hasten(true)
	for _, c := range calls {
		c.Finish(time.Now())
	}
}

// The complexity of a live call follows the engine's limit, and is never more
// than was configured.
func TestSetComplexity(t *testing.T) {
	e, err := Open(Config{Address: netip.MustParseAddr("127.0.0.1"), PortMin: 42000, PortMax: 42199, Workers: 1, Sweep: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var calls []*Call
	for _, n := range []int{5, 3, 10} {
		c, err := e.NewCall(CallConfig{Start: time.Now(), Layout: Stereo, Rate: 8000, Complexity: n, Sink: nullSink{}})
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, c)
	}
	for _, c := range []struct {
		limit int
		want  [3]int
	}{{10, [3]int{5, 3, 10}}, {3, [3]int{3, 3, 3}}, {0, [3]int{0, 0, 0}}, {5, [3]int{5, 3, 5}}, {99, [3]int{5, 3, 10}}, {-1, [3]int{0, 0, 0}}} {
		e.SetComplexity(c.limit)
		var got [3]int
		for deadline := time.After(5 * time.Second); got != c.want; {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-deadline:
				t.Fatalf("limit %d: %v, want %v", c.limit, got, c.want)
			}
			for i, k := range calls {
				k.w.do(func() { got[i], _ = k.core.enc.opus.Complexity() })
			}
		}
	}
}
