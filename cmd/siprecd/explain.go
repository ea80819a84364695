package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"siprecd/store/policy"
)

// explainCmd asks the policy about one call. It needs no running server.
type explainCmd struct {
	To   string `required:"" placeholder:"NUMBER" help:"The number that was called, as the SBC writes it."`
	From string `placeholder:"NUMBER" help:"The number that called."`
	At   string `placeholder:"TIME" help:"When: RFC 3339, or local time such as \"2027-05-01 10:00\". Default: now."`
	JSON bool   `help:"Print one JSON object."`
}

// explanation is the answer as JSON.
type explanation struct {
	policy.Decision
	At      time.Time `json:"at"`
	Numbers []reading `json:"numbers"`
	Rule    string    `json:"rule"`
}

// reading says how a number was read.
type reading struct {
	Source string `json:"source"`
	Given  string `json:"given"`
	Read   string `json:"read"` // canonical form; "" when it is not a number
}

// Run implements the command: exit code 0 whether the call is recorded or not.
func (c *explainCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	rules, err := policy.New(cfg.Policy)
	if err != nil {
		return err
	}
	at, err := c.moment(e.now(), rules.Location())
	if err != nil {
		return err
	}
	candidates := []policy.Named{{Value: c.To, Source: "to"}}
	if c.From != "" {
		candidates = append(candidates, policy.Named{Value: c.From, Source: "from"})
	}
	x := explanation{Decision: rules.Decide(candidates, at), At: at.UTC()}
	x.Rule = ruleText(x.Decision, cfg.Policy)
	for _, n := range candidates {
		x.Numbers = append(x.Numbers, reading{n.Source, n.Value, rules.Normalise(n.Value)})
	}
	if c.JSON {
		return json.NewEncoder(e.stdout).Encode(x)
	}
	return x.print(e, rules.Location())
}

// moment reads --at; times without a zone are those of the policy's clock.
func (c *explainCmd) moment(now time.Time, loc *time.Location) (time.Time, error) {
	if c.At == "" {
		return now, nil
	}
	if t, err := time.Parse(time.RFC3339, c.At); err == nil {
		return t, nil
	}
	for _, layout := range []string{time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, c.At, loc); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--at %q is not a time: write RFC 3339, or local time such as \"2027-05-01 10:00\"", c.At)
}

// ruleText says why.
func ruleText(d policy.Decision, p policy.Policy) string {
	unlisted := "answered and thrown away (policy.unlisted: accept)"
	if p.Unlisted == "refuse" {
		unlisted = "refused with 403 (policy.unlisted: refuse)"
	}
	switch {
	case d.Reason == policy.NotListed:
		return "none of the numbers is a listed line; the call is " + unlisted +
			". Without readable metadata it is recorded and flagged, since its numbers then prove nothing"
	case d.Reason == policy.NoNumber:
		return "there is no number to look up; such a call is recorded, and flagged as of an unidentified line"
	case d.Reason == policy.OutsideWindow:
		return "recorded during campaigns only, and no window is open; the call is " + unlisted
	case d.Window != "":
		return "recorded during campaigns only, and a window is open"
	}
	return "always recorded"
}

// print writes the answer for people.
func (x explanation) print(e *env, loc *time.Location) error {
	const layout = "Mon 2006-01-02 15:04:05 MST"
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %s\t%s\n", name, value)
		}
	}
	verdict := "NOT RECORDED"
	if x.Record {
		verdict = "RECORDED"
	}
	fmt.Fprintf(w, "%s (%s)\n", verdict, x.Reason)
	row("line", x.Line)
	if x.Internal {
		row("queue", x.Queue+" (internal use only)")
	} else {
		row("queue", x.Queue)
	}
	row("rule", x.Rule)
	row("window", x.Window)
	for _, n := range x.Numbers {
		row("number", n.text(x.Source))
	}
	row("at", x.At.In(loc).Format(layout))
	until := "the policy is changed"
	if !x.Until.IsZero() {
		until = x.Until.In(loc).Format(layout)
	}
	row("until", until)
	return w.Flush()
}

// text shows how a number was read, and whether it was the one that decided.
func (r reading) text(decisive string) string {
	read := "read as " + strings.Replace(r.Read, "ext:", "extension ", 1)
	if r.Read == "" {
		read = "not a number"
	}
	note := ""
	if r.Source == decisive {
		note = ", which names the line"
	}
	return fmt.Sprintf("%s %q: %s%s", r.Source, r.Given, read, note)
}
