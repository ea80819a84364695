package media

import (
	"strings"
	"testing"
	"time"
)

// A sink that fails stands for any bug that bytes from elsewhere may wake.
type bomb struct{ after int }

func (b *bomb) WritePackets([][]byte) {
	if b.after--; b.after < 0 {
		panic("a bug")
	}
}

type counter struct{ n chan int }

func (c *counter) WritePackets(p [][]byte) {
	select {
	case c.n <- len(p):
	default:
	}
}

// One call fails in the middle; the other, of the same worker, goes on.
func TestAPanicEndsOneCallOnly(t *testing.T) {
	e, err := Open(Config{Address: sbc.Addr(), PortMin: 36200, PortMax: 36299, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	good := &counter{n: make(chan int, 1000)}
	bad, err := e.NewCall(CallConfig{Start: time.Now(), Layout: Stereo, Rate: 8000, Sink: &bomb{after: 1}})
	if err != nil {
		t.Fatal(err)
	}
	other, err := e.NewCall(CallConfig{Start: time.Now(), Layout: Stereo, Rate: 8000, Sink: good})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bad.Add(StreamConfig{Name: "1"}); err != nil {
		t.Fatal(err)
	}
	late := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for bad.Broken() == "" {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("the bug has not struck")
		}
	}
	if !strings.Contains(bad.Broken(), "a bug") || !strings.Contains(bad.Broken(), "goroutine") || e.Load().Broken != 1 {
		t.Errorf("told as %q, %d broken", bad.Broken(), e.Load().Broken)
	}
	for len(good.n) > 0 {
		<-good.n
	}
	for range 3 {
		select {
		case <-good.n:
		case <-late:
			t.Fatal("the other call does not go on")
		}
	}
	if sum := bad.Finish(time.Now()); !sum.Broken || len(sum.Streams) != 1 || sum.Samples <= 0 {
		t.Errorf("the broken call's account is %+v", sum)
	}
	if sum := other.Finish(time.Now()); sum.Broken || sum.Samples == 0 {
		t.Errorf("the other call's account is %+v", sum)
	}
	if used := e.Load().PortsUsed; used != 1 { // the discard port
		t.Errorf("%d ports are in use", used)
	}
}
