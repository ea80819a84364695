package tally

import (
	"context"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func london(t *testing.T) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func none(time.Time) iter.Seq[Seen] { return func(func(Seen) bool) {} }

func TestADay(t *testing.T) {
	b := Open("", london(t), slog.New(slog.DiscardHandler))
	// 23:30 UTC in summer is the next day in London.
	at := time.Date(2026, 7, 1, 23, 30, 0, 0, time.UTC)
	b.Begin("a", "Parks", at)
	b.Begin("b", "", at)
	b.Begin("c", "Parks", at)
	b.Begin("d", "Parks", at)
	b.Begin("e", "Parks", at)
	b.Move("b", "Planning")
	b.Drop("c")
	b.End("a", Ending{Seconds: 60, GapSeconds: 2, Lost: 100, Flagged: []string{"one-way", "one-way", "silent"}})
	b.End("d", Ending{Interrupted: true, Seconds: 5, NotDurable: true})
	b.End("nobody", Ending{})
	b.Refuse("", "not ready", at, 3)
	days := b.Days(at)
	if len(days) != 2 || days[0].Date != "2026-07-02" || days[1].Date != "2026-07-01" || len(days[1].Lines) != 0 || days[1].All.Captured != nil {
		t.Fatalf("days %+v", days)
	}
	d := days[0]
	names := []string{}
	for _, l := range d.Lines {
		names = append(names, l.Name)
	}
	if !slices.Equal(names, []string{"Parks", "Planning", ""}) {
		t.Fatalf("lines %q", names)
	}
	p := d.Lines[0]
	if p.Offered != 3 || p.Recorded != 3 || p.Finished != 1 || p.Interrupted != 1 || p.Seconds != 65 || p.GapSeconds != 2 ||
		p.Lost != 100 || p.Flagged["one-way"] != 1 || p.Flagged["silent"] != 1 || p.NotDurable != 1 {
		t.Errorf("Parks %+v", p)
	}
	if d.All.Offered != 7 || d.All.Recorded != 4 || d.All.Refused["not ready"] != 3 || *d.All.Captured != 4.0/7 {
		t.Errorf("all %+v", d.All)
	}
}

func TestTheDayBeforeAClockChange(t *testing.T) {
	b := Open("", london(t), slog.New(slog.DiscardHandler))
	// The day of the change has 25 hours: 23:30 of it minus 24 hours is still the same day.
	days := b.Days(time.Date(2026, 10, 25, 23, 30, 0, 0, time.UTC))
	if days[0].Date != "2026-10-25" || days[1].Date != "2026-10-24" {
		t.Errorf("days %s, %s", days[0].Date, days[1].Date)
	}
}

// TestACrashLosesNothingThatTheCatalogueHas ends a book without a last save.
func TestACrashLosesNothingThatTheCatalogueHas(t *testing.T) {
	dir, log, now := t.TempDir(), slog.New(slog.DiscardHandler), time.Now()
	b := Open(dir, time.UTC, log)
	b.Recover(nil, none)
	b.Begin("live", "Parks", now)
	b.Begin("lost", "Parks", now)
	b.Begin("done", "Parks", now)
	b.End("done", Ending{Seconds: 1})
	b.Refuse("Parks", "No Media Port", now, 1)
	b.save()
	// After the save: one ends, one begins, one begins and ends.
	catalogue := []Seen{
		{ID: "live", Line: "Parks", Started: now, Ending: Ending{Interrupted: true, Seconds: 2}},
		{ID: "lost", Line: "Parks", Started: now, Ending: Ending{Seconds: 3}},
		{ID: "done", Line: "Parks", Started: now, Ending: Ending{Seconds: 1}},
		{ID: "new", Line: "Planning", Started: now, Ending: Ending{Interrupted: true, Seconds: 4}},
		{ID: "sealing", Line: "Parks", Started: now, Live: true},
	}
	get := func(id string) (Seen, bool) {
		i := slices.IndexFunc(catalogue, func(s Seen) bool { return s.ID == id })
		if i < 0 {
			return Seen{}, false
		}
		return catalogue[i], true
	}
	since := func(from time.Time) iter.Seq[Seen] {
		if from.After(now) || from.Before(now.Add(-time.Hour)) {
			t.Errorf("the catalogue is read from %v", from)
		}
		return slices.Values(catalogue)
	}
	b = Open(dir, time.UTC, log)
	b.Recover(get, since)
	check := func() {
		t.Helper()
		all := b.Days(now)[0].All
		if all.Offered != 6 || all.Recorded != 5 || all.Finished != 2 || all.Interrupted != 2 || all.Seconds != 10 || all.Refused["No Media Port"] != 1 {
			t.Errorf("the account is %+v", all)
		}
	}
	check()
	// Once more, with and without a save between: nothing is counted twice.
	b.save()
	b = Open(dir, time.UTC, log)
	b.Recover(get, since)
	check()
	b.End("sealing", Ending{Seconds: 5})
	if all := b.Days(now)[0].All; all.Finished != 3 {
		t.Errorf("a recording that was live at the start is not booked: %+v", all)
	}
}

// TestWhatIsGoneIsNotRecorded: after a crash, a recording of the book that is not
// in the catalogue is lost, unless it was discarded.
func TestWhatIsGoneIsNotRecorded(t *testing.T) {
	dir, log, now := t.TempDir(), slog.New(slog.DiscardHandler), time.Now()
	b := Open(dir, time.UTC, log)
	for _, id := range []string{"there", "gone", "discarded", "live"} {
		b.Begin(id, "Parks", now)
	}
	b.save()
	get := func(id string) (Seen, bool) {
		switch id {
		case "there":
			return Seen{ID: id, Line: "Parks", Started: now, Ending: Ending{Interrupted: true, Seconds: 2}}, true
		case "discarded":
			return Seen{ID: id, Discarded: true}, true
		case "live":
			return Seen{ID: id, Line: "Parks", Started: now, Live: true}, true
		}
		return Seen{}, false
	}
	for range 2 { // once more: nothing is counted twice
		b = Open(dir, time.UTC, log)
		b.Recover(get, none)
		b.save()
		d, err := Read(dir, b.Date(now))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range append(d.Lines, d.All) {
			if l.Offered != 3 || l.Recorded != 2 || l.Interrupted != 1 || l.Refused["not in the catalogue"] != 1 || *l.Captured != 2.0/3 {
				t.Errorf("the account is %+v", l)
			}
		}
	}
	b.End("live", Ending{Seconds: 5})
	b.End("gone", Ending{Seconds: 5}) // over
	if all := b.Days(now)[0].All; all.Finished != 1 || all.Recorded != 2 || all.Seconds != 7 {
		t.Errorf("afterwards %+v", all)
	}
}

func TestRunSaves(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := Open(dir, time.UTC, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); b.Run(ctx) }()
		at := time.Now()
		date := b.Date(at)
		b.Begin("a", "Parks", at)
		timer := time.NewTimer(saveEvery + time.Millisecond)
		<-timer.C
		synctest.Wait()
		if d, err := Read(dir, date); err != nil || d.All.Offered != 1 {
			t.Errorf("after the first save: %+v, %v", d, err)
		}
		b.End("a", Ending{})
		cancel()
		<-done
		if d, err := Read(dir, date); err != nil || d.All.Finished != 1 {
			t.Errorf("after the end: %+v, %v", d, err)
		}
	})
}

