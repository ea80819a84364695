package capture

import (
	"fmt"
	"slices"
	"time"

	"siprecd/cmd/torture/hear"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest/audio"
)

const ptime = 20 * time.Millisecond

// trouble is one way in which a network spoils a stream.
type trouble struct {
	name   string
	shape  shape
	settle bool // how many are placed depends on how late they come: only the sum is known
}

func troubles() []trouble {
	return []trouble{
		{name: "none", shape: shape{}},
		{name: "loss 1 %", shape: shape{loss: 0.01}},
		{name: "loss 10 %", shape: shape{loss: 0.1}},
		{name: "loss 30 %", shape: shape{loss: 0.3}},
		{name: "loss in runs of 12", shape: shape{loss: 0.005, bursts: 12}},
		{name: "duplicates 20 %", shape: shape{double: 0.2}},
		{name: "reordered by up to 8", shape: shape{swap: 0.2, swapBy: 8}},
		{name: "reordered by up to 50", shape: shape{swap: 0.05, swapBy: 50}, settle: true},
		{name: "2 s late", shape: shape{late: 0.05}},
		{name: "jitter 200 ms", shape: shape{jitter: 200 * time.Millisecond}, settle: true},
		{name: "all of it", shape: shape{loss: 0.05, double: 0.1, late: 0.02, swap: 0.05, swapBy: 6, jitter: 60 * time.Millisecond}},
	}
}

// speech is the audio of a leg: the other leg's begins elsewhere in it.
func speech(leg int, length time.Duration) []int16 {
	skip := leg * audio.Samples(1300*time.Millisecond)
	return hear.Speechlike(skip + audio.Samples(length))[skip:]
}

// lossy is row B3: each trouble on as many calls as there are rounds.
func lossy(l *rig.Lab) error {
	s, err := started(l)
	if err != nil {
		return err
	}
	kinds, length := troubles(), 20*time.Second
	if brief(l, lossyRounds) {
		kinds, length = []trouble{kinds[0], kinds[2], kinds[5], kinds[len(kinds)-1]}, 4*time.Second
	}
	var calls []*spoilt
	for round := range l.Rounds {
		for k, t := range kinds {
			c := &spoilt{name: t.name}
			for leg := range c.legs {
				sh := t.shape
				sh.pcm, sh.ptime = speech(leg, length), ptime
				sh.seed = uint64(round)<<16 | uint64(k)<<8 | uint64(leg)
				sh.sequence, sh.stamp, sh.ssrc = 65000, 1<<32-40000, uint32(0xb3000000)+uint32(sh.seed)
				c.legs[leg] = sh
			}
			calls = append(calls, c)
		}
	}
	sums, ms, err := judged(l, s, calls, len(kinds), reachStill)
	if err != nil {
		return err
	}
	report(l, kinds, sums, calls)
	return misplaced(l, s, calls[0], ms[0])
}

// judged places the calls and sums up the recordings of each kind; the calls'
// kinds take turns.
func judged(l *rig.Lab, s *rig.Server, calls []*spoilt, kinds int, reach time.Duration) ([]verdict, []*rig.Manifest, error) {
	if err := place(l, s, calls); err != nil {
		return nil, nil, err
	}
	ms, err := found(s, calls)
	if err != nil {
		return nil, nil, err
	}
	sums := make([]verdict, kinds)
	for i, c := range calls {
		if err := sums[i%kinds].judge(l, s, c, ms[i], reach); err != nil {
			return nil, nil, err
		}
	}
	return sums, ms, nil
}

// reachStill is how far off a window is looked for whose place cannot have
// changed.
const reachStill = 10 * time.Millisecond

// report turns the sums into figures. In the short form, on a machine that does
// other things as well, our own sender may be late: then packets are in the
// ledger that were not meant to be, and only that they are is judged.
func report(l *rig.Lab, kinds []trouble, sums []verdict, calls []*spoilt) {
	var all verdict
	sent, injected, worst, worstOf := 0, 0, 0, "all kinds"
	for _, c := range calls {
		for _, f := range c.fate {
			sent += f.made
			injected += f.lost + f.late
		}
	}
	for k, t := range kinds {
		v := sums[k]
		l.Logf("%s: ledger off by at most %d, unsettled %d, %d of %d windows out of place", t.name, v.worst, v.unsettled, v.astray, v.windows)
		all.unsettled, all.doubles = all.unsettled+v.unsettled, all.doubles+v.doubles
		all.windows, all.astray = all.windows+v.windows, all.astray+v.astray
		if !t.settle && v.worst > worst {
			worst, worstOf = v.worst, t.name
		}
	}
	l.Figure("packets", fmt.Sprintf("%d, of which %d lost or 2 s late on purpose", sent, injected), "some of each", sent > 0 && injected > 0)
	l.Count("packets neither written nor in the ledger", all.unsettled, 0)
	if !brief(l, lossyRounds) {
		l.Figure("ledger against what was lost on purpose, packets a leg", fmt.Sprintf("%d (%s)", worst, worstOf), "≤ 1", worst <= 1)
		l.Count("duplicates not known as such", all.doubles, 0)
	}
	l.Figure("stretches of 20 ms heard out of place", fmt.Sprintf("%d of %d", all.astray, all.windows), "≤ 0.5 %", all.windows > 0 && all.astray*200 <= all.windows)
}

