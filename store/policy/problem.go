package policy

// Severity tells a refusal from a hint.
type Severity int

// Error forbids the policy; Warning is allowed but probably not meant.
const (
	Error Severity = iota
	Warning
)

// String gives "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// Problem is one mistake in a policy.
type Problem struct {
	Severity Severity
	Key      string // dotted path inside the policy, e.g. lines.3.number
	Text     string // a sentence without a full stop
}
