package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Decision is what the policy says of a record.
type Decision struct {
	Expected bool   // it was to be recorded
	Why      string // not: no listed line, outside its window
	Line     string
}

// Matcher knows what is needed to compare.
type Matcher struct {
	Normalise func(number string) string
	Decide    func(r Record) Decision               // by the policy of the moment of the call
	LineOf    func(number string) string            // "": no listed line
	ByKey     func(callID string) ([]string, error) // ids of recordings with that correlation id
	Start     time.Duration                         // how far apart the beginnings may be
	Length    time.Duration                         // how much shorter a recording may be
}

// numbers are those of a call, in canonical form.
type numbers struct{ caller, called, agent, line string }

// edge is a pair that may be one call; a better one has a greater rank.
type edge struct {
	record, recording int
	rank              int
	by                string
	apart             time.Duration
}

// rankKey is above all that numbers can reach.
const rankKey = 100

// Match gives every record its verdict, and tells of the recordings within the
// records' time that have none. recordings may be in any order.
func (m Matcher) Match(records []Record, recordings []Recording) (*Report, error) {
	recordings = slices.SortedFunc(slices.Values(recordings), func(a, b Recording) int { return a.Started.Compare(b.Started) })
	edges, err := m.edges(records, recordings)
	if err != nil {
		return nil, err
	}
	pairs := assign(len(records), len(recordings), edges)
	report := &Report{Count: map[Verdict]int{}, Records: len(records)}
	taken := make([]bool, len(recordings))
	for _, e := range pairs {
		if e != nil {
			taken[e.recording] = true
		}
	}
	byRecord := map[int][]edge{}
	for _, e := range edges {
		if e.rank >= rankKey {
			byRecord[e.record] = append(byRecord[e.record], e)
		}
	}
	for i := range records {
		e := pairs[i]
		if e == nil {
			e = m.shared(records[i], byRecord[i], recordings)
		}
		report.add(m.judge(&records[i], e, recordings))
	}
	first, last := bounds(records, m.Start)
	for j := range recordings {
		if r := &recordings[j]; !taken[j] && !r.Started.Before(first) && !r.Started.After(last) {
			report.add(Result{Verdict: Unexpected, Recording: r})
		}
	}
	return report, nil
}

func (r *Report) add(res Result) {
	r.Results = append(r.Results, res)
	r.Count[res.Verdict]++
}

// bounds are the times between which recordings are answered for.
func bounds(records []Record, tolerance time.Duration) (first, last time.Time) {
	for _, r := range records {
		for _, s := range r.Starts {
			if first.IsZero() || s.Before(first) {
				first = s
			}
			if s.After(last) {
				last = s
			}
		}
	}
	return first.Add(-tolerance), last.Add(tolerance)
}

// edges are all pairs that may be one call, the best first.
func (m Matcher) edges(records []Record, recordings []Recording) ([]edge, error) {
	at := make(map[string]int, len(recordings))
	known := make([]numbers, len(recordings))
	for j, r := range recordings {
		at[r.ID] = j
		known[j] = numbers{m.Normalise(r.Caller), m.Normalise(r.Called), m.Normalise(r.Agent), r.Line}
	}
	var out []edge
	for i, r := range records {
		if r.CallID != "" && m.ByKey != nil {
			ids, err := m.ByKey(r.CallID)
			if err != nil {
				return nil, fmt.Errorf("look up a call id: %w", err)
			}
			for _, id := range ids {
				if j, ok := at[id]; ok {
					out = append(out, edge{i, j, rankKey, "call id", apart(r, recordings[j])})
				}
			}
		}
		out = append(out, m.near(i, r, recordings, known)...)
	}
	slices.SortStableFunc(out, func(a, b edge) int {
		return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(a.apart, b.apart),
			cmp.Compare(a.record, b.record), cmp.Compare(a.recording, b.recording))
	})
	return out, nil
}

// near are the recordings that began with a record and share a number with it.
func (m Matcher) near(i int, r Record, recordings []Recording, known []numbers) []edge {
	want := numbers{m.Normalise(r.Caller), m.Normalise(r.Called), m.Normalise(r.Agent), ""}
	if m.LineOf != nil {
		want.line = cmp.Or(m.LineOf(r.Called), m.LineOf(r.Caller), m.LineOf(r.Agent))
	}
	var out []edge
	for _, s := range r.Starts {
		j, _ := slices.BinarySearchFunc(recordings, s.Add(-m.Start), func(r Recording, t time.Time) int { return r.Started.Compare(t) })
		for ; j < len(recordings) && !recordings[j].Started.After(s.Add(m.Start)); j++ {
			if rank, by := want.fits(known[j]); rank > 0 {
				out = append(out, edge{i, j, rank, by, recordings[j].Started.Sub(s).Abs()})
			}
		}
	}
	return out
}

