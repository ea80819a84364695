package leg

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
)

// MaxExtension is how far received audio may make a timeline longer than the
// call was.
const MaxExtension = 60 * time.Millisecond

// Senders and order.
const (
	maxMisorder = 100      // a packet older than this by sequence number is not a straggler but a restart (RFC 3550 A.1)
	quietSame   = 30 * ms  // how long a sender must be silent before another SSRC of the same address is believed
	quietOther  = 120 * ms // the same for another address or port
	verdictSpan = 80 * ms  // arrival time over which late packets are watched
	verdictWait = 100 * ms // and how long another one is waited for
	catchingUp  = 20 * ms  // lateness that shrinks by this much comes from the network
)

// Track is one stream: packets are pushed in with their arrival, samples of the
// timeline are read out.
type Track struct {
	kinds   [128]kind
	source  netip.AddrPort
	allow   func(netip.Addr) bool
	start   time.Time // of the call
	depth   int64
	stats   Stats
	flow    flow
	clock   clock
	queue   queue
	rivals  []*entry // of another sender, not yet believed
	lagging []*entry // of this sender, much too late, not yet understood
	player  player
	hold    holdMark
	since   int64 // timeline position from which the stream is listened to
	until   int64 // and to which; -1: still is
}

// flow is the sender that is heard: an address and an SSRC. Neither alone is a
// key.
type flow struct {
	from  netip.AddrPort
	ssrc  uint32
	id    uint32 // 0: none yet
	last  int64  // arrival of its newest packet
	gap   int64  // and how long nothing had come before it
	ptime int64  // length of its newest packet
}

// holdMark is the latest change of hold; what lies before it is played later
// than it happens.
type holdMark struct {
	at          int64
	before, now bool
}

func (h holdMark) on(pos int64) bool {
	if pos < h.at {
		return h.before
	}
	return h.now
}

// Samples counts whole samples of a rate in a duration.
func Samples(d time.Duration, rate int64) int64 {
	return int64(d/time.Microsecond) * rate / 1e6
}

// Place is where a stream stands in its call when it is added.
type Place struct {
	Start  time.Time             // of the call
	Added  time.Duration         // since then
	Cursor int64                 // samples of the timeline that have been read already
	Depth  time.Duration         // how long a packet may be late
	Port   int                   // local port, for the counts
	Allow  func(netip.Addr) bool // further sources; nil: none
}

// New begins to listen to a stream.
func New(cfg Config, at Place) *Track {
	t := &Track{start: at.Start, depth: Samples(at.Depth, SampleRate), since: Samples(at.Added, SampleRate), until: -1, allow: at.Allow}
	t.player.cursor = at.Cursor
	t.stats.Port = at.Port
	t.stats.Level = silentLevel
	t.Configure(cfg, at.Added)
	t.hold.before = cfg.Hold
	return t
}

// Stats is what was counted so far.
func (t *Track) Stats() *Stats { return &t.stats }

// Dropped notes how many packets the kernel has dropped so far.
func (t *Track) Dropped(n uint32) { t.stats.Overflow = uint64(n) }

// Ended says whether End has been called.
func (t *Track) Ended() bool { return t.until >= 0 }

// Gaps closes the books at the timeline's end, in samples, and returns what is
// in them. Nothing may be read after it.
func (t *Track) Gaps(end int64) []Gap { return t.player.ledger.list(&t.stats, end) }

// Configure puts a newly agreed configuration in force.
func (t *Track) Configure(cfg Config, at time.Duration) {
	t.stats.Name, t.stats.Side, t.stats.Hold = cfg.Name, cfg.Side, cfg.Hold
	t.hold = holdMark{at: Samples(at, SampleRate), before: t.hold.now, now: cfg.Hold}
	t.source = netip.AddrPortFrom(cfg.Source.Addr().Unmap(), cfg.Source.Port())
	t.kinds = [128]kind{}
	for pt, c := range cfg.Codecs {
		if pt < 128 {
			t.kinds[pt] = codecKind(c)
		}
	}
}

func codecKind(c Codec) kind {
	plain := (c.Clock == SampleRate || c.Clock == 0) && c.Channels <= 1
	switch name := strings.ToUpper(c.Encoding); {
	case name == "PCMU" && plain:
		return kindMuLaw
	case name == "PCMA" && plain:
		return kindALaw
	case name == "TELEPHONE-EVENT":
		return kindEvent
	case name == "CN":
		return kindNoise
	default:
		return kindOther
	}
}

