// Package tally keeps the account of completeness: for each day, by the policy's
// clock, and each line, how many calls were to be recorded and what came of them.
//
//	Begin, Refuse, Move, Drop, End ──► Book ──every 2 s, and at the end──► DIR/2026-11-23.json
//	                                    ▲                                       │
//	                catalogue ──Recover─┘◄───────────────── Open ───────────────┘
//
// A day's file holds counts by line and, for recordings that are live or began
// within the last minute, their random ids: so that Recover knows, after a
// crash, what the last save had not seen. No number, no name of a person.
//
// Promises: what the catalogue holds is counted exactly, also across a crash,
// and what was begun and is no longer there is not counted as recorded; a call counts for the day on which it was offered; a file is replaced whole,
// synced, or not at all; a disk that hangs holds nobody up.
//
// Caveats: refusals of the last two seconds before a crash are lost, for
// nothing else knows of them. A client that tries again is counted again.
package tally

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"siprecd/recorder/facts"
)

// A day's account and a line's, as they go out.
type (
	// Day is the account of one day.
	Day = facts.Day
	// Line is the account of one line's day.
	Line = facts.Line
)

const (
	saveEvery = 2 * time.Second
	recently  = time.Minute // how long a begun recording's id is kept, at least
	lookBack  = 8           // days whose live recordings are looked after at start
)

// notKept is why a call that was accepted is not recorded after all: its
// recording is gone, and it was not discarded.
const notKept = "not in the catalogue"

// Ending is what came of a recording.
type Ending struct {
	Interrupted bool
	Seconds     float64
	GapSeconds  float64
	Lost        uint64
	NotDurable  bool
	Flagged     []string // kinds of alarm
}

// Book is the account. It is safe for parallel use.
type Book struct {
	dir string // "": it is not kept
	loc *time.Location
	log *slog.Logger

	mu    sync.Mutex // guards what follows
	days  map[string]*day
	where map[string]place // of recordings that are live or recent
	fault error            // of the last save
}

// day is one day, as it is saved.
type day struct {
	Saved time.Time        `json:"saved"`
	Lines map[string]*Line `json:"lines"`
	Open  map[string]entry `json:"open"` // by recording id: live, or begun lately

	dirty bool
}

// entry is a recording that the book looks after.
type entry struct {
	Line  string    `json:"line"`
	Begun time.Time `json:"begun"`
	Ended bool      `json:"ended,omitempty"`
}

// place is where a recording is booked.
type place struct{ date, line string }

// Date is the day of a moment.
func (b *Book) Date(at time.Time) string { return at.In(b.loc).Format(time.DateOnly) }

// day is the account of a date; the caller holds mu.
func (b *Book) day(date string) *day {
	d := b.days[date]
	if d == nil {
		d = newDay()
		b.days[date] = d
	}
	return d
}

func newDay() *day { return &day{Lines: map[string]*Line{}, Open: map[string]entry{}} }

// line is the account of a line, about to be changed.
func (d *day) line(name string) *Line {
	l := d.Lines[name]
	if l == nil {
		l = &Line{Name: name}
		d.Lines[name] = l
	}
	d.dirty = true
	return l
}

// Begin books a call that was to be recorded, and is: durably.
func (b *Book) Begin(id, line string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begin(id, line, at)
}

func (b *Book) begin(id, line string, at time.Time) {
	date := b.Date(at)
	d := b.day(date)
	l := d.line(line)
	l.Offered++
	l.Recorded++
	d.Open[id] = entry{Line: line, Begun: at.UTC()}
	b.where[id] = place{date, line}
}

// Refuse books n calls that were to be recorded, or may have been, and are not.
func (b *Book) Refuse(line, reason string, at time.Time, n uint64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.day(b.Date(at)).line(line)
	l.Offered += n
	refuse(l, reason, n)
}

// refuse counts offered calls that are not recorded, by why.
func refuse(l *Line, reason string, n uint64) {
	if l.Refused == nil {
		l.Refused = map[string]uint64{}
	}
	l.Refused[reason] += n
}

