package reconcile

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits of a file.
const (
	maxFile   = 512 << 20
	maxHeader = 1 << 20
)

// Problem is what is wrong with a file, and where. Line and Column count from
// 1; 0: all of it.
type Problem struct {
	Line, Column int
	Text         string
}

// Error implements error.
func (p *Problem) Error() string {
	if p.Line == 0 {
		return p.Text
	}
	return fmt.Sprintf("line %d, column %d: %s", p.Line, p.Column, p.Text)
}

// Columns names the columns by their headers; "" takes the usual names. Two
// headers with a plus between are joined: Date+Time.
type Columns struct{ Start, End, Duration, Caller, Called, Agent, CallID string }

// usual are the headers by which columns are known, folded.
func usual() map[string][]string {
	return map[string][]string{
		"start": {"start", "starttime", "startdatetime", "startdate", "callstart", "callstarttime", "startedat", "started", "begin", "begintime",
			"answertime", "answered", "datetime", "timestamp", "calldate", "date+time"},
		"end":      {"end", "endtime", "enddatetime", "callend", "callendtime", "endedat", "ended", "finish", "finished", "disconnecttime", "hanguptime"},
		"duration": {"duration", "talktime", "talkseconds", "talk", "durationseconds", "durationsec", "billsec", "callduration", "calllength", "length", "seconds"},
		"caller":   {"caller", "callernumber", "callingnumber", "calling", "callingparty", "callingpartynumber", "from", "cli", "ani", "callerid", "source", "src", "origin"},
		"called":   {"called", "callednumber", "calledparty", "calledpartynumber", "finalcalledpartynumber", "to", "dnis", "ddi", "dialled", "diallednumber", "dialed", "dialednumber", "destination", "dst"},
		"agent":    {"agent", "agentnumber", "agentextension", "extension", "agentid", "user"},
		"call id":  {"callid", "ucid", "callkey", "correlationid", "uniqueid", "contactid", "interactionid", "globalcallid", "guid"},
	}
}

// Read reads a file of call records: RFC 4180, also with a byte order mark,
// in UTF-16, or with semicolons, tabs or bars between the fields. Times without
// a zone are loc's. What is wrong comes as *Problem.
func Read(r io.Reader, c Columns, loc *time.Location) ([]Record, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	if len(text) > maxFile {
		return nil, &Problem{Text: fmt.Sprintf("the file is larger than %d MiB", maxFile>>20)}
	}
	if text, err = plain(text); err != nil {
		return nil, err
	}
	in := csv.NewReader(bytes.NewReader(text))
	in.Comma, in.FieldsPerRecord, in.ReuseRecord = separator(text), -1, true
	head, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, &Problem{Line: 1, Column: 1, Text: "the file is empty"}
	}
	if err != nil {
		return nil, problem(err)
	}
	p := &parser{in: in, clock: clock{loc: loc}, width: len(head)}
	if err := p.columns(slices.Clone(head), c); err != nil {
		return nil, err
	}
	return p.all()
}

// plain is the text in UTF-8 without its byte order mark.
func plain(b []byte) ([]byte, error) {
	if rest, ok := bytes.CutPrefix(b, []byte("\xef\xbb\xbf")); ok {
		b = rest
	}
	for mark, order := range map[string]binary.ByteOrder{"\xff\xfe": binary.LittleEndian, "\xfe\xff": binary.BigEndian} {
		if rest, ok := bytes.CutPrefix(b, []byte(mark)); ok {
			units := make([]uint16, len(rest)/2)
			for i := range units {
				units[i] = order.Uint16(rest[2*i:])
			}
			b = []byte(string(utf16.Decode(units)))
		}
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return nil, &Problem{Text: "this is not a text file"}
	}
	return b, nil
}

// separator is what stands between the fields: what the first line has most of,
// outside of quotes.
func separator(text []byte) rune {
	count, quoted := map[rune]int{}, false
	for i := 0; i < min(len(text), maxHeader); {
		r, n := utf8.DecodeRune(text[i:])
		i += n
		if r == '"' {
			quoted = !quoted
		}
		if r == '\n' && !quoted && len(bytes.TrimSpace(text[:i])) > 0 {
			break
		}
		if !quoted {
			count[r]++
		}
	}
	best := ','
	for _, r := range []rune{';', '\t', '|'} {
		if count[r] > count[best] {
			best = r
		}
	}
	return best
}

// problem says where a file is no CSV.
func problem(err error) error {
	if e, ok := errors.AsType[*csv.ParseError](err); ok {
		return &Problem{Line: e.Line, Column: e.Column, Text: e.Err.Error()}
	}
	return fmt.Errorf("read the file: %w", err)
}

// parser reads the rows once the columns are known.
type parser struct {
	in    *csv.Reader
	clock clock
	width int
	at    map[string][]int // places of what is read, by what
}

