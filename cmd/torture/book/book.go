// Package book holds a contact centre's own account against the recorder's.
//
//	calls ─► siprecd ─► catalogue ─┐
//	  └────► a book, as CSV ───────┴─► siprecd reconcile ─► verdicts
//
// The book is written from when the calls were placed, never from what siprecd
// lists; what is planted in it is known beforehand, kind by kind.
package book

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"siprecd/cmd/torture/calls"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
)

// Rows is B8 of the goal table. Rounds are recorded calls: the book has 10,000.
func Rows() []rig.Row {
	return []rig.Row{{ID: "B8", What: "a contact centre's book of 10,000 calls, 50 of them never recorded", Rounds: 3000, Short: 24, Run: reconciled}}
}

// noted is a call as the contact centre's book has it.
type noted struct {
	at     time.Time
	talk   int // seconds
	caller string
	called string
}

// book is what the contact centre wrote down, and how many of its calls each
// verdict should be about.
type book struct {
	mu    sync.Mutex
	calls []noted
	want  map[string]int
}

// write makes the CSV as an exchange would: local times, no zone.
func (b *book) write(path string) error {
	loc, err := time.LoadLocation("Europe/London") // the policy's
	if err != nil {
		return err
	}
	var t strings.Builder
	t.WriteString("Start,Talk time,Caller,Called\r\n")
	for _, c := range b.calls {
		fmt.Fprintf(&t, "%s,%d,%s,%s\r\n", c.at.In(loc).Format("02/01/2006 15:04:05"), c.talk, c.caller, c.called)
	}
	return os.WriteFile(path, []byte(t.String()), 0o600)
}

// reconciled is row B8: the book of a contact centre, in which calls stand that
// were never recorded, is held against what was.
func reconciled(l *rig.Lab) error {
	s, err := l.Server()
	if err != nil {
		return err
	}
	if _, err := s.Start(); err != nil {
		return err
	}
	b := &book{want: map[string]int{}}
	if err := b.place(l, s); err != nil {
		return err
	}
	if _, err := s.Finished(l.Rounds, 20*time.Second); err != nil {
		return err
	}
	path := filepath.Join(l.Dir, "calls.csv")
	if err := b.write(path); err != nil {
		return err
	}
	got, ok, err := compared(s, path)
	if err != nil {
		return err
	}
	l.Figure("a book without a fault is in order", fmt.Sprint(ok && got["recorded"] == l.Rounds), "true", ok && got["recorded"] == l.Rounds)
	b.plant(l.Rounds)
	if err := b.write(path); err != nil {
		return err
	}
	began := time.Now()
	if got, ok, err = compared(s, path); err != nil {
		return err
	}
	l.Logf("%d calls in the book, compared in %v", len(b.calls), time.Since(began).Round(time.Millisecond))
	for _, v := range []string{"missing", "too short", "not on the list", "no talk", "recorded", "unexpected"} {
		l.Count("planted and found: "+v, got[v], b.want[v])
	}
	l.Figure("the command fails, as it must", fmt.Sprint(!ok), "true", !ok)
	return nil
}

// place has all calls recorded, some at the same time, and writes them down.
func (b *book) place(l *rig.Lab, s *rig.Server) error {
	const atOnce = 8
	client, err := siprectest.Dial(l, "tcp://"+s.TCP, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	var all sync.WaitGroup
	failed := make([]error, atOnce)
	for w := range atOnce {
		all.Go(func() {
			for i := w; i < l.Rounds && failed[w] == nil; i += atOnce {
				failed[w] = b.one(l, client, i)
			}
		})
	}
	all.Wait()
	b.want["recorded"] = l.Rounds
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *book) one(l *rig.Lab, client *siprectest.Client, i int) error {
	c := noted{at: time.Now(), talk: 1, caller: fmt.Sprintf("020794%05d", 60000+i), called: "020 8825 7050"}
	call, err := calls.Up(l, client, siprectest.Options{From: "+44" + c.caller[1:], Legs: calls.Tones(), Duration: 60 * time.Millisecond, Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	if err := call.Wait(l); err != nil {
		return err
	}
	b.mu.Lock()
	b.calls = append(b.calls, c)
	b.mu.Unlock()
	return call.Bye(l)
}

// plant writes down what was not recorded, or not whole: callers who were never
// heard, callers who seem to have rung twice, talks that were longer; and what
// is no fault: other lines, and calls that nobody answered.
func (b *book) plant(n int) {
	add := func(verdict string, change func(c *noted)) {
		c := b.calls[len(b.calls)*7%n]
		change(&c)
		b.calls = append(b.calls, c)
		b.want[verdict]++
	}
	for i := range max(4, n/60) {
		if i%2 == 0 {
			add("missing", func(c *noted) { c.caller = fmt.Sprintf("020794%05d", 99000+i) })
		} else {
			add("missing", func(c *noted) { c.at = c.at.Add(2 * time.Second) })
		}
		add("no talk", func(c *noted) { c.caller, c.talk = fmt.Sprintf("020794%05d", 98000+i), 0 })
		b.calls[i].talk = 30
		b.want["too short"]++
		b.want["recorded"]--
	}
	for len(b.calls) < n*10/3 {
		add("not on the list", func(c *noted) { c.called = "020 8825 1234" })
	}
}

// compared runs siprecd reconcile: how many of each verdict, and whether it is
// content.
func compared(s *rig.Server, path string) (count map[string]int, ok bool, err error) {
	text, failed := s.Do("reconcile", "--json", path)
	var sums struct {
		Summary map[string]int `json:"summary"`
		OK      bool           `json:"ok"`
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &sums); err != nil || sums.Summary == nil {
		return nil, false, fmt.Errorf("reconcile: no sums in %q: %w", lines[len(lines)-1], failed)
	}
	return maps.Clone(sums.Summary), sums.OK && failed == nil, nil
}
