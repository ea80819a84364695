package clock

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"siprecd/cmd/torture/rig"
	"siprecd/media"
)

// kept counts the packets of one call, and panics at one of them if it is to.
type kept struct {
	n    atomic.Int64
	bomb int64 // at this packet; 0: never
}

// WritePackets implements media.Sink.
func (k *kept) WritePackets(packets [][]byte) {
	if n := k.n.Add(int64(len(packets))); k.bomb > 0 && n >= k.bomb {
		panic("torture: a bug in one call")
	}
}

// others is how many calls run beside the one that panics.
const others = 9

// tally sums up the rounds.
type tally struct{ broken, told, lost int }

// panics runs calls side by side, on one worker; in each round the bug strikes
// another of them, and the others must have every packet of their time.
func panics(l *rig.Lab) error {
	var sum tally
	for round := range l.Rounds {
		e, err := media.Open(media.Config{Address: netip.MustParseAddr("127.0.0.1"), PortMin: 39000, PortMax: 39099, Workers: 1})
		if err != nil {
			return err
		}
		err = sum.round(l, e, round%(others+1))
		if err := errors.Join(err, e.Close()); err != nil {
			return err
		}
	}
	l.Control("the call that panics", sum.broken, l.Rounds)
	l.Count("other calls that lost a packet", sum.lost, 0)
	l.Figure("engines that count it", fmt.Sprint(sum.told), fmt.Sprint(l.Rounds), sum.told == l.Rounds)
	return nil
}

// round has the bug strike one call.
func (t *tally) round(l *rig.Lab, e *media.Engine, victim int) error {
	began := time.Now()
	all, sinks, err := begin(e, began, victim)
	if err != nil {
		return err
	}
	next := sinks[(victim+1)%(others+1)]
	if err := l.Await("audio after the panic", 10*time.Second, func() bool { return next.n.Load() >= 40 }); err != nil {
		return err
	}
	end := time.Now()
	for i, c := range all {
		sum := c.Finish(end)
		want := int64((end.Sub(began) + 20*time.Millisecond - 1) / (20 * time.Millisecond))
		switch {
		case i == victim && sum.Broken && c.Broken() != "":
			t.broken++
		case i != victim && (sum.Broken || sinks[i].n.Load() < want):
			t.lost++
		}
	}
	if e.Load().Broken > 0 {
		t.told++
	}
	return nil
}

// begin has all calls begin at one instant.
func begin(e *media.Engine, at time.Time, victim int) (all []*media.Call, sinks []*kept, err error) {
	for i := range others + 1 {
		k := &kept{}
		if i == victim {
			k.bomb = 10
		}
		c, err := e.NewCall(media.CallConfig{Start: at, Layout: media.Stereo, Rate: 8000, Sink: k})
		if err != nil {
			return nil, nil, err
		}
		all, sinks = append(all, c), append(sinks, k)
	}
	return all, sinks, nil
}