// fold keeps letters and digits, in lower case, and the plus of joined columns.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || r == '+' {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// columns finds the columns in the header.
func (p *parser) columns(head []string, c Columns) error {
	p.at = map[string][]int{}
	for i := range head {
		head[i] = strings.ReplaceAll(fold(head[i]), "+", "")
	}
	for what, name := range map[string]string{"start": c.Start, "end": c.End, "duration": c.Duration, "caller": c.Caller,
		"called": c.Called, "agent": c.Agent, "call id": c.CallID} {
		if p.at[what] = column(head, name, usual()[what]); name != "" && p.at[what] == nil {
			return &Problem{Line: 1, Column: 1, Text: fmt.Sprintf("no column is called %q (for the %s)", clip(name), what)}
		}
	}
	return p.enough()
}

// column finds the column of a name, or without one by the usual ones.
func column(head []string, name string, names []string) []int {
	if name != "" {
		names = []string{fold(name)}
	}
	for _, n := range names {
		if at := places(head, n); at != nil {
			return at
		}
	}
	return nil
}

// enough says what is lacking to judge the records.
func (p *parser) enough() error {
	switch {
	case p.at["start"] == nil:
		return p.lacks("when a call began", "--start")
	case p.at["end"] == nil && p.at["duration"] == nil:
		return p.lacks("how long a call was", "--duration or --end")
	case p.at["caller"] == nil && p.at["called"] == nil && p.at["agent"] == nil && p.at["call id"] == nil:
		return p.lacks("who spoke", "--caller, --called, --agent or --call-id")
	}
	return nil
}

func (p *parser) lacks(what, flag string) error {
	return &Problem{Line: 1, Column: 1, Text: "no column tells " + what + ": name it with " + flag}
}

// places finds one header, or several joined by a plus.
func places(head []string, name string) []int {
	var out []int
	for n := range strings.SplitSeq(name, "+") {
		i := slices.Index(head, n)
		if i < 0 {
			return nil
		}
		out = append(out, i)
	}
	return out
}

// all reads the rows.
func (p *parser) all() ([]Record, error) {
	var out []Record
	for {
		row, err := p.in.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, problem(err)
		}
		if !slices.ContainsFunc(row, func(s string) bool { return strings.TrimSpace(s) != "" }) {
			continue
		}
		if len(row) != p.width {
			line, column := p.in.FieldPos(len(row) - 1)
			return nil, &Problem{Line: line, Column: column, Text: fmt.Sprintf("%d fields, the header has %d", len(row), p.width)}
		}
		r, err := p.record(row)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
}

// get is a field, or several with a space between.
func (p *parser) get(row []string, what string) string {
	var parts []string
	for _, i := range p.at[what] {
		parts = append(parts, strings.TrimSpace(row[i]))
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}

// wrong says what is wrong with a field.
func (p *parser) wrong(what string, err error) error {
	line, column := p.in.FieldPos(p.at[what][0])
	return &Problem{Line: line, Column: column, Text: what + ": " + err.Error()}
}

func (p *parser) record(row []string) (Record, error) {
	line, _ := p.in.FieldPos(0)
	r := Record{
		Line: line, Written: p.get(row, "start"),
		Caller: unquoted(p.get(row, "caller")), Called: unquoted(p.get(row, "called")),
		Agent: unquoted(p.get(row, "agent")), CallID: unquoted(p.get(row, "call id")),
	}
	var err error
	if r.Starts, err = p.clock.instants(r.Written); err != nil {
		return r, p.wrong("start", err)
	}
	if text := p.get(row, "duration"); text != "" {
		if r.Talk, err = length(text); err != nil {
			return r, p.wrong("duration", err)
		}
		r.HasTalk = true
		return r, nil
	}
	if text := p.get(row, "end"); text != "" {
		ends, err := p.clock.instants(text)
		if err == nil {
			r.Starts, r.Talk, err = span(r.Starts, ends)
		}
		if err != nil {
			return r, p.wrong("end", err)
		}
		r.HasTalk = true
	}
	return r, nil
}

// span is how long it was from one of the starts to one of the ends: the
// shortest that there can be. It keeps the starts that have such an end.
func span(starts, ends []time.Time) ([]time.Time, time.Duration, error) {
	best, found := time.Duration(0), false
	var kept []time.Time
	for _, s := range starts {
		for _, e := range ends {
			d := e.Sub(s)
			switch {
			case d < 0 || found && d > best:
			case found && d == best:
				kept = append(kept, s)
			default:
				best, found, kept = d, true, []time.Time{s}
			}
		}
	}
	if !found {
		return nil, 0, errors.New("it ends before it begins")
	}
	return kept, best, nil
}

// unquoted takes off what spreadsheets put before a number to keep its zero.
func unquoted(s string) string {
	if rest, ok := strings.CutPrefix(s, `="`); ok {
		return strings.TrimSuffix(rest, `"`)
	}
	return strings.TrimPrefix(s, "'")
}
