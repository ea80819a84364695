// Package assure is where the recorder answers for what it promises: alarms of
// live calls (package alarm), faults of the machine (package faults) and the
// account of each day (package tally).
//
//	watchman ──Look──► alarm.Watch, one a call ─► log, counters, the recording
//	counters of SIP ──Refusals──► tally.Book
//
// It turns what the media path and the store count into what those packages
// take, and knows nothing of calls, sessions or locks.
package assure

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"siprecd/media"
	"siprecd/recorder/account"
	"siprecd/recorder/alarm"
	"siprecd/recorder/facts"
	"siprecd/recorder/faults"
	"siprecd/recorder/tally"
	"siprecd/siprec"
	"siprecd/store"
)

// Desk is the recorder's. It is safe for parallel use.
type Desk struct {
	Limits alarm.Limits
	Board  *faults.Board
	Book   *tally.Book

	log *slog.Logger
	mu  sync.Mutex // guards what follows
	up  map[string]uint64
	sip map[string]uint64 // counters of SIP, when last looked at

	flooded time.Time // when a request was last refused for that
}

// The names of package alarm that users of this one need.
type (
	// Watch is the alarm watch of one call.
	Watch = alarm.Watch
	// Kind is what is wrong with a leg.
	Kind = alarm.Kind
)

// New opens the account that is kept in dir ("": none is kept).
func New(dir string, loc *time.Location, limits alarm.Limits, log *slog.Logger) *Desk {
	if dir != "" {
		dir = filepath.Join(dir, tally.Folder)
	}
	return &Desk{
		Limits: limits, Board: faults.New(log), Book: tally.Open(dir, loc, log), log: log,
		up: map[string]uint64{}, sip: map[string]uint64{},
	}
}

// Look judges the legs of a call and tells what is new of them to the log and
// to tell: what, and whether it has begun. expected says which ports' legs are
// to bring media. The labels of the clients are kept out of the log.
func (d *Desk) Look(w *Watch, now time.Time, rec string, s Streams, tell func(what string, kind Kind, begun bool)) {
	legs := make([]alarm.Leg, len(s.Stats))
	for i, st := range s.Stats {
		legs[i] = alarm.Leg{
			Expected: s.Open(st.Port) && !st.Hold, Last: st.LastPacket, Silent: st.Silent, Blocked: st.Security.Blocked,
		}
	}
	raised, cleared := w.Judge(now, d.Limits, legs)
	up, down := w.Untaken(now, s.Untaken)
	for _, a := range append(cleared, down...) {
		d.log.Info("alarm is over", "recording", rec, "alarm", a.Kind, "channel", s.channel(a), "seconds", a.To.Sub(a.From).Round(time.Second).Seconds())
		tell(string(a.Kind)+" on "+s.name(a)+" is over", a.Kind, false)
	}
	for _, a := range append(raised, up...) {
		d.log.Warn("alarm", "recording", rec, "alarm", a.Kind, "channel", s.channel(a), "since", a.From.UTC().Format(time.TimeOnly))
		d.mu.Lock()
		d.up[string(a.Kind)]++
		d.mu.Unlock()
		tell(string(a.Kind)+" on "+s.name(a), a.Kind, true)
	}
}

// Streams are the streams of a call, with their layout.
type Streams struct {
	Stats   []media.StreamStats
	Layout  media.Layout
	Open    func(port int) bool // still agreed
	Untaken []int               // media lines with sound that are not recorded
}

func (s Streams) channel(a alarm.Span) string {
	if a.Leg < 0 {
		return "none"
	}
	return account.Channel(s.Layout, s.Stats[a.Leg].Side)
}

func (s Streams) name(a alarm.Span) string {
	if a.Leg < 0 {
		return mediaLine(a)
	}
	return s.Stats[a.Leg].Name
}

// mediaLine names what has no leg, as people count.
func mediaLine(a alarm.Span) string { return fmt.Sprintf("media line %d", a.Line+1) }

// Alarms are the alarms that a call has now.
func Alarms(w *Watch, c facts.LiveCall) []facts.Alarm {
	var out []facts.Alarm
	for _, a := range w.Active() {
		if a.Leg < 0 {
			out = append(out, facts.Alarm{Call: c.ID, Line: c.Line, Leg: mediaLine(a), Kind: string(a.Kind), Since: a.From.UTC()})
			continue
		}
		if a.Leg >= len(c.Legs) {
			continue
		}
		l := &c.Legs[a.Leg]
		l.Alarm = string(a.Kind)
		out = append(out, facts.Alarm{Call: c.ID, Line: c.Line, Leg: l.Label, Channel: l.Channel, Kind: string(a.Kind), Since: a.From.UTC()})
	}
	return out
}

// Flag is how a recording names that it had an alarm of a kind. That of
// undecryptable media is the one that says so.
func Flag(k alarm.Kind) string {
	switch k {
	case alarm.Undecryptable:
		return "media that could not be decrypted"
	case alarm.OneWay:
		return "one-way media"
	case alarm.Silent:
		return "silent stream"
	case alarm.NotTaken:
		return "stream not recorded"
	}
	return "no media"
}

