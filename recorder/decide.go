package recorder

import (
	"time"

	"siprecd/siprec"
	"siprecd/store/policy"
)

// metadataState is what the client's metadata has told so far.
type metadataState int

const (
	noMetadata metadataState = iota
	badMetadata
	goodMetadata
)

// String is the state as the status names it.
func (m metadataState) String() string {
	return [...]string{noMetadata: "none", badMetadata: "bad", goodMetadata: "good"}[m]
}

// Unidentified is the reason of a decision to record a call whose line is not
// known although a number is: see decide.
const Unidentified = "unidentified"

// decide asks the policy. That no listed number is named proves something only
// once the called side's number is known: some clients tell it late. Without
// readable metadata it proves nothing at all, since To and Request-URI then
// often name the recorder itself. Such calls are recorded and flagged.
func (r *Recorder) decide(id siprec.Identity, m metadataState) policy.Decision {
	named := make([]policy.Named, len(id.Lines))
	for i, c := range id.Lines {
		named[i] = policy.Named{Value: c.Value, Source: c.Source}
	}
	d := r.cfg.Rules.Decide(named, time.Now())
	proven := m == goodMetadata && r.cfg.Rules.Normalise(id.Called.Value) != ""
	if d.Reason == policy.NotListed && !proven {
		return policy.Decision{Record: true, Reason: Unidentified}
	}
	return d
}

// lineOf is the listed line that a number belongs to, "" for none.
func (r *Recorder) lineOf(number string) string {
	return r.cfg.Rules.Decide([]policy.Named{{Value: number}}, time.Now()).Line
}
