package leg

import (
	"math"

	"siprecd/media/payload"
)

// Playing.
const (
	stretch      = 20 * ms // unit of drift correction
	concealLimit = 60 * ms // a loss is covered up for this long, then comes silence
	maxMissing   = 3000    // a greater jump of the sequence number is a restart (RFC 3550 A.1)
	silentLevel  = -127.0  // dBov of digital silence
	quietLevel   = -60.0   // dBov under which a stream counts as silent
)

// player turns a track's queued packets into samples of the timeline.
type player struct {
	cursor  int64 // timeline position of what is laid on the line next
	conceal concealer
	ledger  ledger
	recent  [64]uint16 // sequence numbers of the packets begun last
	begun   int        // how many packets were
	seq     uint16     // of the newest packet begun
	flow    uint32     // and its sender
	ptime   int        // length of the newest audio packet
	cover   int64      // media position up to which an event explains silence
	noise   bool       // comfort noise explains it until the next audio
	odd     bool       // every other stretch may be slewed
	energy  int64      // sum of squares of what was read
	counted int        // units
}

// media is the media position of the next sample.
func (p *player) media(c *clock) int64 { return p.cursor - c.offset }

// heard says whether a packet was begun a short while ago.
func (p *player) heard(seq uint16) bool {
	for i := range min(p.begun, len(p.recent)) {
		if p.recent[i] == seq {
			return true
		}
	}
	return false
}

// Read fills dst with the next samples of the timeline, whole units of it at the
// track's rate.
func (t *Track) Read(dst []int16) {
	p, k := &t.player, t.line.Wide()
	for len(dst) > 0 {
		n := min(stretch, len(dst)/k)
		step := 0
		if p.odd = !p.odd; p.odd && n == stretch {
			step = t.slew(dst[:n*k])
		}
		if step == 0 {
			t.feed(n, 0)
			t.line.Take(dst[:n*k])
		}
		for _, v := range dst[:n*k] {
			p.energy += int64(v) * int64(v)
		}
		p.counted += n
		dst = dst[n*k:]
	}
}

// feed lays as much on the line as it takes to read n units.
func (t *Track) feed(n, step int) {
	p := &t.player
	want := int64(t.line.Need(n))
	from := p.media(&t.clock) + int64(step)
	t.fill(from, from+want)
	p.cursor += want + int64(step)
}

// slew plays a stretch one unit longer or shorter, spread over all of it, if
// the clock asks for it.
func (t *Track) slew(dst []int16) int {
	step := t.clock.step()
	if step == 0 {
		return 0
	}
	k := t.line.Wide()
	n := len(dst)/k - step
	t.feed(n, step)
	src := t.queue.pool.warp[:n*k]
	t.line.Take(src)
	resize(dst, src)
	return step
}

// fill lays the media from one position to another on the line: what the queue
// holds, with what is missing covered up or noted.
func (t *Track) fill(pos, end int64) {
	for pos < end {
		if run := t.voice.At(pos, end); run != nil {
			_, k := t.voice.Block()
			t.line.Put(k, run)
			pos += int64(len(run) / k)
			continue
		}
		e := t.queue.first()
		switch {
		case e == nil || e.at >= end:
			pos = t.gap(pos, end, e)
		case !e.format.Kind.Audio():
			t.begin(e)
			t.queue.pop()
		case e.at > pos:
			pos = t.gap(pos, e.at, e)
		case e.at+int64(e.n) > pos:
			t.begin(e)
			t.decode(e)
			t.queue.pop()
		default:
			t.queue.pop()
		}
	}
}

// decode turns a packet into audio that waits to be laid on the line.
func (t *Track) decode(e *entry) {
	if !t.voice.Decode(e.at, e.n, e.format, e.data) {
		t.stats.Malformed++
	}
	if !t.voice.Conceals() {
		t.player.conceal.heard(t.voice.Block())
	}
	t.player.noise = t.voice.Silent()
}

