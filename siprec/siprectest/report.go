package siprectest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what a run saw. It marshals to JSON as it is; fields whose names
// end in Seconds are seconds.
type Report struct {
	Totals Totals       `json:"totals"`
	Calls  []CallReport `json:"calls"`
}

// Totals sums a run up.
type Totals struct {
	Calls     int            `json:"calls"`
	Completed int            `json:"completed"` // CallReport.OK
	Codes     map[string]int `json:"codes"`     // final responses to INVITE; "none" for no answer

	Setup Percentiles `json:"setup_seconds"` // INVITE to 200
	Talk  Percentiles `json:"talk_seconds"`  // 200 to the end

	Packets        LegReport `json:"packets"`
	MediaSeconds   float64   `json:"media_seconds"` // planned length of each call
	ElapsedSeconds float64   `json:"elapsed_seconds"`
	CPUSeconds     float64   `json:"cpu_seconds"`     // of this process in that time
	MaxLagSeconds  float64   `json:"max_lag_seconds"` // the most a packet left late
}

// Percentiles of a set of durations, seconds.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// CallReport is what was seen of one call.
type CallReport struct {
	Number       int          `json:"number"` // from 0, in the order of the run
	CallID       string       `json:"call_id"`
	Code         int          `json:"code"` // final response to the INVITE; 0: none
	Reason       string       `json:"reason,omitempty"`
	SetupSeconds float64      `json:"setup_seconds"`
	TalkSeconds  float64      `json:"talk_seconds"`
	Answer       []AnswerLine `json:"answer"` // the recorder's newest description
	Legs         []LegReport  `json:"legs"`
	ByeCode      int          `json:"bye_code,omitempty"`  // 0: no BYE, or no answer
	MediaAt      time.Time    `json:"-"`                   // when media began
	ByeAt        time.Time    `json:"bye_at,omitzero"`     // when BYE was sent
	Ended        string       `json:"ended"`               // bye, remote bye, vanished, refused, failed
	AcksLost     int          `json:"acks_lost,omitempty"` // on purpose
	Notes        []string     `json:"notes,omitempty"`     // what was odd
	Error        string       `json:"error,omitempty"`
}

// OK says that the recorder took the call and answered for its end.
func (c CallReport) OK() bool {
	return c.Code/100 == 2 && c.Error == "" && (c.ByeCode/100 == 2 || c.Ended == "vanished")
}

// total fills in the totals from the calls.
func (r *Report) total(media time.Duration) {
	t := Totals{Calls: len(r.Calls), Codes: make(map[string]int), MediaSeconds: media.Seconds()}
	var setup, talk []float64
	for _, c := range r.Calls {
		code := "none"
		if c.Code != 0 {
			code = fmt.Sprint(c.Code)
		}
		t.Codes[code]++
		if c.OK() {
			t.Completed++
		}
		if c.Code/100 == 2 {
			setup, talk = append(setup, c.SetupSeconds), append(talk, c.TalkSeconds)
		}
		for _, l := range c.Legs {
			t.Packets.Add(l)
		}
	}
	t.Setup, t.Talk = percentiles(setup), percentiles(talk)
	r.Totals = t
}

func percentiles(v []float64) Percentiles {
	if len(v) == 0 {
		return Percentiles{}
	}
	slices.Sort(v)
	at := func(p float64) float64 { return v[min(int(p*float64(len(v))), len(v)-1)] }
	return Percentiles{P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: v[len(v)-1]}
}

// OK says that every call of the run is OK, and that there was one.
func (r Report) OK() bool { return r.Totals.Calls > 0 && r.Totals.Completed == r.Totals.Calls }

// String is the report for people: the totals, then every call when there are
// few, and those that went wrong when there are many.
func (r Report) String() string {
	var b strings.Builder
	t := r.Totals
	fmt.Fprintf(&b, "%d of %d calls completed", t.Completed, t.Calls)
	for _, code := range slices.Sorted(maps.Keys(t.Codes)) {
		fmt.Fprintf(&b, ", %s: %d", code, t.Codes[code])
	}
	fmt.Fprintf(&b, "\nsetup p50 %s, p99 %s; talk p50 %.2f s of %.2f s\n",
		millis(t.Setup.P50), millis(t.Setup.P99), t.Talk.P50, t.MediaSeconds)
	fmt.Fprintf(&b, "RTP %s; client CPU %.2f s in %.1f s, latest packet %s\n",
		packets(t.Packets), t.CPUSeconds, t.ElapsedSeconds, millis(t.MaxLagSeconds))
	const few = 5
	shown := 0
	for _, c := range r.Calls {
		if shown < few || !c.OK() && shown < 4*few {
			shown++
			b.WriteString(c.String())
		}
	}
	if shown < len(r.Calls) {
		fmt.Fprintf(&b, "(%d more calls)\n", len(r.Calls)-shown)
	}
	return b.String()
}

// String is the call in a few lines.
func (c CallReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "call %d: ", c.Number+1)
	if c.Code != 0 {
		fmt.Fprintf(&b, "%d %s in %s, ", c.Code, c.Reason, millis(c.SetupSeconds))
	}
	fmt.Fprintf(&b, "%s", c.Ended)
	if c.ByeCode != 0 {
		fmt.Fprintf(&b, " %d after %.2f s", c.ByeCode, c.TalkSeconds)
	}
	b.WriteString("\n")
	for i, l := range c.Legs {
		fmt.Fprintf(&b, "  leg %s: ", l.Label)
		if i < len(c.Answer) {
			a := c.Answer[i]
			fmt.Fprintf(&b, "to %s:%d %s, ", a.Addr, a.Port, a.Direction)
		}
		fmt.Fprintf(&b, "%s\n", packets(l))
	}
	for _, n := range c.Notes {
		fmt.Fprintf(&b, "  note: %s\n", n)
	}
	if c.Error != "" {
		fmt.Fprintf(&b, "  error: %s\n", c.Error)
	}
	return b.String()
}

// packets says the counts that are not 0.
func packets(l LegReport) string {
	s := fmt.Sprintf("%d packets sent", l.Sent)
	for _, f := range []struct {
		n    int
		what string
	}{
		{l.Dropped, "lost on purpose"}, {l.Duplicated, "duplicated"}, {l.Reordered, "reordered"},
		{l.Skipped, "silent"}, {l.Events, "DTMF"}, {l.Foreign, "of a foreign type"}, {l.Failed, "failed"},
	} {
		if f.n != 0 {
			s += fmt.Sprintf(", %d %s", f.n, f.what)
		}
	}
	return s
}

func millis(seconds float64) string { return fmt.Sprintf("%.1f ms", seconds*1000) }