// trusted says whether an address may speak here.
func (t *Track) trusted(a netip.Addr) bool {
	if s := t.source.Addr(); s.IsValid() && !s.IsUnspecified() && s == a {
		return true
	}
	return t.allow != nil && t.allow(a)
}

// Push takes a datagram that arrived at the given time since the call's start.
// It keeps nothing of b.
func (t *Track) Push(b []byte, from netip.AddrPort, arrival time.Duration) {
	if !t.trusted(from.Addr()) {
		t.stats.WrongSource++
		return
	}
	p, w := parseRTP(b)
	switch w {
	case wireRTCP:
		t.stats.RTCP++
		return
	case wireOther:
		t.stats.Malformed++
		return
	}
	e := t.entry(p, from, Samples(arrival, SampleRate))
	mine := t.flow.id != 0 && e.ssrc == t.flow.ssrc && e.from == t.flow.from
	speaks := e.kind.audio() || e.kind == kindNoise
	switch {
	case mine:
		t.strays(t.rivals)
		t.rivals = t.rivals[:0]
		t.flow.gap = e.arrival - t.flow.last
		t.flow.last = e.arrival
		t.accept(e)
	case !speaks:
		t.queue.give(e)
		return
	case t.flow.id == 0:
		t.adopt(e)
	default:
		t.rival(e)
	}
	t.stats.LastPacket = t.start.Add(arrival)
	t.Settle(e.arrival)
}

// entry copies a packet into one of the stream's own buffers.
func (t *Track) entry(p rtpPacket, from netip.AddrPort, arrival int64) *entry {
	e := t.queue.take()
	*e = entry{
		data: append(e.data[:0], p.payload...), from: from, arrival: arrival, n: len(p.payload),
		ts: p.ts, ssrc: p.ssrc, seq: p.seq, kind: t.kinds[p.pt],
	}
	switch e.kind {
	case kindMuLaw, kindALaw:
		if e.n == 0 { // a keep-alive (RFC 6263)
			e.kind = kindOther
		}
	case kindEvent:
		t.stats.Events++
		e.n = 0
		if len(p.payload) >= 4 {
			e.n = int(binary.BigEndian.Uint16(p.payload[2:]))
		}
	case kindNone:
		t.stats.NotAgreed++
		e.n = 0
	case kindOther:
		t.stats.NotAgreed++
		e.n = 0
	default:
		e.n = 0
	}
	return e
}

// rival holds a packet of another sender back until it is clear whether it is
// a stray or the stream's new sender.
func (t *Track) rival(e *entry) {
	if n := len(t.rivals); n > 0 {
		if last := t.rivals[n-1]; last.ssrc != e.ssrc || last.from != e.from || last.seq+1 != e.seq {
			t.strays(t.rivals)
			t.rivals = t.rivals[:0]
		} else if n == maxHeld {
			t.strays(t.rivals[:1])
			t.rivals = append(t.rivals[:0], t.rivals[1:]...)
		}
	}
	t.rivals = append(t.rivals, e)
}

func (t *Track) strays(list []*entry) {
	t.stats.Stray += uint64(len(list))
	for _, e := range list {
		t.queue.give(e)
	}
}

// Settle decides about packets held back, as far as the time allows.
func (t *Track) Settle(now int64) {
	if n := len(t.rivals); n >= 2 {
		quiet := max(quietSame, t.flow.ptime*3/2)
		switch f := t.rivals[0].from; {
		case f == t.source && t.flow.from != t.source: // the signalled one takes its place back
			quiet = 0
		case f != t.flow.from && f != t.source:
			quiet = quietOther
		}
		if t.rivals[n-1].arrival-t.flow.last >= quiet {
			list := t.rivals
			t.rivals = nil
			t.adopt(list[0])
			for _, e := range list[1:] {
				t.accept(e)
			}
		}
	}
	if n := len(t.lagging); n > 0 {
		first, last := t.lagging[0], t.lagging[n-1]
		if last.arrival-first.arrival >= verdictSpan || now-last.arrival >= verdictWait || n >= maxHeld {
			t.verdict()
		}
	}
}

// adopt makes a packet's sender the one that is heard.
func (t *Track) adopt(e *entry) {
	t.release()
	t.flow = flow{from: e.from, ssrc: e.ssrc, id: t.flow.id + 1, last: e.arrival, ptime: int64(e.n)}
	t.clock.anchorAtArrival(e)
	t.insert(e)
}

