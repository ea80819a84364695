package leg

import (
	"net/netip"
	"time"

	"siprecd/media/payload"
	"siprecd/media/resample"
	"siprecd/media/secure"
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
	formats [128]payload.Format
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
	voice   payload.Voice
	digits  digits
	reports reports
	line    *resample.Line
	widest  int // multiple of SampleRate of the widest audio so far
	hold    holdMark
	moved   moved
	since   int64 // timeline position from which the stream is listened to
	until   int64 // and to which; -1: still is

	protection protection
	control    func(b []byte, from netip.AddrPort) bool // takes DTLS; nil: nobody does
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

	first    uint32 // sequence number of its first packet
	highest  uint32 // of its newest, counted on where the 16 bits turn over
	received uint64 // its packets
}

// count counts a packet that is so many numbers ahead of the newest.
func (f *flow) count(ahead int16) {
	f.received++
	switch {
	case ahead > 0:
		f.highest += uint32(ahead)
	case ahead <= -maxMisorder: // it has begun again
		f.first, f.received = f.highest+1, 1
		f.highest++
	}
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
	Cursor int64                 // units of the timeline (SampleRate) that have been read already
	Depth  time.Duration         // how long a packet may be late
	Port   int                   // local port, for the counts
	Allow  func(netip.Addr) bool // further sources; nil: none

	Rate int                             // of what is read, in Hz: 8000 (also 0), 16000 or 48000
	Opus func() (payload.Decoder, error) // makes a decoder for mono audio of 48 kHz; nil: Opus is not played

	Pool *Pool // shared with the other tracks of the goroutine; nil: the track has its own

	Control func(b []byte, from netip.AddrPort) bool // takes the DTLS of the stream's port if it can; nil: nobody does
	Guard   *secure.Guard                            // what has opened the stream until now, in another call; nil: nothing has
}