// fits ranks what a record and a recording have in common; 0 when that is
// nothing, or a number contradicts.
func (n numbers) fits(r numbers) (rank int, by string) {
	line := n.line != "" && n.line == r.line
	caller, called := r.has(n.caller), r.has(n.called)
	if contradicts(n.caller, r.caller, caller) || contradicts(n.called, r.called, called || line) {
		return 0, ""
	}
	by = "line"
	for _, s := range []struct {
		fits  bool
		worth int
	}{{caller, 4}, {called, 2}, {r.has(n.agent), 2}} {
		if s.fits {
			rank, by = rank+s.worth, "number"
		}
	}
	if line {
		rank++
	}
	return rank, by
}

// has says that one of a recording's numbers is this one.
func (n numbers) has(number string) bool {
	return number != "" && (same(number, n.caller) || same(number, n.called) || same(number, n.agent))
}

// contradicts says that both know a number and it is not the same.
func contradicts(a, b string, fits bool) bool { return a != "" && b != "" && !fits }

// same compares canonical numbers; a bare extension is the end of a full one.
func same(a, b string) bool {
	if a == b {
		return true
	}
	for range 2 {
		if ext, ok := strings.CutPrefix(a, "ext:"); ok && strings.HasPrefix(b, "+") && strings.HasSuffix(b, ext) {
			return true
		}
		a, b = b, a
	}
	return false
}

func apart(r Record, rec Recording) time.Duration {
	best := rec.Started.Sub(r.Starts[0]).Abs()
	for _, s := range r.Starts[1:] {
		best = min(best, rec.Started.Sub(s).Abs())
	}
	return best
}

// assign pairs records and recordings one to one: the best edges first, then,
// for a record that is left, by giving others the second best of theirs.
func assign(records, recordings int, edges []edge) []*edge {
	of := make([]*edge, records)        // by record
	holder := make([]*edge, recordings) // by recording
	list := make([][]*edge, records)
	for k := range edges {
		e := &edges[k]
		list[e.record] = append(list[e.record], e)
		if of[e.record] == nil && holder[e.recording] == nil {
			of[e.record], holder[e.recording] = e, e
		}
	}
	var augment func(record int, seen map[int]bool) bool
	augment = func(record int, seen map[int]bool) bool {
		for _, e := range list[record] {
			if seen[e.recording] {
				continue
			}
			seen[e.recording] = true
			held := holder[e.recording]
			if held != nil && (held.rank >= rankKey || !augment(held.record, seen)) {
				continue // an id is not argued with
			}
			of[record], holder[e.recording] = e, e
			return true
		}
		return false
	}
	for i := range records {
		if of[i] == nil && len(list[i]) > 0 {
			augment(i, map[int]bool{})
		}
	}
	return of
}

// shared finds a recording of the same call id that covers a record, as where a
// transfer makes two records of one call.
func (m Matcher) shared(r Record, byKey []edge, recordings []Recording) *edge {
	for _, e := range byKey {
		rec := recordings[e.recording]
		end := rec.Started.Add(time.Duration(rec.Seconds * float64(time.Second)))
		for _, s := range r.Starts {
			if !s.Before(rec.Started.Add(-m.Start)) && (rec.Live || !s.Add(r.Talk).After(end.Add(m.Length))) {
				e.by = "call id, within the recording of another record"
				return &e
			}
		}
	}
	return nil
}

// judge is the verdict on a record.
func (m Matcher) judge(r *Record, e *edge, recordings []Recording) Result {
	res := Result{Record: r}
	d := m.Decide(*r)
	if e == nil {
		switch {
		case r.HasTalk && r.Talk == 0:
			res.Verdict = NoTalk
		case !d.Expected:
			res.Verdict, res.Note = NotListed, d.Why
		default:
			res.Verdict = Missing
			res.Note = d.Line
		}
		return res
	}
	res.By, res.Recording = e.by, &recordings[e.recording]
	res.Verdict, res.Note = m.held(r, res.Recording, d)
	return res
}

// held is the verdict on a record that has a recording. Of a call in which
// nobody talked there is no sound to be missed.
func (m Matcher) held(r *Record, rec *Recording, d Decision) (Verdict, string) {
	if rec.Live {
		return Recorded, "still live"
	}
	bad := harm(rec.Flags)
	if short := r.Talk.Seconds() - rec.Seconds; r.HasTalk && short > m.Length.Seconds() {
		return TooShort, strings.Join(append([]string{fmt.Sprintf("%.1f s are missing", short)}, bad...), ", ")
	}
	switch {
	case !d.Expected:
		return Recorded, "although " + d.Why
	case len(bad) > 0 && (!r.HasTalk || r.Talk > 0):
		return Harmed, strings.Join(bad, ", ")
	}
	return Recorded, ""
}
