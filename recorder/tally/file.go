package tally

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Folder is where the accounts lie within the data folder.
const Folder = "completeness"

// maxFile bounds what is read as one day's account.
const maxFile = 16 << 20

// Open reads the accounts of the last days from dir, which is made; "" keeps
// none. A file that cannot be read is told and left where it is under another
// name: the day goes on with what Recover finds.
func Open(dir string, loc *time.Location, log *slog.Logger) *Book {
	b := &Book{dir: dir, loc: loc, log: log, days: map[string]*day{}, where: map[string]place{}}
	if dir == "" {
		return b
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.fault = err
		return b
	}
	now := time.Now()
	for i := range lookBack {
		date := b.Date(now.Add(time.Duration(-i) * 24 * time.Hour))
		if b.days[date] != nil {
			continue
		}
		d, err := readDay(dir, date)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			log.Error("an account of completeness cannot be read; it is put aside", "day", date, "err", err)
			_ = os.Rename(file(dir, date), file(dir, date)+".damaged")
			continue
		}
		b.days[date] = d
		for id, e := range d.Open {
			if !e.Ended {
				b.where[id] = place{date, e.Line}
			}
		}
	}
	return b
}

func file(dir, date string) string { return filepath.Join(dir, date+".json") }

func readDay(dir, date string) (*day, error) {
	info, err := os.Stat(file(dir, date))
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%d bytes are too many", info.Size())
	}
	text, err := os.ReadFile(file(dir, date))
	if err != nil {
		return nil, err
	}
	d := newDay()
	body, sum, ok := bytes.Cut(text, []byte(sumMark))
	if !ok || string(sum) != digest(body) {
		return nil, errors.New("its checksum does not fit: it was changed, or is not whole")
	}
	if err := json.Unmarshal(body, d); err != nil {
		return nil, err
	}
	for name, l := range d.Lines {
		if l == nil {
			return nil, errors.New("a line without an account")
		}
		l.Name = name
	}
	if d.Lines == nil || d.Open == nil {
		return nil, errors.New("it is not whole")
	}
	return d, nil
}

// sumMark stands between an account and its checksum, which is there against
// accidents: whoever may write the file can make one.
const sumMark = "\nsha256 "

func digest(text []byte) string { return fmt.Sprintf("%x\n", sha256.Sum256(text)) }

// Verify reads every account of a data folder and tells of those that are damaged.
func Verify(dataDir string, found func(file string, err error)) {
	files, _ := filepath.Glob(filepath.Join(dataDir, Folder, "*.json")) // the pattern is good
	for _, f := range files {
		date := strings.TrimSuffix(filepath.Base(f), ".json")
		if _, err := Read(filepath.Dir(f), date); err != nil && !errors.Is(err, ErrDate) {
			found(filepath.Join(Folder, filepath.Base(f)), err)
		}
	}
}

// ErrDate is returned for what is not a day.
var ErrDate = errors.New("write a day as YYYY-MM-DD, today or yesterday")

// Named is the date that a word stands for at a moment, by the clock of zone:
// today, yesterday, or a date as it is.
func Named(word, zone string, at time.Time) (string, error) {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return "", err
	}
	local := at.In(loc)
	switch word {
	case "today":
		return local.Format(time.DateOnly), nil
	case "yesterday": // noon: no clock change is near it
		return time.Date(local.Year(), local.Month(), local.Day()-1, 12, 0, 0, 0, loc).Format(time.DateOnly), nil
	}
	if _, err := time.Parse(time.DateOnly, word); err != nil {
		return "", fmt.Errorf("%q is not a day: %w", word, ErrDate)
	}
	return word, nil
}

// ReadIn is Read for a data folder.
func ReadIn(dataDir, date string) (Day, error) { return Read(filepath.Join(dataDir, Folder), date) }