// accept places a packet of the stream's sender.
func (t *Track) accept(e *entry) {
	c := &t.clock
	d := int16(e.seq - c.seq)
	e.at = c.place(e.ts)
	if d <= 0 && d > -maxMisorder {
		t.straggler(e)
		return
	}
	if !e.kind.audio() {
		c.seq = e.seq
		t.insert(e)
		return
	}
	t.flow.ptime = int64(e.n)
	late := c.late(e)
	switch {
	case t.unclear(late):
		c.seq = e.seq
		t.lagging = append(t.lagging, e)
		return
	case late < 0 && t.provisional(e) && late > -t.depth:
		t.release()
		c.bias = min(c.bias, late-t.pull(late))
		e.at = c.place(e.ts)
		c.follow(e)
	case late-c.bias < -aheadLimit:
		t.release()
		c.anchorAtArrival(e)
	default:
		t.release()
		c.follow(e)
		c.observe(e)
	}
	t.insert(e)
}

// unclear says whether a packet is so late that it may be the sender who has
// paused without counting: its place is encoded already, or about to be after a
// break as long as half of its lateness.
func (t *Track) unclear(late int64) bool {
	if late > t.depth {
		return true
	}
	return late > t.depth*3/4 && (len(t.lagging) > 0 || t.flow.gap > late/2)
}

// straggler places a packet that others have overtaken.
func (t *Track) straggler(e *entry) {
	before := t.clock.epochAt - e.at
	if int16(e.seq-t.clock.epochSeq) < 0 && (before <= 0 || before > t.depth) { // its anchor is gone
		t.refuse(e)
		return
	}
	copies := e.seq == t.clock.seq
	if t.insert(e) && !copies {
		t.stats.Reordered++
	}
}

// provisional says that the epoch is young: its first packet may itself have
// been delayed, and an earlier one by the clock is better evidence.
func (t *Track) provisional(e *entry) bool {
	return e.arrival-t.clock.epochArrival <= t.depth
}

// pull moves the epoch earlier (by is negative), but not into what is played,
// and says by how much.
func (t *Track) pull(by int64) int64 {
	c := &t.clock
	by = min(max(by, t.player.media(c)-c.epochAt), 0)
	c.refAt += by
	c.epochAt += by
	t.queue.move(c.epoch, by)
	return by
}

// release gives the late packets held back to their old places: they were
// delayed by the network.
func (t *Track) release() {
	for _, e := range t.lagging {
		t.clock.follow(e)
		t.insert(e)
	}
	t.lagging = t.lagging[:0]
}

// verdict decides about late packets. If they gain on the clock, a stalled
// network is letting go of them. If they do not, the sender has paused without
// counting: what comes now is heard now.
func (t *Track) verdict() {
	c := &t.clock
	first, last := t.lagging[0], t.lagging[len(t.lagging)-1]
	if c.late(last) < c.late(first)-catchingUp {
		seq := c.seq
		t.release()
		c.seq = seq
		return
	}
	list := t.lagging
	t.lagging = nil
	c.anchorAtArrival(first)
	t.insert(first)
	for _, e := range list[1:] {
		t.accept(e)
	}
}

// insert queues a packet whose place is known; false if it has none.
func (t *Track) insert(e *entry) bool {
	e.epoch, e.flow = t.clock.epoch, t.flow.id
	if e.kind.audio() && e.at+int64(e.n) <= t.player.media(&t.clock) {
		t.refuse(e)
		return false
	}
	if !t.queue.insert(e) {
		t.stats.Duplicate++
		t.queue.give(e)
		return false
	}
	if e.kind.audio() || e.kind == kindNoise {
		t.stats.Packets++
	}
	return true
}

// refuse counts a packet that comes after its place was encoded.
func (t *Track) refuse(e *entry) {
	if t.player.heard(e.seq) {
		t.stats.Duplicate++
	} else {
		t.stats.Late++
	}
	t.queue.give(e)
}

// End stops listening. Audio received by now is still played.
func (t *Track) End(at time.Duration) {
	t.Settle(Samples(at+time.Second, SampleRate))
	until := Samples(at, SampleRate)
	t.until = max(until, min(t.Received(), until+Samples(MaxExtension, SampleRate)))
}

// Over says that a stream was removed and all of it has been played.
func (t *Track) Over() bool { return t.until >= 0 && t.player.cursor >= t.until }

// Received is the timeline position where queued audio ends.
func (t *Track) Received() int64 { return t.queue.end() + t.clock.offset }
