package policy

import (
	"testing"
	"time"
)

// elections is a policy of one line with the given windows.
func elections(zone string, windows ...Window) Policy {
	return Policy{Timezone: zone, Numbering: london(), Unlisted: "accept",
		Lines: []Line{{Name: "Elections", Number: "020 8825 7777", Windows: windows}}}
}

func TestWindows(t *testing.T) {
	spring := Window{Name: "Spring", From: "2027-03-22", To: "2027-05-07"}
	hours := Window{Name: "Office", From: "2027-05-03", To: "2027-05-16", Days: []string{"mon", "tue", "wed", "thu", "Fri"}, Hours: "08:00-20:00"}
	const never = ""
	for _, tt := range []struct {
		name    string
		windows []Window
		at      string
		open    string // window's name
		until   string
	}{
		{"long before", []Window{spring}, "2026-11-23T12:00:00Z", "", "2027-03-22T00:00:00Z"},
		{"the last second before", []Window{spring}, "2027-03-21T23:59:59Z", "", "2027-03-22T00:00:00Z"},
		{"the first moment, winter time", []Window{spring}, "2027-03-22T00:00:00Z", "Spring", "2027-05-07T23:00:00Z"},
		{"the last second, summer time", []Window{spring}, "2027-05-07T22:59:59Z", "Spring", "2027-05-07T23:00:00Z"},
		{"local midnight ends it", []Window{spring}, "2027-05-07T23:00:00Z", "", never},
		{"one day", []Window{{Name: "Day", From: "2027-07-01", To: "2027-07-01"}}, "2027-06-30T23:00:00Z", "Day", "2027-07-01T23:00:00Z"},

		{"between two campaigns", []Window{spring, {Name: "Autumn", From: "2027-09-01", To: "2027-09-02"}},
			"2027-06-01T12:00:00Z", "", "2027-08-31T23:00:00Z"},
		{"in the second campaign", []Window{spring, {Name: "Autumn", From: "2027-09-01", To: "2027-09-02"}},
			"2027-09-02T12:00:00Z", "Autumn", "2027-09-02T23:00:00Z"},
		{"campaigns that touch are one", []Window{spring, {Name: "Count", From: "2027-05-08", To: "2027-05-09"}},
			"2027-05-07T12:00:00Z", "Spring", "2027-05-09T23:00:00Z"},
		{"campaigns that overlap are one, the first has the name", []Window{spring, {Name: "Late", From: "2027-05-01", To: "2027-05-20"}},
			"2027-05-02T12:00:00Z", "Spring", "2027-05-20T23:00:00Z"},

		{"before hours", []Window{hours}, "2027-05-03T06:59:59Z", "", "2027-05-03T07:00:00Z"},
		{"hours begin", []Window{hours}, "2027-05-03T07:00:00Z", "Office", "2027-05-03T19:00:00Z"},
		{"hours end", []Window{hours}, "2027-05-03T19:00:00Z", "", "2027-05-04T07:00:00Z"},
		{"weekend", []Window{hours}, "2027-05-07T19:00:00Z", "", "2027-05-10T07:00:00Z"},
		{"the last Friday evening", []Window{hours}, "2027-05-14T19:00:00Z", "", never},
		{"hours to midnight run on", []Window{
			{Name: "Late", From: "2027-07-01", To: "2027-07-01", Hours: "20:00-24:00"},
			{Name: "Early", From: "2027-07-02", To: "2027-07-02", Hours: "00:00-02:00"}},
			"2027-07-01T20:00:00Z", "Late", "2027-07-02T01:00:00Z"},
		{"a weekday that comes once", []Window{{Name: "Poll", From: "2027-05-01", To: "2027-12-31", Days: []string{"thu"}, Hours: "07:00-22:00"}},
			"2027-05-01T12:00:00Z", "", "2027-05-06T06:00:00Z"},
		{"no window", nil, "2027-05-01T12:00:00Z", "", never},
	} {
		r := mustRules(t, elections("Europe/London", tt.windows...))
		check(t, tt.name, r, tt.at, tt.open, tt.until)
	}
}

func check(t *testing.T, name string, r *Rules, at, open, until string) {
	t.Helper()
	d := r.Decide(named("7777"), instant(t, at))
	want := Decision{Record: open != "", Reason: OutsideWindow, Line: "Elections", Window: open, Source: "a"}
	if want.Record {
		want.Reason = Listed
	}
	if until != "" {
		want.Until = instant(t, until)
	}
	if got := d.Until; !got.Equal(want.Until) {
		t.Errorf("%s: at %s: until %s, want %s", name, at, got, want.Until)
	}
	d.Until, want.Until = time.Time{}, time.Time{}
	if d != want {
		t.Errorf("%s: at %s: %+v, want %+v", name, at, d, want)
	}
}