// New begins to listen to a stream.
func New(cfg Config, at Place) *Track {
	t := &Track{start: at.Start, depth: Samples(at.Depth, SampleRate), since: Samples(at.Added, SampleRate), until: -1, allow: at.Allow}
	t.control, t.protection.guard = at.Control, at.Guard
	if t.queue.pool = at.Pool; at.Pool == nil {
		t.queue.pool = &Pool{}
	}
	t.line = resample.NewLine(max(1, at.Rate/SampleRate))
	t.voice, t.widest = payload.NewVoice(at.Opus), 1
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

// Sender is who is heard; not valid: nobody yet.
func (t *Track) Sender() netip.AddrPort {
	if t.flow.id == 0 {
		return netip.AddrPort{}
	}
	return t.flow.from
}

// Signalled is the address that the signalling names.
func (t *Track) Signalled() netip.AddrPort { return t.source }

// Ended says whether End has been called.
func (t *Track) Ended() bool { return t.until >= 0 }

// Gaps closes the books at the timeline's end, in samples, and returns what is
// in them. Nothing may be read after it.
func (t *Track) Gaps(end int64) []Gap { return t.player.ledger.list(&t.stats, end) }

// Configure puts a newly agreed configuration in force.
func (t *Track) Configure(cfg Config, at time.Duration) {
	t.stats.Name, t.stats.Hold = cfg.Name, cfg.Hold
	t.move(cfg.Side, Samples(at, SampleRate))
	t.digits.wanted = cfg.Digits
	t.hold = holdMark{at: Samples(at, SampleRate), before: t.hold.now, now: cfg.Hold}
	t.source = netip.AddrPortFrom(cfg.Source.Addr().Unmap(), cfg.Source.Port())
	t.protect(cfg.Keys)
	for pt := range t.formats {
		t.formats[pt], _ = payload.Static(uint8(pt))
	}
	for pt, c := range cfg.Codecs {
		if pt < 128 {
			t.formats[pt] = payload.FormatOf(c)
		}
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
	b, ok := t.open(b, from, arrival)
	if !ok {
		return
	}
	p, w := parseRTP(b)
	switch w {
	case wireRTCP:
		t.hear(b, Samples(arrival, SampleRate))
		return
	case wireOther:
		t.stats.Malformed++
		return
	}
	e := t.entry(p, from, Samples(arrival, SampleRate))
	mine := t.flow.id != 0 && e.ssrc == t.flow.ssrc && e.from == t.flow.from
	speaks := e.format.Kind.Audio() || e.format.Kind == payload.Noise
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
	if t.stats.FirstPacket.IsZero() {
		t.stats.FirstPacket = t.stats.LastPacket
	}
	t.Settle(e.arrival)
}

// entry copies a packet into one of the stream's own buffers.
func (t *Track) entry(p rtpPacket, from netip.AddrPort, arrival int64) *entry {
	e := t.queue.take()
	*e = entry{
		data: append(e.data[:0], p.payload...), from: from, arrival: arrival,
		ts: p.ts, ssrc: p.ssrc, seq: p.seq, format: t.formats[p.pt],
	}
	f := &e.format
	e.n = f.Length(p.payload)
	switch {
	case f.Kind.Audio() && e.n == 0: // a keep-alive (RFC 6263), or broken
		if len(p.payload) > 0 {
			t.stats.Malformed++
		}
		f.Kind = payload.Other
	case f.Kind.Audio() && f.Assumed:
		t.stats.Assumed++
	case f.Kind == payload.Event:
		t.stats.Events++
	case f.Kind == payload.None || f.Kind == payload.Other:
		t.stats.NotAgreed++
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
	t.flow = flow{
		from: e.from, ssrc: e.ssrc, id: t.flow.id + 1, last: e.arrival, ptime: int64(e.n),
		first: uint32(e.seq), highest: uint32(e.seq), received: 1,
	}
	t.clock.anchorAtArrival(e)
	t.insert(e)
}

// accept places a packet of the stream's sender.
func (t *Track) accept(e *entry) {
	c := &t.clock
	d := int16(e.seq - c.seq)
	t.flow.count(d)
	if k := e.format.Clock; e.format.Kind.Audio() && k != c.rate {
		t.reclock(e, int64(d))
		return
	}
	e.at = c.place(e)
	if d <= 0 && d > -maxMisorder {
		t.straggler(e)
		return
	}
	if !e.format.Kind.Audio() {
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
		e.at = c.place(e)
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

// reclock places the first packet of a codec whose time stamps count at another
// rate. What they count from is not known (RFC 7160): by its sequence number
// the packet follows the newest, if it comes about when that would end.
func (t *Track) reclock(e *entry, ahead int64) {
	c := &t.clock
	if ahead <= 0 {
		t.refuse(e)
		return
	}
	t.release()
	at, bias := c.refAt+ahead*t.flow.ptime, c.bias
	if late := e.arrival - at - c.offset; ahead > maxMissing || late <= -aheadLimit || late >= t.depth*3/4 {
		at, bias = e.arrival-c.offset, 0
	}
	c.anchor(e, at)
	c.bias = bias
	t.flow.ptime = int64(e.n)
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
	by = min(max(by, t.played()-c.epochAt), 0)
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
	if e.format.Kind.Audio() && e.at+int64(e.n) <= t.played() {
		t.refuse(e)
		return false
	}
	if !t.queue.insert(e) {
		t.stats.Duplicate++
		t.queue.give(e)
		return false
	}
	if e.format.Kind.Audio() || e.format.Kind == payload.Noise {
		t.stats.Packets++
		t.widest = max(t.widest, int(e.format.Wide))
	}
	return true
}

// played is the media position up to which everything is decided.
func (t *Track) played() int64 { return max(t.player.media(&t.clock), t.voice.End()) }

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
func (t *Track) Over() bool { return t.until >= 0 && t.player.cursor >= t.until+resample.Reach }

// Received is the timeline position where received audio ends.
func (t *Track) Received() int64 { return max(t.queue.end(), t.voice.End()) + t.clock.offset }

// Widest is the rate in Hz of the widest audio that has been received.
func (t *Track) Widest() int { return t.widest * SampleRate }

// Widen makes Read give a higher rate, and read again the last units of the
// timeline, at most resample.Back.
func (t *Track) Widen(rate, back int) { t.line.Widen(rate/SampleRate, back) }
