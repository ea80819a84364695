package reconcile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// clock reads the times of one file, which are mostly written in one way.
type clock struct {
	loc  *time.Location
	last string // the local layout that fitted
}

// zoned are layouts with a zone of their own; days alone are no times.
func zoned() []string {
	return []string{time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 UTC"}
}

func local() []string {
	var out []string
	for _, day := range []string{"2006-01-02", "2006/01/02", "2/1/2006", "2-1-2006", "2.1.2006", "2/1/06", "2-Jan-2006", "2 Jan 2006", "2 January 2006", "20060102"} {
		for _, clock := range []string{"15:04:05", "15:04", "3:04:05 PM", "3:04:05PM", "3:04 PM", "3:04PM"} {
			out = append(out, day+" "+clock)
		}
	}
	return append(out, "20060102150405")
}

// instants are the moments that a text can mean: two where the clock of loc was
// put back and showed that time twice. Days come before months.
func (c *clock) instants(text string) ([]time.Time, error) {
	s := strings.Join(strings.Fields(text), " ")
	if t, ok := epoch(s); ok {
		return []time.Time{t}, nil
	}
	if c.last != "" {
		if t, err := time.Parse(c.last, strings.ToUpper(s)); err == nil {
			return inZone(t, c.loc)
		}
	}
	for _, l := range zoned() {
		if t, err := time.Parse(l, s); err == nil {
			return []time.Time{t.UTC()}, nil
		}
	}
	s = strings.ToUpper(strings.ReplaceAll(s, ",", ""))
	if len(s) > 10 && s[10] == 'T' {
		s = s[:10] + " " + s[11:]
	}
	for _, l := range local() {
		if t, err := time.Parse(l, s); err == nil {
			c.last = l
			return inZone(t, c.loc)
		}
	}
	return nil, fmt.Errorf("%q is not a time: write 2026-11-23 10:00:00, 23/11/2026 10:00:00 (the day first) or RFC 3339", clip(text))
}

// epoch reads seconds or milliseconds since 1970.
func epoch(s string) (time.Time, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil:
		return time.Time{}, false
	case len(s) == 10:
		return time.Unix(n, 0).UTC(), true
	case len(s) == 13:
		return time.UnixMilli(n).UTC(), true
	}
	return time.Time{}, false
}

// inZone finds the moments at which the clock of loc showed what t says.
func inZone(t time.Time, loc *time.Location) ([]time.Time, error) {
	wall := t.Format(time.DateTime)
	guess := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), loc)
	var out []time.Time
	for _, d := range []time.Duration{-2 * time.Hour, -time.Hour, -30 * time.Minute, 0, 30 * time.Minute, time.Hour, 2 * time.Hour} {
		if u := guess.Add(d); u.Format(time.DateTime) == wall {
			out = append(out, u.UTC())
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the clocks of %s never showed %s: they were put forward; is the file in another zone (--zone)?", loc, wall)
	}
	return out, nil
}

var errLength = errors.New("write seconds, m:ss, h:mm:ss or 1m5s")

// length reads a duration.
func length(text string) (time.Duration, error) {
	s := strings.TrimSpace(text)
	if n, err := strconv.ParseFloat(strings.Replace(s, ",", ".", 1), 64); err == nil && n >= 0 && n < 1e7 {
		return time.Duration(n * float64(time.Second)), nil
	}
	if d, err := time.ParseDuration(strings.ReplaceAll(s, " ", "")); err == nil && d >= 0 {
		return d, nil
	}
	if d, ok := clockLength(strings.Split(s, ":")); ok {
		return d, nil
	}
	return 0, fmt.Errorf("%q is not a length: %w", clip(text), errLength)
}

// clockLength reads m:ss and h:mm:ss.
func clockLength(parts []string) (time.Duration, bool) {
	if len(parts) < 2 || len(parts) > 3 {
		return 0, false
	}
	sum := 0.0
	for i, p := range parts {
		n, err := strconv.ParseFloat(p, 64)
		if err != nil || !(n >= 0 && n < 1e5) || i > 0 && n >= 60 {
			return 0, false
		}
		sum = sum*60 + n
	}
	return time.Duration(sum * float64(time.Second)), true
}

// clip bounds what an error repeats of a file.
func clip(s string) string {
	r := []rune(s)
	return string(r[:min(len(r), 40)])
}