// misplaced is the control of what is heard: in a recording's audio, packets
// are swapped, and each must be found.
func misplaced(l *rig.Lab, s *rig.Server, c *spoilt, m *rig.Manifest) error {
	path, err := s.Export(m.ID)
	if err != nil {
		return err
	}
	heard, err := hear.Decode(l, path, 2)
	if err != nil {
		return err
	}
	sent, pcm := c.legs[0].pcm, heard[0]
	start := hear.Start(sent, pcm, startWithin)
	first := int(start * hear.Rate / time.Second)
	const swaps = 10
	var moved []int
	for i := range swaps {
		at := 30 + 10*i
		a, b := pcm[first+at*hear.Window:], pcm[first+(at+1)*hear.Window:]
		for k := range hear.Window {
			a[k], b[k] = b[k], a[k]
		}
		moved = append(moved, at, at+1)
	}
	ms, caught := hear.Align(sent, pcm, start, reachStill), 0
	for _, at := range moved {
		if ms[at].Likely < likely {
			caught++
		}
	}
	l.Control("packets swapped in the audio are heard", caught, len(moved))
	return nil
}

// turned is row B4: what a client may change in mid-stream. The first leg goes
// on as it was.
func turned(l *rig.Lab) error {
	s, err := started(l)
	if err != nil {
		return err
	}
	length := 8 * time.Second
	if brief(l, turnedRounds) {
		length = 3 * time.Second
	}
	kinds := changes(audio.Samples(length))
	var calls []*spoilt
	for round := range l.Rounds {
		for k, ch := range kinds {
			calls = append(calls, ch.call(round<<16|k<<8, length))
		}
	}
	sums, ms, err := judged(l, s, calls, len(kinds), reachMoved)
	if err != nil {
		return err
	}
	for k, ch := range kinds {
		v := sums[k]
		lost := v.unsettled + v.worst
		good := v.windows > 0 && v.shift <= within && v.astray*100 <= v.windows && (lost == 0 || brief(l, turnedRounds))
		l.Figure(ch.name, fmt.Sprintf("%d packets lost, %v off, %d of %d stretches not found", lost, v.shift.Round(time.Millisecond), v.astray, v.windows),
			"0 lost, ≤ 40 ms off, ≤ 1 % not found", good)
	}
	return shifted(l, s, calls[0], ms[0])
}

// reachMoved is how far off a window is looked for whose place may be wrong.
const reachMoved = 80 * time.Millisecond

// shifted is the control of the alignment: half of a recording's audio is put
// off by 50 ms, and that must be seen.
func shifted(l *rig.Lab, s *rig.Server, c *spoilt, m *rig.Manifest) error {
	path, err := s.Export(m.ID)
	if err != nil {
		return err
	}
	heard, err := hear.Decode(l, path, 2)
	if err != nil {
		return err
	}
	sent, pcm := c.legs[0].pcm, heard[0]
	start, half := hear.Start(sent, pcm, startWithin), len(pcm)/2
	late := slices.Concat(pcm[:half], make([]int16, audio.Samples(50*time.Millisecond)), pcm[half:])
	off := 0
	for _, w := range hear.Align(sent, late, start, reachMoved) {
		if w.Likely >= likely && w.Heard-w.At-start > within {
			off++
		}
	}
	caught := 0
	if off > len(sent)/hear.Window/3 {
		caught = 1
	}
	l.Control("audio that is 50 ms off is heard", caught, 1)
	return nil
}

// change is what a client does in mid-stream.
type change struct {
	name  string
	wrap  bool
	turns []turn
}

// call is one that makes the change on its second leg.
func (ch change) call(ssrc int, length time.Duration) *spoilt {
	c := &spoilt{name: ch.name}
	for leg := range c.legs {
		c.legs[leg] = shape{pcm: speech(leg, length), ptime: ptime, sequence: 1000, stamp: 5000, ssrc: uint32(ssrc | leg + 1)}
	}
	c.legs[1].turns = ch.turns
	if ch.wrap {
		c.legs[1].sequence, c.legs[1].stamp = 65500, 1<<32-20000
	}
	return c
}

// changes are those of row B4, for streams of so many samples.
func changes(n int) []change {
	const hour = 3600 * audio.SampleRate
	third, half := n/3/480*480, n/2/480*480
	return []change{
		{"sequence and time stamp wrap", true, nil},
		{"another SSRC", false, []turn{{from: half, ssrc: 77}}},
		{"another SSRC, numbers from anew", false, []turn{{from: third, ssrc: 78, sequence: 20000, stamp: 1 << 30}, {from: 2 * third, ssrc: 79, sequence: -30000, stamp: -(1 << 29)}}},
		{"another codec", false, []turn{{from: third, mulaw: true}, {from: 2 * third}}},
		{"another packet length", false, []turn{{from: third, ptime: 30 * time.Millisecond}, {from: half, ptime: 10 * time.Millisecond}}},
		{"time stamps jump ahead an hour", false, []turn{{from: half, stamp: hour}}},
		{"time stamps jump back an hour", false, []turn{{from: half, stamp: -hour}}},
		{"numbers jump by 10,000", false, []turn{{from: half, sequence: 10000}}},
	}
}
