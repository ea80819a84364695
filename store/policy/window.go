package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	dayMinutes = 24 * 60
	// pattern is how many days show every change that a weekly pattern can
	// make: two weeks, as the clock change can swallow one occurrence.
	pattern = 15
)

// span is a Window, read.
type span struct {
	name     string
	from, to time.Time     // midnights of the first and last day, as if UTC: dates, not instants
	days     [7]bool       // by time.Weekday
	opens    time.Duration // since local midnight, by the wall clock
	closes   time.Duration
}

// plain is a span of whole days.
func (s span) plain() bool {
	return s.opens == 0 && s.closes == dayMinutes*time.Minute && !slices.Contains(s.days[:], false)
}

// holds is whether the wall clock reading lies in the span.
func (s span) holds(local time.Time) bool {
	date := dateOf(local)
	if date.Before(s.from) || date.After(s.to) || !s.days[local.Weekday()] {
		return false
	}
	clock := time.Duration(local.Hour())*time.Hour + time.Duration(local.Minute())*time.Minute
	return clock >= s.opens && clock < s.closes
}

// occurs is whether there is a day on which the span is open.
func (s span) occurs() bool {
	for d, i := s.from, 0; i < 7 && !d.After(s.to); d, i = d.AddDate(0, 0, 1), i+1 {
		if s.days[d.Weekday()] {
			return true
		}
	}
	return false
}

// dateOf keeps the date and forgets the zone.
func dateOf(local time.Time) time.Time {
	y, m, d := local.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// schedule is a line's windows in its time zone.
type schedule struct {
	loc   *time.Location
	spans []span
}

// open gives the name of the first window that holds the moment.
func (s schedule) open(at time.Time) (string, bool) {
	local := at.In(s.loc)
	for _, w := range s.spans {
		if w.holds(local) {
			return w.name, true
		}
	}
	return "", false
}

// change gives the next moment after at when the schedule opens or closes, in
// UTC; zero when it never does again.
func (s schedule) change(at time.Time) time.Time {
	_, now := s.open(at)
	for _, day := range s.watched(dateOf(at.In(s.loc))) {
		for _, t := range s.boundaries(day) {
			if !t.After(at) {
				continue
			}
			if _, then := s.open(t); then != now {
				return t
			}
		}
	}
	return time.Time{}
}

// watched lists, in order, the dates on which something can change, from
// today on: between the first and last days of windows the weeks are alike.
func (s schedule) watched(today time.Time) []time.Time {
	starts := []time.Time{today}
	length := 1
	for _, w := range s.spans {
		starts = append(starts, w.from, w.to.AddDate(0, 0, 1))
		if !w.plain() {
			length = pattern
		}
	}
	var days []time.Time
	for _, d := range starts {
		for i := range length {
			if day := d.AddDate(0, 0, i); !day.Before(today) {
				days = append(days, day)
			}
		}
	}
	slices.SortFunc(days, time.Time.Compare)
	return slices.CompactFunc(days, time.Time.Equal)
}

// boundaries lists, in order, every instant of a date and of the next one at
// which a window can open or close. A wall clock reading is taken with the
// offset of the day before and of the day after, so that a clock change loses
// nothing; the next date is there because such readings can overlap.
func (s schedule) boundaries(day time.Time) []time.Time {
	var all []time.Time
	add := func(clock time.Duration) {
		for _, wall := range []time.Time{day.Add(clock), day.Add(clock + 24*time.Hour)} {
			for _, around := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
				_, offset := wall.Add(around).In(s.loc).Zone()
				all = append(all, wall.Add(-time.Duration(offset)*time.Second))
			}
		}
	}
	add(0)
	for _, w := range s.spans {
		add(w.opens)
		add(w.closes)
	}
	if _, shift := all[0].In(s.loc).ZoneBounds(); !shift.IsZero() && shift.Sub(all[0]) <= 48*time.Hour {
		all = append(all, shift.UTC())
	}
	slices.SortFunc(all, time.Time.Compare)
	return all
}

// read turns a Window into a span; the returned problems have keys relative
// to the window.
func (w Window) read() (span, []Problem) {
	var bad []Problem
	fail := func(key string, err error) {
		if err != nil {
			bad = append(bad, Problem{Key: key, Text: err.Error()})
		}
	}
	s := span{name: w.Name}
	var err error
	s.from, err = readDate(w.From)
	fail("from", err)
	s.to, err = readDate(w.To)
	fail("to", err)
	if len(bad) == 0 && s.to.Before(s.from) {
		fail("to", fmt.Errorf("the window ends on %s, before it begins on %s", w.To, w.From))
	}
	s.opens, s.closes, err = readHours(w.Hours)
	fail("hours", err)
	for i, d := range w.Days {
		day, err := readDay(d)
		fail("days."+strconv.Itoa(i), err)
		s.days[day] = true
	}
	if len(w.Days) == 0 {
		s.days = [7]bool{true, true, true, true, true, true, true}
	}
	return s, bad
}

func readDate(s string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a date: write YYYY-MM-DD", s)
	}
	return t, nil
}

func readDay(s string) (time.Weekday, error) {
	const names = "sun mon tue wed thu fri sat"
	if i := slices.Index(strings.Fields(names), strings.ToLower(s)); i >= 0 {
		return time.Weekday(i), nil
	}
	return 0, fmt.Errorf("%q is not a day: write mon, tue, wed, thu, fri, sat or sun", s)
}

// readHours reads HH:MM-HH:MM; "" is the whole day.
func readHours(s string) (opens, closes time.Duration, err error) {
	if s == "" {
		return 0, dayMinutes * time.Minute, nil
	}
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		return 0, 0, fmt.Errorf("%q is not a span of hours: write HH:MM-HH:MM", s)
	}
	opens, err1 := readClock(strings.TrimSpace(first))
	closes, err2 := readClock(strings.TrimSpace(last))
	if err := errors.Join(err1, err2); err != nil {
		return 0, 0, fmt.Errorf("%q is not a span of hours: write HH:MM-HH:MM", s)
	}
	if closes <= opens {
		return 0, 0, fmt.Errorf("%q ends before it begins: write two windows for hours across midnight", s)
	}
	return opens, closes, nil
}

func readClock(s string) (time.Duration, error) {
	if s == "24:00" {
		return dayMinutes * time.Minute, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, err
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}