// Read is the account of one day as it was saved last; empty when nothing was
// ever booked. It needs no server, and harms none.
func Read(dir, date string) (Day, error) {
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\d$`).MatchString(date) {
		return Day{}, ErrDate
	}
	d, err := readDay(dir, date)
	if errors.Is(err, fs.ErrNotExist) {
		return newDay().account(date), nil
	}
	if err != nil {
		return Day{}, fmt.Errorf("read the account of %s: %w", date, err)
	}
	return d.account(date), nil
}

// Seen is one recording as the catalogue has it, or as the audit log does where
// the catalogue has it no more.
type Seen struct {
	ID, Line  string
	Started   time.Time
	Live      bool
	Discarded bool // it was not to be made, and is gone; nothing else is known
	Ending
}

// Recover takes up from the catalogue what a crash kept the book from seeing:
// get finds one recording, since lists those that began after a moment. One that
// the book knows and get does not find is lost: the call counts as offered and
// not as recorded.
func (b *Book) Recover(get func(id string) (Seen, bool), since func(time.Time) iter.Seq[Seen]) {
	known, live, saved := b.seen()
	from := saved.Add(-recently / 2)
	if saved.IsZero() { // the first start with an account: this day and the one before
		from = time.Now().Add(-24 * time.Hour)
	}
	found, lost, begun := map[string]Seen{}, []string{}, []Seen{} // gathered first: the catalogue may be slow
	for _, id := range live {
		if s, ok := get(id); ok {
			found[id] = s
		} else {
			lost = append(lost, id)
		}
	}
	for s := range since(from) {
		if !known[s.ID] {
			begun = append(begun, s)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range lost {
		b.lose(id)
	}
	for id, s := range found {
		switch {
		case s.Discarded:
			b.drop(id)
		case !s.Live:
			b.end(id, s.Ending)
		}
	}
	for _, s := range begun {
		b.begin(s.ID, s.Line, s.Started)
		if !s.Live {
			b.end(s.ID, s.Ending)
		}
	}
}

// seen is what the accounts know of: recordings, those of them that were live,
// and the time of the last save.
func (b *Book) seen() (known map[string]bool, live []string, saved time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known = map[string]bool{}
	for _, d := range b.days {
		if d.Saved.After(saved) {
			saved = d.Saved
		}
		for id := range d.Open {
			known[id] = true
		}
	}
	return known, slices.Collect(maps.Keys(b.where)), saved
}

// Run saves what has changed until ctx ends, and then once more, for which it
// waits two seconds at most: the disk may hang.
func (b *Book) Run(ctx context.Context) {
	if b.dir == "" {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(saveEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			select {
			case <-tick.C:
				b.save()
			case <-ctx.Done():
			}
		}
		b.save()
	}()
	<-ctx.Done()
	limit := time.NewTimer(saveEvery)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
		b.log.Error("the account of completeness could not be saved: the disk does not answer")
	}
}

// save writes the days that have changed.
func (b *Book) save() {
	now := time.Now()
	var failed error
	for date, text := range b.changed(now) {
		if err := b.put(date, text); err != nil {
			failed = err
			b.mu.Lock()
			b.day(date).dirty = true
			b.mu.Unlock()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if failed != nil && b.fault == nil {
		b.log.Error("the account of completeness cannot be saved; will be tried again", "err", failed)
	}
	b.fault = failed
}

// changed renders the days that have changed, and forgets those that nobody
// asks for any more.
func (b *Book) changed(now time.Time) map[string][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string][]byte{}
	for date, d := range b.days {
		for id, e := range d.Open {
			if e.Ended && now.Sub(e.Begun) > recently {
				delete(d.Open, id)
				d.dirty = true
			}
		}
		if !d.dirty {
			if len(d.Open) == 0 && date < b.Date(now.Add(-72*time.Hour)) {
				delete(b.days, date) // its file holds it
			}
			continue
		}
		d.dirty, d.Saved = false, now.UTC()
		text, err := json.MarshalIndent(d, "", " ")
		if err == nil {
			out[date] = append(text, sumMark+digest(text)...)
		}
	}
	return out
}

// put replaces one file.
func (b *Book) put(date string, text []byte) (err error) {
	temp := file(b.dir, date) + ".tmp"
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(temp, file(b.dir, date)); err != nil {
		return err
	}
	dir, err := os.Open(b.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
