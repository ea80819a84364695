package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"siprecd/store"
	"siprecd/store/policy"
)

// Flags are the command's.
type Flags struct {
	File string `arg:"" help:"The contact centre's call records, as CSV; - for standard input." placeholder:"CDR.csv"`

	Start    string `help:"Header of the column that tells when a call began; Date+Time joins two." placeholder:"NAME"`
	End      string `help:"... when it ended." placeholder:"NAME"`
	Duration string `help:"... how long the parties talked." placeholder:"NAME"`
	Caller   string `help:"... the caller's number." placeholder:"NAME"`
	Called   string `help:"... the number called." placeholder:"NAME"`
	Agent    string `help:"... the agent's number." placeholder:"NAME"`
	CallID   string `help:"... an id that the recording client tells too." placeholder:"NAME"`

	Zone      string        `help:"Zone of times that name none. Default: the policy's." placeholder:"ZONE"`
	Tolerance time.Duration `help:"How far apart the beginnings of a record and its recording may be." default:"5s"`
	Short     time.Duration `help:"How much shorter than the talk a recording may be." default:"3s"`

	JSON bool `help:"One JSON object a line, for each record and each recording without one, and the sums." xor:"form"`
	CSV  bool `help:"The same as CSV." xor:"form"`
}

// Records reads the file that the flags name, by a policy's clock unless they
// say another. Every error is the user's to mend.
func (f *Flags) Records(stdin io.Reader, p policy.Policy) ([]Record, *policy.Rules, error) {
	rules, err := policy.New(p)
	if err != nil {
		return nil, nil, err
	}
	if f.Tolerance < 0 || f.Tolerance > time.Hour || f.Short < 0 || f.Short > time.Hour {
		return nil, nil, errors.New("--tolerance and --short are from 0s to 1h")
	}
	loc := rules.Location()
	if f.Zone != "" {
		if loc, err = time.LoadLocation(f.Zone); err != nil {
			return nil, nil, fmt.Errorf("--zone %s: no such zone", f.Zone)
		}
	}
	in := stdin
	if f.File != "-" {
		file, err := os.Open(f.File)
		if err != nil {
			return nil, nil, err
		}
		defer file.Close()
		in = file
	}
	records, err := Read(in, f.columns(), loc)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.File, err)
	}
	return records, rules, nil
}

// columns are those that the flags name.
func (f *Flags) columns() Columns {
	return Columns{Start: f.Start, End: f.End, Duration: f.Duration, Caller: f.Caller, Called: f.Called, Agent: f.Agent, CallID: f.CallID}
}

// around is how long before and after the records' time recordings are looked
// at: correlation ids may tie what did not begin together.
const around = 12 * time.Hour

// Compare compares records with a store; nil: nothing was recorded yet. skip names
// a line whose recordings are nobody's calls.
func (f *Flags) Compare(ctx context.Context, s *store.Store, rules *policy.Rules, records []Record, skip string) (*Report, error) {
	m := Matcher{
		Normalise: rules.Normalise, Start: f.Tolerance, Length: f.Short,
		Decide: func(r Record) Decision { return decide(rules, r) },
		LineOf: func(number string) string { return rules.Decide([]policy.Named{{Value: number}}, time.Time{}).Line },
	}
	if s == nil || len(records) == 0 {
		return m.Match(records, nil)
	}
	m.ByKey = func(callID string) (ids []string, err error) {
		for row, err := range s.List(ctx, store.Query{Key: callID}) {
			if err != nil && row.ID == "" {
				return nil, err
			}
			ids = append(ids, row.ID)
		}
		return ids, nil
	}
	first, last := bounds(records, around)
	var recordings []Recording
	for row, err := range s.List(ctx, store.Query{From: first, To: last}) {
		if err != nil {
			return nil, err
		}
		if row.Line != skip {
			recordings = append(recordings, Recording{
				ID: row.ID, Line: row.Line, Started: row.Started, Seconds: row.Duration, Live: row.State == store.Live,
				Caller: row.Caller, Called: row.Called, Agent: row.Agent, Flags: row.Flags,
			})
		}
	}
	return m.Match(records, recordings)
}

// decide asks the policy about a record, as of when it began.
func decide(rules *policy.Rules, r Record) Decision {
	d := rules.Decide([]policy.Named{{Value: r.Called}, {Value: r.Caller}, {Value: r.Agent}}, r.Starts[0])
	out := Decision{Expected: d.Record, Line: d.Line, Why: "no listed line"}
	if d.Reason == policy.OutsideWindow {
		out.Why = "outside the windows of " + d.Line
	}
	return out
}

// Write writes the report as the flags say.
func (f *Flags) Write(w io.Writer, r *Report, plain func(string) string) error {
	switch {
	case f.JSON:
		return r.WriteJSON(w)
	case f.CSV:
		return r.WriteCSV(w)
	}
	return r.WriteTable(w, plain)
}
