// Package reconcile compares a contact centre's call records with what was
// recorded: it is how somebody else's book says whether a call is missing.
//
//	CSV ──Read──► records ──┐
//	                        ├─Match─► one verdict a record, and recordings without one ──► table, CSV, JSON
//	catalogue ► recordings ─┘
//
// A record and a recording are the same call when a correlation id says so, or
// when they share a number, contradict each other in none, and began within the
// tolerance. One recording answers for one record: pairs are made best first,
// and then changed as long as that answers for one record more, so that two
// calls in the same second cannot make each other seem missing. Only records
// that bear the same call id may share a recording that covers them all.
//
// A recording is not believed for its length alone: one whose flags say that
// sound is missing, as when no media came, is recorded in part.
//
// Promises: pure but for the reader that it is given; numbers are compared in
// the policy's canonical form; a local time that the clock showed twice fits
// both moments, one that it never showed is an error; nothing of a file that
// cannot be read in full is judged.
//
// Caveat: it believes the file's clock. If that is off by more than the
// tolerance, all is missing: raise the tolerance.
package reconcile

import "time"

// Record is one call as the contact centre saw it.
type Record struct {
	Line    int         // in the file
	Starts  []time.Time // when it began; two where the clock showed that time twice
	Talk    time.Duration
	HasTalk bool   // the file says how long it was
	Caller  string // as written
	Called  string
	Agent   string
	CallID  string
	Written string // the start, as written
}

// Recording is one recording of the catalogue.
type Recording struct {
	ID, Line              string
	Started               time.Time
	Seconds               float64
	Live                  bool
	Caller, Called, Agent string
	Flags                 []string // what the recorder said of it; see missing
}

// Verdict is what came of a record, or of a recording without one.
type Verdict string

// The verdicts. Missing, TooShort and Harmed are failures.
const (
	Recorded   Verdict = "recorded"
	Missing    Verdict = "missing"
	TooShort   Verdict = "too short"
	Harmed     Verdict = "recorded in part" // as long as the talk, and its flags say that sound is missing
	NotListed  Verdict = "not on the list"  // not to be recorded: no listed line, or outside its window
	NoTalk     Verdict = "no talk"          // nobody answered: nothing to be recorded
	Unexpected Verdict = "unexpected"       // a recording that no record tells of
)

// Verdicts are all of them, in the order of a report.
func Verdicts() []Verdict {
	return []Verdict{Recorded, Missing, TooShort, Harmed, NotListed, NoTalk, Unexpected}
}

// Result is one line of the report. Record or Recording is nil where there is
// none.
type Result struct {
	Verdict   Verdict
	By        string // how the two were matched: call id, number, line; "" not at all
	Note      string
	Record    *Record
	Recording *Recording
}

// Report is everything, records in the order of the file.
type Report struct {
	Results []Result
	Count   map[Verdict]int
	Records int
}

// OK says that nothing is missing, too short or recorded in part.
func (r *Report) OK() bool { return r.Count[Missing]+r.Count[TooShort]+r.Count[Harmed] == 0 }