func TestReadRefusesWhatIsNoDay(t *testing.T) {
	for _, day := range []string{"", "yesterday", "../keys/host", "2026-1-1"} {
		if _, err := Read(t.TempDir(), day); err == nil {
			t.Errorf("%q was read", day)
		}
	}
	if d, err := Read(t.TempDir(), "2026-11-23"); err != nil || d.All.Offered != 0 {
		t.Errorf("a day without calls: %+v, %v", d, err)
	}
}

func TestDamagedAccountIsPutAside(t *testing.T) {
	for _, text := range []string{"", "{", `{"lines":{"Parks":null},"open":{}}`, `{"lines":null,"open":null}`} {
		dir := t.TempDir()
		b := Open(dir, time.UTC, slog.New(slog.DiscardHandler))
		date := b.Date(time.Now())
		if err := os.WriteFile(file(dir, date), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir, date); err == nil {
			t.Errorf("%q was read", text)
		}
		b = Open(dir, time.UTC, slog.New(slog.DiscardHandler))
		b.Begin("a", "Parks", time.Now())
		b.save()
		if _, err := os.Stat(file(dir, date) + ".damaged"); err != nil {
			t.Error(err)
		}
		if d, err := Read(dir, date); err != nil || d.All.Offered != 1 {
			t.Errorf("after the damage: %+v, %v", d, err)
		}
	}
}

func TestAFolderThatCannotBeWrittenIsTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), Folder)
	b := Open(dir, time.UTC, slog.New(slog.DiscardHandler))
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	b.Begin("a", "Parks", time.Now())
	if b.save(); b.Err() == nil || !strings.Contains(b.Err().Error(), "no such file") {
		t.Errorf("the fault is %v", b.Err())
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if b.save(); b.Err() != nil {
		t.Errorf("the fault remains: %v", b.Err())
	}
}
