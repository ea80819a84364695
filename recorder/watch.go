package recorder

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"siprecd/media"
	"siprecd/recorder/assure"
	"siprecd/recorder/vigil"
)

// lookEvery is how often the watchman looks, at least.
const lookEvery = 500 * time.Millisecond

// mediaTimeout is Config.MediaTimeout unless set; maxInvites caps the
// re-INVITEs of ours by which a session's media is asked for.
const (
	mediaTimeout = 30 * time.Second
	maxInvites   = 5
)

// watch is what the watchman knows of a call.
type watch struct {
	vigil.Watch
	alarm    assure.Watch
	metadata bool   // there has been a readable document
	invites  int    // re-INVITEs of ours
	cause    string // why we hung up
}

// brokenFlag marks a recording whose media could not be handled to its end.
const brokenFlag = "media fault"

// Watch ends sessions that have lost their client and begins to record those
// whose campaign has begun. It returns when ctx ends.
func (r *Recorder) Watch(ctx context.Context) {
	var saving sync.WaitGroup
	defer saving.Wait()
	r.desk.Recall(ctx, r.cfg.Store, r.started)
	saving.Go(func() { r.desk.Book.Run(ctx) })
	tick := time.NewTicker(min(r.patience()/30, lookEvery))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			r.mu.Lock()
			calls, server := slices.Collect(maps.Values(r.calls)), r.server
			r.mu.Unlock()
			if server != nil {
				counters := server.Counters()
				counters["panic"] += uint64(r.cfg.Media.Load().Broken)
				r.desk.Refusals(now, counters)
			}
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
	if k.media != nil && k.media.Broken() != "" { // what comes next may be good again
		k.watch.cause = "media fault"
		k.flag(brokenFlag)
		k.r.log.Error("session ended: its media could not be handled", "session", k.session.ID(), "panic", k.media.Broken())
		k.session.Hangup("internal error")
		return
	}
	if k.rec != nil {
		stats := k.media.Stats()
		f = k.mediaFacts(stats)
		k.alarms(now, stats)
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
func (k *call) mediaFacts(stats []media.StreamStats) vigil.Facts {
	f := vigil.Facts{Since: k.start}
	for _, s := range stats {
		if s.LastPacket.After(f.Last) {
			f.Last = s.LastPacket
		}
		f.Waiting = f.Waiting || !s.Hold && k.agreed(s.Port)
	}
	return f
}

// agreed says that a port is still that of a leg.
func (k *call) agreed(port int) bool {
	return slices.ContainsFunc(k.legs, func(l *leg) bool { return l != nil && l.stream.Port() == port })
}

// alarms judges the call's legs. The caller holds mu.
func (k *call) alarms(now time.Time, stats []media.StreamStats) {
	news := false
	s := assure.Streams{Stats: stats, Layout: k.layout, Open: k.agreed, Untaken: k.unplayed}
	k.r.desk.Look(&k.watch.alarm, now, k.rec.ID(), s, func(what string, kind assure.Kind, begun bool) {
		news = true
		k.event("alarm", "%s", what)
		if begun {
			k.flag(assure.Flag(kind))
		}
	})
	if news {
		k.saveLocked()
	}
}
