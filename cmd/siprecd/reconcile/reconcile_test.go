package reconcile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"siprecd/store/policy"
)

func london(t testing.TB) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestInstants(t *testing.T) {
	for text, want := range map[string]string{
		"2026-11-23 10:00:05":       "10:00:05",
		"2026-11-23T10:00:05":       "10:00:05",
		"2026-11-23T10:00:05Z":      "10:00:05",
		"2026-11-23T10:00:05+01:00": "09:00:05",
		"2026-11-23 10:00:05.250":   "10:00:05.25",
		"23/11/2026 10:00":          "10:00:00",
		"23/11/2026 10:00:05":       "10:00:05",
		"23/11/26 10:00:05":         "10:00:05",
		"23-Nov-2026 10:00:05":      "10:00:05",
		"23 November 2026 10:00":    "10:00:00",
		"23.11.2026  10:00:05":      "10:00:05",
		"23/11/2026 1:00:05 PM":     "13:00:05",
		"23/11/2026, 1:00 pm":       "13:00:00",
		"20261123100005":            "10:00:05",
		"1795428005":                "10:00:05",
		"1795428005250":             "10:00:05.25",
	} {
		got, err := (&clock{loc: london(t)}).instants(text)
		if err != nil || len(got) != 1 || got[0].UTC().Format("2006-01-02 15:04:05.999") != "2026-11-23 "+want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "10:00", "2026-11-23", "11/23/2026 10:00:00", "31/02/2026 10:00", "soon", "29/03/2026 01:30:00"} {
		if got, err := (&clock{loc: london(t)}).instants(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
	summer, err := (&clock{loc: london(t)}).instants("01/07/2026 10:00:00")
	if err != nil || summer[0].Hour() != 9 {
		t.Errorf("summer: %v, %v", summer, err)
	}
	twice, err := (&clock{loc: london(t)}).instants("25/10/2026 01:30:00")
	if err != nil || len(twice) != 2 || twice[1].Sub(twice[0]) != time.Hour || twice[0].Format("15:04") != "00:30" {
		t.Errorf("the hour that comes twice: %v, %v", twice, err)
	}
}

func TestLength(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "65": 65 * time.Second, "65.5": 65500 * time.Millisecond, "65,5": 65500 * time.Millisecond, "1:05": 65 * time.Second,
		"0:01:05": 65 * time.Second, "01:00:05.5": time.Hour + 5500*time.Millisecond, "1m5s": 65 * time.Second, "1m 5s": 65 * time.Second,
	} {
		if got, err := length(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"-1", "x", "1:60", "1:2:3:4", ":", "1e99", "NaN", "-1:00"} {
		if got, err := length(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestReadIsTolerant(t *testing.T) {
	rows := "Start Time,Duration,Caller,Called Number,Agent,UCID\r\n23/11/2026 10:00:00,65,020 7946 0123,020 8825 7050,4711,abc-1\r\n"
	units := utf16.Encode([]rune("\ufeff" + rows))
	wide := make([]byte, 2*len(units))
	for i, u := range units {
		binary.LittleEndian.PutUint16(wide[2*i:], u)
	}
	for name, text := range map[string]string{
		"plain": rows, "byte order mark": "\ufeff" + rows, "semicolons": strings.ReplaceAll(rows, ",", ";"),
		"tabs": strings.ReplaceAll(rows, ",", "\t"), "UTF-16": string(wide), "line feeds": strings.ReplaceAll(rows, "\r\n", "\n"),
		"quotes":      "\"Start Time\",\"Duration\",\"Caller\",\"Called Number\",\"Agent\",\"UCID\"\n\"23/11/2026 10:00:00\",\"65\",\"020 7946 0123\",\"020 8825 7050\",\"4711\",\"abc-1\"\n",
		"spreadsheet": strings.Replace(rows, "020 7946 0123", `"=""020 7946 0123"""`, 1),
		"empty lines": strings.Replace(rows, "\r\n", "\r\n\r\n,,,,,\r\n", 1),
		"start, end":  "start;end;from;to;agent;callid\n2026-11-23T10:00:00Z;2026-11-23T10:01:05Z;020 7946 0123;020 8825 7050;4711;abc-1\n",
		"date, time":  "Date,Time,Talk,From,To,Agent,Call ID\n23/11/2026,10:00:00,1:05,020 7946 0123,020 8825 7050,4711,abc-1\n",
	} {
		got, err := Read(strings.NewReader(text), Columns{}, london(t))
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %v, %v", name, got, err)
			continue
		}
		r := got[0]
		if r.Talk != 65*time.Second || !r.HasTalk || r.Caller != "020 7946 0123" || r.Called != "020 8825 7050" || r.Agent != "4711" ||
			r.CallID != "abc-1" || r.Starts[0].Format("2006-01-02 15:04:05") != "2026-11-23 10:00:00" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	named, err := Read(strings.NewReader("When,Secs,A,B\n2026-11-23 10:00,5,1,2\n"), Columns{Start: "when", Duration: "SECS", Caller: "a"}, london(t))
	if err != nil || named[0].Caller != "1" || named[0].Called != "" {
		t.Errorf("named columns: %+v, %v", named, err)
	}
}

func TestReadSaysWhere(t *testing.T) {
	head := "start,duration,caller\n"
	for _, c := range []struct {
		text, want string
		line, col  int
		columns    Columns
	}{
		{"", "empty", 1, 1, Columns{}},
		{"duration,caller\n", "--start", 1, 1, Columns{}},
		{"start,caller\n", "--duration or --end", 1, 1, Columns{}},
		{"start,duration\n", "--caller", 1, 1, Columns{}},
		{head, `no column is called "Begin"`, 1, 1, Columns{Start: "Begin"}},
		{head + "2026-11-23 10:00,5,1\n\n2026-11-23 10:00,x,1\n", "is not a length", 4, 18, Columns{}},
		{head + "2026-11-23 10:00,5,1\n11/23/2026 10:00,5,1\n", "the day first", 3, 1, Columns{}},
		{head + "29/03/2026 01:30,5,1\n", "never showed", 2, 1, Columns{}},
		{head + "2026-11-23 10:00,5\n", "2 fields, the header has 3", 2, 18, Columns{}},
		{head + "2026-11-23 10:00,5,\"1\n", `"`, 2, 0, Columns{}},
		{"start,end,caller\n2026-11-23 10:00,2026-11-23 09:00,1\n", "ends before", 2, 18, Columns{}},
		{"a\x00b", "not a text file", 0, 0, Columns{}},
	} {
		_, err := Read(strings.NewReader(c.text), c.columns, london(t))
		p, ok := errors.AsType[*Problem](err)
		if !ok || !strings.Contains(p.Text, c.want) || p.Line != c.line && c.line != 0 || c.col != 0 && p.Column != c.col {
			t.Errorf("%q: %v (%+v), want %q at %d:%d", c.text, err, p, c.want, c.line, c.col)
		}
	}
}

func TestTheHourThatComesTwice(t *testing.T) {
	// 01:50 to 01:10 is twenty minutes across the change, not an error.
	got, err := Read(strings.NewReader("start,end,caller\n25/10/2026 01:50:00,25/10/2026 01:10:00,1\n25/10/2026 01:10:00,25/10/2026 01:20:00,1\n"), Columns{}, london(t))
	if err != nil || got[0].Talk != 20*time.Minute || len(got[0].Starts) != 1 || got[1].Talk != 10*time.Minute || len(got[1].Starts) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	m := matcher(t)
	for _, hour := range []int{0, 1} { // either of the two is right
		rec := Recording{ID: "1", Line: "Parks", Started: time.Date(2026, 10, 25, hour, 10, 2, 0, time.UTC), Seconds: 600, Caller: "1"}
		got[1].Caller, rec.Caller = "02079460123", "02079460123"
		if r, err := m.Match(got[1:], []Recording{rec}); err != nil || r.Count[Recorded] != 1 {
			t.Errorf("recording in hour %d UTC: %+v, %v", hour, r, err)
		}
	}
}

// rules is the policy of these tests.
func rules(t testing.TB) *policy.Rules {
	t.Helper()
	p := policy.Policy{
		Timezone: "Europe/London", Unlisted: "accept", Numbering: policy.Numbering{Country: "44", Trunk: "0", Area: "20", Extension: 4},
		Lines: []policy.Line{{Name: "Council tax", Number: "020 8825 7050", Always: true}, {Name: "Parks", Number: "020 8825 6999", Always: true}},
	}
	r, err := policy.New(p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func matcher(t testing.TB) Matcher {
	r := rules(t)
	return Matcher{
		Normalise: r.Normalise, Start: 5 * time.Second, Length: 3 * time.Second,
		LineOf: func(n string) string { return r.Decide([]policy.Named{{Value: n}}, time.Now()).Line },
		Decide: func(rec Record) Decision {
			d := r.Decide([]policy.Named{{Value: rec.Called}, {Value: rec.Caller}, {Value: rec.Agent}}, rec.Starts[0])
			return Decision{Expected: d.Record, Why: "no listed line", Line: d.Line}
		},
	}
}

func TestVerdicts(t *testing.T) {
	t0 := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	rec := func(id string, at float64, caller, called, line string, seconds float64) Recording {
		return Recording{ID: id, Started: t0.Add(time.Duration(at * float64(time.Second))), Caller: caller, Called: called, Line: line, Seconds: seconds}
	}
	call := func(at, talk float64, caller, called, id string) Record {
		return Record{Starts: []time.Time{t0.Add(time.Duration(at * float64(time.Second)))}, HasTalk: true, Talk: time.Duration(talk * float64(time.Second)),
			Caller: caller, Called: called, CallID: id}
	}
	const a, b, tax, parks = "020 7946 0123", "+442079460999", "020 8825 7050", "02088256999"
	keys := map[string][]string{"key-1": {"k1"}, "key-2": {"k1", "k2"}}
	for _, c := range []struct {
		name       string
		records    []Record
		recordings []Recording
		want       []Verdict
	}{
		{"recorded", []Record{call(0, 60, a, tax, "")}, []Recording{rec("1", 2, "sip:+442079460123@x", "sip:7050@x", "Council tax", 60)}, []Verdict{Recorded}},
		{"too late to be it", []Record{call(0, 60, a, tax, "")}, []Recording{rec("1", 5.1, a, tax, "Council tax", 60)}, []Verdict{Missing}},
		{"another caller", []Record{call(0, 60, a, tax, "")}, []Recording{rec("1", 0, b, tax, "Council tax", 60)}, []Verdict{Missing, Unexpected}},
		{"caller withheld", []Record{call(0, 60, "anonymous", tax, "")}, []Recording{rec("1", 0, b, tax, "Council tax", 60)}, []Verdict{Recorded}},
		{"too short", []Record{call(0, 60, a, tax, "")}, []Recording{rec("1", 0, a, tax, "Council tax", 56.9)}, []Verdict{TooShort}},
		{"short within the tolerance", []Record{call(0, 60, a, tax, "")}, []Recording{rec("1", 0, a, tax, "Council tax", 57)}, []Verdict{Recorded}},
		{"not on the list", []Record{call(0, 60, a, "020 8825 1234", "")}, nil, []Verdict{NotListed}},
		{"nobody answered", []Record{call(0, 0, a, tax, "")}, nil, []Verdict{NoTalk}},
		{"nothing known: expected", []Record{call(0, 60, "", "reception", "")}, nil, []Verdict{Missing}},
		{"agent's extension", []Record{call(0, 60, a, "4711", "")}, []Recording{rec("1", 0, a, "+442088254711", "Council tax", 60)}, []Verdict{Recorded}},
		{"unexpected", []Record{call(0, 60, a, tax, ""), call(100, 60, a, tax, "")},
			[]Recording{rec("1", 0, a, tax, "Council tax", 60), rec("2", 50, b, parks, "Parks", 9), rec("3", 100, a, tax, "Council tax", 60), rec("4", 200, b, parks, "Parks", 9)},
			[]Verdict{Recorded, Recorded, Unexpected}},
		{"one recording, two calls", []Record{call(0, 60, a, tax, ""), call(1, 60, a, tax, "")}, []Recording{rec("1", 0, a, tax, "Council tax", 60)}, []Verdict{Recorded, Missing}},
		{"the nearest is not always right", []Record{call(0, 9, a, tax, ""), call(4, 9, a, tax, "")},
			[]Recording{rec("1", 3, a, tax, "Council tax", 9), rec("2", 7, a, tax, "Council tax", 9)}, []Verdict{Recorded, Recorded}},
		{"by call id, whatever the time", []Record{call(0, 60, a, tax, "key-1")}, []Recording{rec("k1", 600, b, parks, "Parks", 60)}, []Verdict{Recorded}},
		{"a call id is no number", []Record{call(0, 60, a, tax, "key-3")}, []Recording{rec("k1", 600, b, parks, "Parks", 60)}, []Verdict{Missing}},
		{"transfer: two records, one recording", []Record{call(0, 60, a, tax, "key-1"), call(60, 30, a, parks, "key-1")},
			[]Recording{rec("k1", 0, a, tax, "Council tax", 90)}, []Verdict{Recorded, Recorded}},
		{"transfer that was cut", []Record{call(0, 60, a, tax, "key-1"), call(60, 30, a, parks, "key-1")},
			[]Recording{rec("k1", 0, a, tax, "Council tax", 60)}, []Verdict{Recorded, Missing}},
	} {
		m := matcher(t)
		m.ByKey = func(id string) ([]string, error) { return keys[id], nil }
		r, err := m.Match(c.records, c.recordings)
		if err != nil {
			t.Fatal(err)
		}
		var got []Verdict
		for _, res := range r.Results {
			got = append(got, res.Verdict)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestFiftyPlantedMisses is row B8: ten thousand calls, many at the same time
// and from the same numbers, of which fifty were not recorded.
func TestFiftyPlantedMisses(t *testing.T) {
	const calls, misses = 10000, 50
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 8))
		planted := map[int]bool{}
		for len(planted) < misses {
			planted[rng.IntN(calls)] = true
		}
		var file strings.Builder
		file.WriteString("Start,Duration,Caller,Called\n")
		var recordings []Recording
		at := time.Date(2026, 10, 24, 22, 0, 0, 0, time.UTC) // across the change of the clocks
		for i := range calls {
			at = at.Add(time.Duration(rng.IntN(8000)) * time.Millisecond)
			// Numbers repeat, but not within the tolerance: then nobody could tell.
			caller, line := fmt.Sprintf("020 7946 %04d", i%1000), []string{"020 8825 7050", "+44 20 8825 6999"}[i%2]
			talk := 1 + rng.IntN(600)
			fmt.Fprintf(&file, "%s,%d,%s,%s\n", at.In(london(t)).Format("02/01/2006 15:04:05"), talk, caller, line)
			if !planted[i] {
				recordings = append(recordings, Recording{ID: fmt.Sprint(i), Line: []string{"Council tax", "Parks"}[i%2],
					Started: at.Add(time.Duration(rng.IntN(3500)) * time.Millisecond), Seconds: float64(talk) - rng.Float64()*2,
					Caller: fmt.Sprintf("sip:+442079%06d@sbc.example", 460000+i%1000), Called: "sip:7050@sbc.example"})
				if i%2 == 1 {
					recordings[len(recordings)-1].Called = "sip:6999@sbc.example"
				}
			}
		}
		began := time.Now()
		records, err := Read(strings.NewReader(file.String()), Columns{}, london(t))
		if err != nil {
			t.Fatal(err)
		}
		r, err := matcher(t).Match(records, recordings)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for i, res := range r.Results[:calls] {
			if missing := res.Verdict == Missing; missing != planted[i] {
				t.Errorf("seed %d, call %d: %s, planted %v", seed, i, res.Verdict, planted[i])
			} else if missing {
				found++
			}
		}
		if took := time.Since(began); took > time.Minute || r.Count[Unexpected] != 0 || r.Count[TooShort] != 0 {
			t.Errorf("seed %d: %v, %v", seed, took, r.Count)
		} else {
			t.Logf("seed %d: %d of %d misses found, 0 false, of %d calls in %v", seed, found, misses, calls, took)
		}
	}
}

// TestSoundThatIsMissing: the length of a recording is not enough, where the
// recorder itself has said that there is nothing in it.
func TestSoundThatIsMissing(t *testing.T) {
	t0 := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	const a, tax = "020 7946 0123", "020 8825 7050"
	for _, c := range []struct {
		name   string
		called string
		talk   time.Duration
		live   bool
		length float64
		flags  []string
		want   Verdict
		note   string
	}{
		{name: "nothing came", flags: []string{"no media"}, want: Harmed, note: "no media"},
		{name: "two of three tell", flags: []string{"one-way media", "codec not agreed", "audio not stored", "one-way media"}, want: Harmed, note: "one-way media, audio not stored"},
		{name: "odd, and all is there", flags: []string{"stream without label", "no metadata", "silent stream", "journal damaged"}, want: Recorded},
		{name: "too short is worse", length: 40, flags: []string{"no media"}, want: TooShort, note: "20.0 s are missing, no media"},
		{name: "still live", live: true, flags: []string{"no media"}, want: Recorded, note: "still live"},
		{name: "not on the list", called: "020 8825 1234", flags: []string{"no media"}, want: Recorded, note: "although no listed line"},
		{name: "nobody talked", talk: -1, flags: []string{"no media"}, want: Recorded},
	} {
		called, length := cmp.Or(c.called, tax), cmp.Or(c.length, 60)
		r := Record{Starts: []time.Time{t0}, HasTalk: true, Talk: max(0, cmp.Or(c.talk, time.Minute)), Caller: a, Called: called}
		rec := Recording{ID: "1", Started: t0, Seconds: length, Live: c.live, Caller: a, Called: called, Flags: c.flags}
		report, err := matcher(t).Match([]Record{r}, []Recording{rec})
		if err != nil || len(report.Results) != 1 {
			t.Fatalf("%s: %+v, %v", c.name, report, err)
		}
		if got := report.Results[0]; got.Verdict != c.want || got.Note != c.note {
			t.Errorf("%s: %q, %q, want %q, %q", c.name, got.Verdict, got.Note, c.want, c.note)
		}
		if good := c.want == Recorded; report.OK() != good {
			t.Errorf("%s: OK is %v", c.name, !good)
		}
		var b strings.Builder
		if err := report.WriteTable(&b, func(s string) string { return s }); err != nil {
			t.Fatal(err)
		}
		if named := strings.Contains(b.String(), "RECORDED IN PART\n  line") || strings.Contains(b.String(), "RECORDED IN PART\n  recording"); named != (c.want == Harmed) {
			t.Errorf("%s: the table is\n%s", c.name, &b)
		}
	}
	for _, f := range missing() {
		if got := harm([]string{f}); !slices.Equal(got, []string{f}) {
			t.Errorf("%q is no harm: %q", f, got)
		}
	}
}

func TestOutputIsHarmless(t *testing.T) {
	r := &Report{Count: map[Verdict]int{Missing: 1}, Records: 1, Results: []Result{{Verdict: Missing,
		Record: &Record{Line: 2, Written: "=HYPERLINK(\"http://x\")", Caller: "+442079460123", Called: "@SUM(1)", Agent: "-1\x1b[31m", CallID: "\tx"}}}}
	var b bytes.Buffer
	if err := r.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"'=HYPERLINK(""http://x"")"`, "'+442079460123", "'@SUM(1)", "'-1", "'\tx"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in %s", want, &b)
		}
	}
	b.Reset()
	plain := func(s string) string { return strings.ReplaceAll(s, "\x1b", "") }
	if err := r.WriteTable(&b, plain); err != nil || strings.Contains(b.String(), "\x1b") || !strings.Contains(b.String(), "MISSING") {
		t.Errorf("%v: %q", err, b.String())
	}
	b.Reset()
	if err := r.WriteJSON(&b); err != nil || strings.Count(b.String(), "\n") != 2 || !strings.Contains(b.String(), `"summary":{"missing":1}`) {
		t.Errorf("%v: %s", err, &b)
	}
	if r.OK() {
		t.Error("a report with a missing call is good")
	}
}

func FuzzRead(f *testing.F) {
	f.Add("start,duration,caller\n2026-11-23 10:00,5,1\n")
	f.Add("\ufeffDate;Time;Talk;From\r\n25/10/2026;01:30;1:05;\"=\"\"1\"\"\"\r\n")
	f.Add("start,end,caller\n25/10/2026 01:50:00,25/10/2026 01:10:00,1\n")
	loc := london(f)
	m := matcher(f)
	f.Fuzz(func(t *testing.T, text string) {
		records, err := Read(strings.NewReader(text), Columns{}, loc)
		if err != nil {
			return
		}
		for _, r := range records {
			if len(r.Starts) == 0 || r.Talk < 0 {
				t.Fatalf("%+v", r)
			}
		}
		if report, err := m.Match(records, nil); err != nil || len(report.Results) != len(records) {
			t.Fatal(report, err)
		}
	})
}
