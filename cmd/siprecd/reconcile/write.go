package reconcile

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// row is one line of the report as it goes out.
type row struct {
	Verdict   Verdict   `json:"verdict"`
	Line      int       `json:"file_line,omitempty"`
	Start     string    `json:"start,omitempty"` // as written
	Caller    string    `json:"caller,omitempty"`
	Called    string    `json:"called,omitempty"`
	Agent     string    `json:"agent,omitempty"`
	CallID    string    `json:"call_id,omitempty"`
	Talk      *float64  `json:"talk_seconds,omitempty"`
	By        string    `json:"matched_by,omitempty"`
	Recording string    `json:"recording,omitempty"`
	OnLine    string    `json:"line,omitempty"`
	Started   time.Time `json:"recording_started,omitzero"`
	Seconds   *float64  `json:"recording_seconds,omitempty"`
	Note      string    `json:"note,omitempty"`
}

func (r Result) row() row {
	out := row{Verdict: r.Verdict, By: r.By, Note: r.Note}
	if c := r.Record; c != nil {
		out.Line, out.Start, out.Caller, out.Called, out.Agent, out.CallID = c.Line, c.Written, c.Caller, c.Called, c.Agent, c.CallID
		if talk := c.Talk.Seconds(); c.HasTalk {
			out.Talk = &talk
		}
	}
	if c := r.Recording; c != nil {
		out.Recording, out.OnLine, out.Started, out.Seconds = c.ID, c.Line, c.Started.UTC(), &c.Seconds
		if r.Record == nil {
			out.Caller, out.Called, out.Agent = c.Caller, c.Called, c.Agent
		}
	}
	return out
}

// WriteJSON writes one object a line, and the sums as the last one.
func (r *Report) WriteJSON(w io.Writer) error {
	out := json.NewEncoder(w)
	for _, res := range r.Results {
		if err := out.Encode(res.row()); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	err := out.Encode(struct {
		Summary map[Verdict]int `json:"summary"`
		Records int             `json:"records"`
		OK      bool            `json:"ok"`
	}{r.Count, r.Records, r.OK()})
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// WriteCSV writes one row a result. A field that a spreadsheet would take for
// a formula is led by an apostrophe.
func (r *Report) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	_ = out.Write([]string{"verdict", "file line", "start", "caller", "called", "agent", "call id", "talk seconds",
		"matched by", "recording", "line", "recording started", "recording seconds", "note"}) // told by Error
	for _, res := range r.Results {
		c := res.row()
		line, started := "", ""
		if c.Line > 0 {
			line = strconv.Itoa(c.Line)
		}
		if !c.Started.IsZero() {
			started = c.Started.Format(time.RFC3339)
		}
		cells := []string{string(c.Verdict), line, c.Start, c.Caller, c.Called, c.Agent, c.CallID, number(c.Talk),
			c.By, c.Recording, c.OnLine, started, number(c.Seconds), c.Note}
		for i := range cells {
			cells[i] = harmless(cells[i])
		}
		_ = out.Write(cells)
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func number(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'f', 2, 64)
}

// harmless keeps a spreadsheet from running a field.
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n|%", rune(s[0])) {
		return "'" + s
	}
	return s
}

// shown is how many rows of each kind the table names.
const shown = 20

// WriteTable writes the sums and the first of what is wrong. plain makes
// foreign text safe for a terminal.
func (r *Report) WriteTable(w io.Writer, plain func(string) string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d call records\n", r.Records)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, v := range Verdicts() {
		fmt.Fprintf(t, "  %s\t%d\n", v, r.Count[v])
	}
	_ = t.Flush() // into memory
	for _, v := range []Verdict{Missing, TooShort, Harmed, Unexpected} {
		r.list(&b, v, plain)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// list names the first results of one verdict.
func (r *Report) list(b *strings.Builder, v Verdict, plain func(string) string) {
	if r.Count[v] == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", strings.ToUpper(string(v)))
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	n := 0
	for _, res := range r.Results {
		if res.Verdict != v {
			continue
		}
		if n++; n > shown {
			break
		}
		c := res.row()
		where := "recording " + c.Recording
		if c.Line > 0 {
			where = fmt.Sprintf("line %d", c.Line)
		}
		if c.Start == "" {
			c.Start = c.Started.Format(time.DateTime) + " UTC"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", where, plain(c.Start), plain(c.Caller), plain(c.Called), plain(c.Note))
	}
	_ = t.Flush()
	if n > shown {
		fmt.Fprintf(b, "  and %d more; --csv or --json tells all\n", r.Count[v]-shown)
	}
}
