// Package policy holds the recording policy: which lines are recorded, and
// when. It is pure data and rules: no I/O once New has returned, no clock.
//
//	Policy ──New──► Rules ──Decide(candidates, at)──► Decision
//	                  │
//	                  └─ numbers in one canonical form: +442088257050, ext:7050, *21#
//
// Promises: a number matches a line only as a whole, never by its last
// digits; a bare extension matches only at exactly the configured length. A
// day of a window is a local day: it begins and ends at local midnight,
// whatever the clocks do. The same policy, candidates and moment always give
// the same decision.
//
// Caveats: the first candidate that names a line or a sub-queue wins, so the
// order of the candidates is the caller's judgement. International numbers
// without a plus are recognised by the prefix 00. Hours are read off the wall
// clock: an hour that the clock shows twice counts twice, and one that it
// skips does not happen. The host's time zone files are preferred, as they
// may be newer; the embedded ones serve a host that has none.
package policy

import (
	"time"
	_ "time/tzdata" // a host without zone files must not decide otherwise
)

// Policy is the recording policy as configured.
type Policy struct {
	Timezone  string    `yaml:"timezone" default:"Europe/London"` // IANA name
	Numbering Numbering `yaml:"numbering"`
	Unlisted  string    `yaml:"unlisted" default:"accept" oneof:"accept|refuse"` // accept: answer and discard; refuse: 403
	Lines     []Line    `yaml:"lines" required:"true"`

	// KeepMetadata names what is stored of a call beside its audio, of
	// Fields; "all" or none listed: everything, "none": nothing (RFC 7865
	// section 10: no more than local policy needs).
	KeepMetadata []string `yaml:"keep_metadata" default:"[all]"`
}

// Fields are what KeepMetadata can name.
func Fields() []string {
	return []string{"call_id", "call_key", "direction", "caller", "called", "agent", "peer", "parties", "history", "documents"}
}

// Numbering says how numbers are written in this place.
type Numbering struct {
	Country   string `yaml:"country" default:"44"`  // country code: "44"
	Trunk     string `yaml:"trunk" default:"0"`     // national prefix: "0"; "" for none
	Area      string `yaml:"area" default:"20"`     // area code without prefix, for locally dialled numbers: "20"; "" for none
	Extension int    `yaml:"extension" default:"4"` // length of bare extensions in digits: 4; 0 for none
}

// Line is one listed line.
type Line struct {
	Name    string   `yaml:"name" required:"true"`
	Number  string   `yaml:"number" required:"true"`
	Always  bool     `yaml:"record" default:"always" oneof:"campaigns|always"` // false: only inside Windows
	DTMF    bool     `yaml:"dtmf" default:"drop" oneof:"drop|keep"`            // true: the digits dialled during a call are kept in its history
	Windows []Window `yaml:"windows" default:"[]"`                             // when it is recorded, unless Always
	Queues  []Queue  `yaml:"queues" default:"[]"`
}

// Queue is a sub-queue of a line. With Match, a candidate that is equal to it
// finds the line too; without, the queue's name only refines a line that was
// found by its number.
type Queue struct {
	Name     string `yaml:"name" required:"true"`
	Internal bool   `yaml:"internal" default:"false"` // internal use only
	Match    string `yaml:"match" default:"''"`       // how the client names it: a number or a name
}

// Window is a span of local dates, both included, optionally narrowed to days
// and hours.
type Window struct {
	Name  string   `yaml:"name" required:"true"`
	From  string   `yaml:"from" required:"true"` // YYYY-MM-DD
	To    string   `yaml:"to" required:"true"`   // YYYY-MM-DD
	Days  []string `yaml:"days" default:"[]"`    // mon tue wed thu fri sat sun; none: every day
	Hours string   `yaml:"hours" default:"''"`   // HH:MM-HH:MM, the end not included, 24:00 allowed; "": all day
}

// Named is a number, or a name, and where it stood.
type Named struct{ Value, Source string }

// Reasons of a decision, as stable codes.
const (
	Listed        = "listed"         // recorded
	NotListed     = "not-listed"     // there are numbers, but none is a listed line
	OutsideWindow = "outside-window" // the line is listed, but not recorded now
	NoNumber      = "no-number"      // no candidate holds a number
)

// Decision is the policy's answer, with its reason. It holds no personal
// data: names are those of the policy, and Source is a place, not a number.
type Decision struct {
	Record   bool      `json:"record"`
	Reason   string    `json:"reason"` // stable code: Listed, NotListed, OutsideWindow, NoNumber
	Line     string    `json:"line,omitempty"`
	Queue    string    `json:"queue,omitempty"`
	Internal bool      `json:"internal,omitempty"` // the queue is for internal use only
	DTMF     bool      `json:"dtmf,omitempty"`     // the digits dialled during the call are kept
	Window   string    `json:"window,omitempty"`
	Source   string    `json:"source,omitempty"` // which candidate matched, e.g. "To"
	Until    time.Time `json:"until,omitzero"`   // next moment at which Record changes, UTC; zero: never
}