// Move books a recording to another line: it became known late.
func (b *Book) Move(id, line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.where[id]
	if !ok || p.line == line {
		return
	}
	d := b.day(p.date)
	from, to := d.line(p.line), d.line(line)
	from.Offered, from.Recorded = from.Offered-1, from.Recorded-1
	to.Offered, to.Recorded = to.Offered+1, to.Recorded+1
	e := d.Open[id]
	e.Line = line
	d.Open[id], b.where[id] = e, place{p.date, line}
}

// Drop takes a recording out: it was not to be made.
func (b *Book) Drop(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(id)
}

func (b *Book) drop(id string) {
	p, ok := b.where[id]
	if !ok {
		return
	}
	d := b.day(p.date)
	l := d.line(p.line)
	l.Offered, l.Recorded = l.Offered-1, l.Recorded-1
	delete(d.Open, id)
	delete(b.where, id)
}

// lose books that a recording was begun and is not there: the call was to be
// recorded, and nobody can hear it. The caller holds mu.
func (b *Book) lose(id string) {
	p, ok := b.where[id]
	if !ok {
		return
	}
	l := b.day(p.date).line(p.line)
	l.Recorded--
	refuse(l, notKept, 1)
	b.over(id, p)
}

// over notes that a recording is looked after no more. The caller holds mu.
func (b *Book) over(id string, p place) {
	d := b.day(p.date)
	e := d.Open[id]
	e.Ended = true
	d.Open[id] = e
	delete(b.where, id)
}

// End books the end of a recording.
func (b *Book) End(id string, e Ending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end(id, e)
}

func (b *Book) end(id string, e Ending) {
	p, ok := b.where[id]
	if !ok {
		return
	}
	d := b.day(p.date)
	l := d.line(p.line)
	if e.Interrupted {
		l.Interrupted++
	} else {
		l.Finished++
	}
	l.Seconds += e.Seconds
	l.GapSeconds += e.GapSeconds
	l.Lost += e.Lost
	if e.NotDurable {
		l.NotDurable++
	}
	for _, kind := range slices.Compact(slices.Sorted(slices.Values(e.Flagged))) {
		if l.Flagged == nil {
			l.Flagged = map[string]uint64{}
		}
		l.Flagged[kind]++
	}
	b.over(id, p)
}

// Days are the accounts of the day of now and of the one before.
func (b *Book) Days(now time.Time) []Day {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Day, 0, 2)
	local := now.In(b.loc)
	for i := range 2 {
		// Noon: no clock change is near it.
		date := time.Date(local.Year(), local.Month(), local.Day()-i, 12, 0, 0, 0, b.loc).Format(time.DateOnly)
		d := b.days[date]
		if d == nil {
			d = newDay()
		}
		out = append(out, d.account(date))
	}
	return out
}

// Err is why the account cannot be saved; nil when it can.
func (b *Book) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fault
}

// account renders a day: its lines by name, the unknown one last, and the sum.
func (d *day) account(date string) Day {
	out := Day{Date: date, Lines: make([]Line, 0, len(d.Lines))}
	for _, l := range d.Lines {
		if l.Offered == 0 && l.Recorded == 0 {
			continue
		}
		c := *l
		c.Refused, c.Flagged = maps.Clone(l.Refused), maps.Clone(l.Flagged)
		c.Captured = captured(c)
		out.Lines = append(out.Lines, c)
		out.All = sum(out.All, c)
	}
	out.All.Captured = captured(out.All)
	slices.SortFunc(out.Lines, func(a, b Line) int {
		if (a.Name == "") != (b.Name == "") {
			return strings.Compare(b.Name, a.Name)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

func captured(l Line) *float64 {
	if l.Offered == 0 {
		return nil
	}
	c := float64(l.Recorded) / float64(l.Offered)
	return &c
}

// sum adds up two accounts.
func sum(a, b Line) Line {
	a.Offered += b.Offered
	a.Recorded += b.Recorded
	a.Finished += b.Finished
	a.Interrupted += b.Interrupted
	a.Seconds += b.Seconds
	a.GapSeconds += b.GapSeconds
	a.Lost += b.Lost
	a.NotDurable += b.NotDurable
	a.Refused, a.Flagged = added(a.Refused, b.Refused), added(a.Flagged, b.Flagged)
	return a
}

func added(a, b map[string]uint64) map[string]uint64 {
	if a == nil && len(b) > 0 {
		a = map[string]uint64{}
	}
	for k, n := range b {
		a[k] += n
	}
	return a
}
