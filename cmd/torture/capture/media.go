package capture

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"siprecd/cmd/torture/calls"
	"siprecd/cmd/torture/hear"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
)

// spoilt is a call whose media we send ourselves, packet by packet: what befell
// each leg, and where it went.
type spoilt struct {
	name string
	legs [2]shape
	fate [2]fate
	err  error
	from string // the caller's number, by which the recording is found
}

// channels are those that legs 0 and 1 are heard in.
var channels = [2]string{"left", "right"}

// place places all calls at once and sends their media to the end.
func place(l *rig.Lab, s *rig.Server, calls []*spoilt) error {
	client, err := siprectest.Dial(l, "udp://"+s.UDP, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	var all sync.WaitGroup
	for i, c := range calls {
		c.from = fmt.Sprintf("020794%05d", 60000+i)
		for n := range c.legs {
			c.fate[n] = c.legs[n].plan()
		}
		all.Go(func() { c.err = c.run(l, client) })
		if err := l.Sleep(7 * time.Millisecond); err != nil { // packets of calls that begin together would come together
			break
		}
	}
	all.Wait()
	for _, c := range calls {
		if c.err != nil {
			return fmt.Errorf("call %s: %w", c.name, c.err)
		}
	}
	return l.Err()
}

func (c *spoilt) run(l *rig.Lab, client *siprectest.Client) error {
	// The client's own streams keep silent; ours go from the same sockets.
	silent := siprectest.Impair{Gaps: []siprectest.Span{{To: time.Hour}}}
	call, err := calls.Up(l, client, siprectest.Options{
		From: c.from, Duration: time.Hour, Timeout: 10 * time.Second,
		Legs: []siprectest.Leg{{Name: "A Resident", Impair: silent}, {Name: "Council Tax", Impair: silent}},
	})
	if err != nil {
		return err
	}
	if err := play(l, c.fate[:], call.SendRTP); err != nil {
		call.Vanish()
		return err
	}
	// Late packets have been sent by now. What is on its way arrives before BYE
	// does, for both take the same road; the recorder's last batch is its own.
	return call.Bye(l)
}

// found gives the manifest and the recording's id of each call.
func found(s *rig.Server, calls []*spoilt) ([]*rig.Manifest, error) {
	rows, err := s.Finished(len(calls), 20*time.Second)
	if err != nil {
		return nil, err
	}
	all, err := s.Manifests()
	if err != nil {
		return nil, err
	}
	out := make([]*rig.Manifest, len(calls))
	for _, r := range rows {
		for i, c := range calls {
			if strings.Contains(r.Caller, c.from) {
				out[i] = all[r.ID]
			}
		}
	}
	for i, m := range out {
		if m == nil || m.Stream("left") == nil || m.Stream("right") == nil {
			return nil, fmt.Errorf("call %s has no whole recording", calls[i].name)
		}
	}
	return out, nil
}

// verdict sums up what the recordings of one kind of trouble say.
type verdict struct {
	worst     int           // difference of ledger and injected packets on a leg
	unsettled int           // packets neither written nor in the ledger, nor dropped on purpose
	doubles   int           // difference of duplicates sent and counted
	windows   int           // of what was sent and is not excused by the ledger
	astray    int           // of these, not heard where they belong
	shift     time.Duration // the most that a window is off
}

// startWithin is how long after the call's start its media begins at most.
const startWithin = 400 * time.Millisecond

// likely is the correlation from which on a window is the one that was sent.
const likely = 0.7

// judge holds a recording against what was sent. reach is how far off a window
// may be and still be found.
func (v *verdict) judge(l *rig.Lab, s *rig.Server, c *spoilt, m *rig.Manifest, reach time.Duration) error {
	path, err := s.Export(m.ID)
	if err != nil {
		return err
	}
	heard, err := hear.Decode(l, path, 2)
	if err != nil {
		return err
	}
	for leg, f := range c.fate {
		st, missing := m.Stream(channels[leg]), m.Missing(channels[leg])
		v.worst = max(v.worst, abs(missing-f.lost-f.late))
		v.unsettled += abs(st.Packets + missing - f.made)
		v.doubles += abs(st.Duplicate - f.double)
		sent := c.legs[leg].pcm
		start := hear.Start(sent, heard[leg], startWithin)
		for _, w := range hear.Align(sent, heard[leg], start, reach) {
			if excused(m, channels[leg], w.Heard) {
				continue
			}
			v.windows++
			if w.Likely < likely {
				v.astray++
				continue
			}
			v.shift = max(v.shift, (w.Heard - w.At - start).Abs())
		}
	}
	return nil
}

// excused says that a window is in a gap of the ledger, or beside one: what
// covers up a loss fades out, and the codec's memory is short but not nothing.
func excused(m *rig.Manifest, channel string, at time.Duration) bool {
	const beside = 60 * time.Millisecond
	for _, g := range m.Gaps {
		from, to := time.Duration(g.From*1e9), time.Duration(g.To*1e9)
		if g.Channel == channel && at > from-beside && at < to+beside {
			return true
		}
	}
	return false
}

func abs(n int) int { return max(n, -n) }
