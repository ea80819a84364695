package leg

import "math"

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
	cursor  int64 // timeline position of the next sample
	conceal concealer
	ledger  ledger
	recent  [64]uint16 // sequence numbers of the packets begun last
	begun   int        // how many packets were
	seq     uint16     // of the newest packet begun
	flow    uint32     // and its sender
	ptime   int        // length of the newest audio packet
	cover   int64      // media position up to which an event explains silence
	noise   bool       // comfort noise explains it until the next audio
	partial *entry     // first in the queue and already begun
	odd     bool       // every other stretch may be slewed
	warp    [stretch + 1]int16
	energy  int64 // sum of squares of what was read
	counted int
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

// Read fills dst with the next samples of the timeline.
func (t *Track) Read(dst []int16) {
	p := &t.player
	for len(dst) > 0 {
		n := min(stretch, len(dst))
		step := 0
		if p.odd = !p.odd; p.odd && n == stretch && t.clock.slew != 0 {
			step = t.slew(dst[:n])
		}
		if step == 0 {
			t.fill(dst[:n], p.media(&t.clock))
		}
		p.cursor += int64(n)
		for _, v := range dst[:n] {
			p.energy += int64(v) * int64(v)
		}
		p.counted += n
		dst = dst[n:]
	}
}

// slew plays a stretch one sample longer or shorter, spread over all of it.
func (t *Track) slew(dst []int16) int {
	from := t.player.media(&t.clock)
	step := t.clock.step()
	src := t.player.warp[:len(dst)-step]
	t.fill(src, from)
	resize(dst, src)
	return step
}

// fill takes samples from the queue, and covers up or notes what is missing.
func (t *Track) fill(dst []int16, pos int64) {
	for len(dst) > 0 {
		e := t.queue.first()
		if e == nil || e.at >= pos+int64(len(dst)) {
			t.gap(dst, pos, e)
			return
		}
		n := 0
		switch {
		case !e.kind.audio():
			t.begin(e)
		case e.at > pos:
			n = int(e.at - pos)
			t.gap(dst[:n], pos, e)
		case e.at+int64(e.n) > pos:
			n = t.decode(dst, e, int(pos-e.at))
		}
		pos += int64(n)
		dst = dst[n:]
		if !e.kind.audio() || e.at+int64(e.n) <= pos {
			t.player.partial = nil
			t.queue.pop()
		}
	}
}

// decode plays a packet from its sample skip on and returns how many samples
// that gave.
func (t *Track) decode(dst []int16, e *entry, skip int) int {
	if t.player.partial != e {
		t.begin(e)
		t.player.partial = e
	}
	codes := e.data[skip:]
	codes = codes[:min(len(codes), len(dst))]
	if e.kind == kindMuLaw {
		muLaw.decode(dst, codes)
	} else {
		aLaw.decode(dst, codes)
	}
	t.player.conceal.heard(dst[:len(codes)])
	return len(codes)
}

// begin accounts for the first sample of a packet: what was missing before it,
// and what it explains.
func (t *Track) begin(e *entry) {
	p := &t.player
	lost := p.missing(e)
	t.stats.Lost += uint64(lost)
	if e.kind.audio() {
		p.ledger.close(lost, int64(p.length(e)))
		p.noise = false
		p.ptime = e.n
	} else if lost > 0 {
		p.ledger.owed += lost
	}
	switch e.kind {
	case kindEvent:
		p.cover = max(p.cover, e.at+int64(e.n)+100*ms)
	case kindNoise:
		p.noise = true
	}
	if p.flow != e.flow || int16(e.seq-p.seq) > 0 || lost == 0 && int16(e.seq-p.seq) < -maxMisorder {
		p.seq = e.seq
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

// gap fills a stretch for which nothing has come. next is the first packet
// after it, if any has arrived.
func (t *Track) gap(dst []int16, pos int64, next *entry) {
	p := &t.player
	from := pos + t.clock.offset
	if !p.noise && pos >= p.cover {
		t.note(from, from+int64(len(dst)))
	}
	lost := 0
	if next != nil {
		lost = p.missing(next)
	}
	if lost > 0 && !p.noise && p.ptime > 0 && p.ledger.plausible(int64(lost*p.ptime), next.at+t.clock.offset) {
		p.conceal.conceal(dst)
		return
	}
	p.conceal.silence(dst)
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