// Close ends a call's watch and puts its alarms, with their times since start,
// into the account of its streams. It returns the flags that fit.
func (d *Desk) Close(w *Watch, rec string, start, end time.Time, quality []account.Stream) (flags []string) {
	all, open := w.Close(end)
	for _, a := range open {
		d.log.Info("alarm is over: the call has ended", "recording", rec, "alarm", a.Kind)
	}
	for _, a := range all {
		if a.Leg >= 0 && a.Leg < len(quality) {
			q := &quality[a.Leg]
			q.Alarms = append(q.Alarms, account.Alarm{Kind: string(a.Kind), From: a.From.Sub(start).Seconds(), To: a.To.Sub(start).Seconds()})
		}
		if f := Flag(a.Kind); !slices.Contains(flags, f) {
			flags = append(flags, f)
		}
	}
	return flags
}

// Ended books the end of a recording.
func (d *Desk) Ended(id string, sum media.Summary, flags []string) {
	e := tally.Ending{Seconds: sum.Duration.Seconds(), Flagged: kinds(flags)}
	for _, g := range sum.Gaps {
		if g.Reason != "hold" {
			e.GapSeconds += (g.To - g.From).Seconds()
		}
	}
	for _, s := range sum.Streams {
		e.Lost += s.Lost
	}
	d.Book.End(id, e)
}

// kinds are the alarms that flags tell of.
func kinds(flags []string) []string {
	var out []string
	for _, k := range alarm.Kinds() {
		if slices.Contains(flags, Flag(k)) {
			out = append(out, string(k))
		}
	}
	return out
}

// seen is a recording of the catalogue as the account takes it.
func seen(r store.Row) tally.Seen {
	return tally.Seen{ID: r.ID, Line: r.Line, Started: r.Started, Live: r.State == store.Live, Ending: tally.Ending{
		Interrupted: r.Interrupted, Seconds: r.Duration, Flagged: kinds(r.Flags), NotDurable: slices.Contains(r.Flags, "audio not stored"),
	}}
}

// Recall takes up from the catalogue what the account missed before this start.
func (d *Desk) Recall(ctx context.Context, s *store.Store, started time.Time) {
	d.Book.Recover(func(id string) (tally.Seen, bool) {
		row, err := s.Get(id)
		if errors.Is(err, store.ErrNotFound) && s.WasDiscarded(id) {
			return tally.Seen{ID: id, Discarded: true}, true
		}
		return seen(row), !errors.Is(err, store.ErrNotFound)
	}, func(from time.Time) iter.Seq[tally.Seen] {
		return func(yield func(tally.Seen) bool) {
			for row, err := range s.List(ctx, store.Query{From: from, To: started}) {
				if err == nil && !yield(seen(row)) {
					return
				}
			}
		}
	})
}

// Refused books a call that was to be recorded and was not, by why.
func (d *Desk) Refused(line string, err error) {
	reason := "error"
	var r *siprec.Refusal
	if errors.As(err, &r) {
		reason = r.Reason
	}
	d.Book.Refuse(line, reason, time.Now(), 1)
}

// Refusals books the INVITEs that were refused before the recorder saw them:
// their line is not known.
func (d *Desk) Refusals(now time.Time, counters map[string]uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for counter, reason := range map[string]string{
		"not-ready-invite": "not ready", "draining-invite": "draining",
		"flood-invite": "flood", "body-unreadable": "body unreadable", "sdp-unreadable": "session description unreadable",
	} {
		n := counters[counter]
		d.Book.Refuse("", reason, now, n-min(d.sip[counter], n))
		d.sip[counter] = n
	}
	text := ""
	if n := counters["panic"]; n > 0 {
		text = fmt.Sprintf("the handling of %d sessions failed since the start, and they were ended: the log says why", n)
	}
	d.Board.Set("panic", text)
	if n := counters["flood"] + counters["flood-invite"]; n > d.sip["flood"] {
		d.sip["flood"], d.flooded = n, now
	}
	text = ""
	if now.Sub(d.flooded) < floodTold {
		text = "a client asks for more than sip.flood allows, and gets 503 for what is too much: see refusals"
	}
	d.Board.Set("flood", text)
}

// floodTold is for how long a flood is told after its last request.
const floodTold = 30 * time.Second

// Fill puts the alarms, faults and accounts into a status.
func (d *Desk) Fill(s *facts.Status, now time.Time) {
	text := ""
	if err := d.Book.Err(); err != nil {
		text = "the account of completeness cannot be saved: " + err.Error()
	}
	d.Board.Set("completeness", text)
	s.Faults, s.Completeness = d.Board.List(), d.Book.Days(now)
	d.mu.Lock()
	defer d.mu.Unlock()
	s.AlarmsRaised = maps.Clone(d.up)
}
