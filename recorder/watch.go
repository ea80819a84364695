package recorder

import (
	"context"
	"maps"
	"slices"
	"time"

	"siprecd/recorder/vigil"
)

// mediaTimeout is Config.MediaTimeout unless set; maxInvites caps the
// re-INVITEs of ours by which a session's media is asked for.
const (
	mediaTimeout = 30 * time.Second
	maxInvites   = 5
)

// watch is what the watchman knows of a call.
type watch struct {
	vigil.Watch
	metadata bool   // there has been a readable document
	invites  int    // re-INVITEs of ours
	cause    string // why we hung up
}

// Watch ends sessions that have lost their client and begins to record those
// whose campaign has begun. It returns when ctx ends.
func (r *Recorder) Watch(ctx context.Context) {
	tick := time.NewTicker(r.patience() / 30)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			r.mu.Lock()
			calls := slices.Collect(maps.Values(r.calls))
			r.mu.Unlock()
			for _, k := range calls {
				k.look(now)
			}
		}
	}
}

func (r *Recorder) patience() time.Duration {
	if r.cfg.MediaTimeout > 0 {
		return r.cfg.MediaTimeout
	}
	return mediaTimeout
}

// look does for one call what is due.
func (k *call) look(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.watch.cause != "" || k.session.Established().IsZero() {
		return
	}
	var f vigil.Facts
	if k.rec != nil {
		f = k.mediaFacts()
	} else if k.wanted(now) {
		k.watch.invites++
		k.watch.Stirred(now)
		k.session.Reinvite()
		return
	}
	switch k.watch.Judge(now, k.r.patience(), f) {
	case vigil.Probe:
		k.session.Probe(func(alive, answered bool) {
			if answered {
				k.mu.Lock()
				defer k.mu.Unlock()
				k.watch.Answered(alive)
			}
		})
	case vigil.GiveUp:
		k.watch.cause = "media timeout"
		k.r.log.Warn("session given up: its media has stopped", "session", k.session.ID())
		k.session.Hangup("no media")
	}
}

// wanted says that a call that is not recorded is to be by now.
func (k *call) wanted(now time.Time) bool {
	return k.watch.invites < maxInvites && !k.decision.Until.IsZero() && now.After(k.decision.Until) &&
		k.watch.Quiet(now) > k.r.patience()/6 && k.r.decide(k.id, k.metadata).Record
}

// mediaFacts is how the media stands.
func (k *call) mediaFacts() vigil.Facts {
	f := vigil.Facts{Since: k.start}
	for _, s := range k.media.Stats() {
		if s.LastPacket.After(f.Last) {
			f.Last = s.LastPacket
		}
		f.Waiting = f.Waiting || !s.Hold && slices.ContainsFunc(k.legs, func(l *leg) bool { return l != nil && l.stream.Port() == s.Port })
	}
	return f
}
