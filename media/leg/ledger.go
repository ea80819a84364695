package leg

import "time"

// Reasons for a gap.
const (
	reasonLoss    = "loss"
	reasonHold    = "hold"
	reasonNoMedia = "no media"
)

const (
	shortPause = SampleRate // a pause that is neither loss nor hold is a gap from this length on
	maxGaps    = 1000       // a stream; more are merged with the last one
)

// ledger writes down where a stream's timeline holds no received audio. A
// stretch stays open until it is known what ended it.
type ledger struct {
	gaps     []span
	from, to int64 // the open stretch; empty: none
	hold     bool
	owed     int // packets found missing before one that was not audio
}

// span is a gap in samples of the timeline.
type span struct {
	from, to int64
	reason   string
	packets  int
}

// miss adds to the open stretch.
func (l *ledger) miss(from, to int64, hold bool) {
	if l.from < l.to && l.to == from && l.hold == hold {
		l.to = to
		return
	}
	if l.from < l.to {
		l.close(0, 0)
	}
	l.from, l.to, l.hold = from, to, hold
}

// plausible says whether the stretch that is open, if it ends at the given
// position, is about as long as the lost packets were.
func (l *ledger) plausible(lost, end int64) bool {
	from := end
	if l.from < l.to {
		from = l.from
	}
	return !l.hold && end-from <= 2*lost
}

// close ends the open stretch: packets were lost in it, each of so many samples.
func (l *ledger) close(packets int, length int64) {
	packets += l.owed
	l.owed = 0
	if l.from >= l.to {
		return
	}
	g := span{from: l.from, to: l.to, packets: packets}
	l.from = l.to
	switch {
	case l.hold:
		g.reason = reasonHold
	case packets > 0 && g.to-g.from <= 2*int64(packets)*length:
		g.reason = reasonLoss
	case g.to-g.from >= shortPause:
		g.reason = reasonNoMedia
	default:
		return
	}
	l.add(g)
}

func (l *ledger) add(g span) {
	if n := len(l.gaps); n > 0 {
		last := &l.gaps[n-1]
		if last.reason == g.reason && (last.to == g.from || n >= maxGaps) {
			last.to = g.to
			last.packets += g.packets
			return
		}
	}
	l.gaps = append(l.gaps, g)
}

// list closes the ledger at the timeline's end.
func (l *ledger) list(s *Stats, end int64) []Gap {
	l.close(0, 0)
	var out []Gap
	for _, g := range l.gaps {
		if g.from < end {
			out = append(out, Gap{
				Stream: s.Name, Side: s.Side, From: Duration(g.from), To: Duration(min(g.to, end)),
				Reason: g.reason, Packets: g.packets,
			})
		}
	}
	return out
}

// Duration is the length of samples.
func Duration(n int64) time.Duration { return time.Duration(n) * time.Second / SampleRate }