// London's clocks go from 01:00 to 02:00 on 2027-03-28, and from 02:00 back to
// 01:00 on 2027-10-31, both at 01:00 UTC.
func TestClockChanges(t *testing.T) {
	day := func(date string) Window { return Window{Name: "Day", From: date, To: date} }
	at := func(date, hours string) Window { return Window{Name: "Hours", From: date, To: date, Hours: hours} }
	for _, tt := range []struct {
		name            string
		window          Window
		at, open, until string
	}{
		{"a day of 23 hours begins", day("2027-03-28"), "2027-03-28T00:00:00Z", "Day", "2027-03-28T23:00:00Z"},
		{"and ends", day("2027-03-28"), "2027-03-28T22:59:59Z", "Day", "2027-03-28T23:00:00Z"},
		{"and has ended", day("2027-03-28"), "2027-03-28T23:00:00Z", "", ""},
		{"a day of 25 hours begins", day("2027-10-31"), "2027-10-30T23:00:00Z", "Day", "2027-11-01T00:00:00Z"},
		{"and ends", day("2027-10-31"), "2027-10-31T23:59:59Z", "Day", "2027-11-01T00:00:00Z"},
		{"the day after 23 hours", day("2027-03-29"), "2027-03-28T22:59:59Z", "", "2027-03-28T23:00:00Z"},
		{"the day after 25 hours", day("2027-11-01"), "2027-10-31T23:00:00Z", "", "2027-11-01T00:00:00Z"},

		{"the skipped hour does not happen", at("2027-03-28", "01:00-02:00"), "2027-03-28T00:30:00Z", "", ""},
		{"hours that begin in it begin with the new time", at("2027-03-28", "01:30-04:00"), "2027-03-28T00:59:59Z", "", "2027-03-28T01:00:00Z"},
		{"and are open then", at("2027-03-28", "01:30-04:00"), "2027-03-28T01:00:00Z", "Hours", "2027-03-28T03:00:00Z"},
		{"hours that end in it end with the old time", at("2027-03-28", "00:00-01:30"), "2027-03-28T00:30:00Z", "Hours", "2027-03-28T01:00:00Z"},
		{"office hours after the change", at("2027-03-28", "08:00-20:00"), "2027-03-28T00:00:00Z", "", "2027-03-28T07:00:00Z"},

		{"the hour that comes twice", at("2027-10-31", "01:00-02:00"), "2027-10-31T00:30:00Z", "Hours", "2027-10-31T02:00:00Z"},
		{"half of it closes", at("2027-10-31", "01:00-01:30"), "2027-10-31T00:00:00Z", "Hours", "2027-10-31T00:30:00Z"},
		{"and opens again", at("2027-10-31", "01:00-01:30"), "2027-10-31T00:30:00Z", "", "2027-10-31T01:00:00Z"},
		{"and closes again", at("2027-10-31", "01:00-01:30"), "2027-10-31T01:00:00Z", "Hours", "2027-10-31T01:30:00Z"},
	} {
		check(t, tt.name, mustRules(t, elections("Europe/London", tt.window)), tt.at, tt.open, tt.until)
	}
}

// TestUntilIsTheNextChange walks the clock in steps that divide every hour
// used, in zones that change at different hours, and compares with what Until
// promised.
func TestUntilIsTheNextChange(t *testing.T) {
	const step = 5 * time.Minute
	for _, tt := range []struct{ zone, from, to string }{
		{"Europe/London", "2027-03-26", "2027-03-30"},
		{"Europe/London", "2027-10-29", "2027-11-02"},
		{"America/Havana", "2027-03-12", "2027-03-16"}, // changes at midnight
		{"America/Havana", "2027-11-05", "2027-11-09"},
		{"Australia/Lord_Howe", "2027-04-02", "2027-04-06"}, // by half an hour
	} {
		r := mustRules(t, elections(tt.zone,
			Window{Name: "Night", From: tt.from, To: tt.to, Hours: "00:00-01:30"},
			Window{Name: "Later", From: tt.from, To: tt.to, Days: []string{"sat", "sun"}, Hours: "01:45-02:15"},
			Window{Name: "Evening", From: tt.from, To: tt.to, Days: []string{"sun"}, Hours: "23:30-24:00"}))
		begin := instant(t, tt.from+"T00:00:00Z").Add(-24 * time.Hour)
		end := instant(t, tt.to+"T00:00:00Z").Add(72 * time.Hour)
		last := r.Decide(named("7777"), begin)
		changes := 0
		for at := begin; at.Before(end); at = at.Add(step) {
			d := r.Decide(named("7777"), at)
			changed := d.Record != last.Record
			if due := !last.Until.IsZero() && !last.Until.After(at); changed != due {
				t.Fatalf("%s: at %s: record %v, but at %s it was %v until %s", tt.zone, at, d.Record, at.Add(-step), last.Record, last.Until)
			}
			if changed {
				changes++
			}
			last = d
		}
		if changes < 10 || !last.Until.IsZero() {
			t.Errorf("%s: %d changes, at the end %+v", tt.zone, changes, last)
		}
	}
}