// begin accounts for the first sample of a packet: what was missing before it,
// and what it explains.
func (t *Track) begin(e *entry) {
	p := &t.player
	lost := p.missing(e)
	t.stats.Lost += uint64(lost)
	if e.format.Kind.Audio() {
		p.ledger.close(lost, int64(p.length(e)))
		p.noise = false
		p.ptime = e.n
	} else if lost > 0 {
		p.ledger.owed += lost
	}
	switch e.format.Kind {
	case payload.Event:
		t.press(e)
		p.cover = max(p.cover, e.at+int64(e.n)+100*ms)
	case payload.Noise:
		p.noise = true
	}
	if p.flow != e.flow || int16(e.seq-p.seq) > 0 || lost == 0 && int16(e.seq-p.seq) < -maxMisorder {
		p.seq = e.seq
	}
	if p.flow != e.flow {
		t.voice.Reset()
	}
	p.flow = e.flow
	p.recent[p.begun%len(p.recent)] = e.seq
	p.begun++
}

// length is that of a lost packet: as long as the one before it or, if there
// was none, the one after.
func (p *player) length(next *entry) int {
	if p.ptime > 0 {
		return p.ptime
	}
	return next.n
}

// missing counts the packets that should stand between the newest packet
// played and the given one.
func (p *player) missing(e *entry) int {
	if p.begun == 0 || p.flow != e.flow {
		return 0
	}
	if n := int(int16(e.seq-p.seq)) - 1; n > 0 && n < maxMissing {
		return n
	}
	return 0
}

// gap lays on the line, or makes a block of, a stretch for which nothing has
// come, and returns how far what it laid reaches. next is the first packet
// after it, if any has arrived.
func (t *Track) gap(pos, end int64, next *entry) int64 {
	p := &t.player
	lost := 0
	if next != nil {
		lost = p.missing(next)
	}
	covered := lost > 0 && !p.noise && p.ptime > 0 && p.ledger.plausible(int64(lost*p.ptime), next.at+t.clock.offset)
	if t.voice.Conceals() {
		if to := t.cover(pos, next, covered); to > pos {
			t.explain(pos, to)
			return pos
		}
		if covered && next.at-int64(next.n) > pos {
			end = min(end, next.at-int64(next.n))
		}
		covered = false
	}
	end = min(end, pos+stretch)
	t.explain(pos, end)
	k := 1
	if covered {
		k = max(1, p.conceal.wide)
	}
	run := t.queue.pool.warp[:int(end-pos)*k]
	if covered {
		p.conceal.conceal(run)
	} else {
		clear(run)
		p.conceal.silence()
	}
	t.line.Put(k, run)
	return end
}

// cover has the decoder make a block for a gap, and returns where it ends: for
// all of a short loss; for the beginning of a long one, and its end, which the
// next packet may tell; for a sender that is silent, its comfort noise.
func (t *Track) cover(pos int64, next *entry, lost bool) int64 {
	v, ok := &t.voice, false
	switch {
	case v.Silent():
		end := pos + stretch
		if next != nil {
			end = min(end, next.at)
		}
		ok = v.Cover(pos, end, nil)
	case !lost:
	case next.at-pos <= payload.MaxBlock && v.Run() == 0 && v.End() == pos || next.at-pos <= int64(next.n):
		ok = v.Cover(pos, next.at, sameKind(v, next))
	case v.Run() < concealLimit && v.End() == pos: // not after silence
		ok = v.Cover(pos, min(pos+concealLimit, next.at), nil)
	}
	if !ok {
		return pos
	}
	return v.End()
}

// explain enters a stretch in the ledger unless something accounts for it.
func (t *Track) explain(pos, end int64) {
	if p := &t.player; !p.noise && pos >= p.cover {
		t.note(pos+t.clock.offset, end+t.clock.offset)
	}
}

// note enters a stretch without audio in the ledger, as far as the stream was
// listened to.
func (t *Track) note(from, to int64) {
	from = max(from, t.since)
	if t.until >= 0 {
		to = min(to, t.until)
	}
	if from < to {
		t.player.ledger.miss(from, to, t.hold.on(from))
	}
}

// Measure works out the level of what was read since it was last called.
func (t *Track) Measure() {
	p := &t.player
	if p.counted == 0 {
		return
	}
	t.stats.Level = silentLevel
	if mean := float64(p.energy) / float64(p.counted); mean > 0 {
		t.stats.Level = max(silentLevel, 10*math.Log10(mean)-20*math.Log10(32768))
	}
	if t.stats.Level > quietLevel {
		t.stats.Silent = 0
	} else {
		t.stats.Silent += Duration(int64(p.counted))
	}
	p.energy, p.counted = 0, 0
}

// sameKind is a packet's payload, if the voice's decoder can read it.
func sameKind(v *payload.Voice, e *entry) []byte {
	if e.format.Kind != v.Kind() {
		return nil
	}
	return e.data
}
