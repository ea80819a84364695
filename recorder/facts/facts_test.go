package facts

import (
	"strings"
	"testing"
)

func TestJudgeTellsTheWorstInOneSentence(t *testing.T) {
	call := LiveCall{ID: "1", Line: "Council tax", Legs: []Leg{{Channel: "left"}, {Channel: "right"}}}
	mute := LiveCall{ID: "2", Legs: []Leg{{Channel: "left", NoMedia: true}, {Channel: "right", Blocked: true}}}
	for _, c := range []struct {
		name   string
		status Status
		ok     bool
		want   string
	}{
		{"idle", Status{}, true, "no call is live"},
		{"good", Status{Calls: []LiveCall{call}}, true, "1 call live"},
		{"no media", Status{Calls: []LiveCall{call, mute}}, false, "No media on the left channel of a call on an unidentified line (recording 2) (and 1 more)."},
		{"not ready", Status{Checks: []Check{{Name: "disk", Error: "the disk is full"}}}, false, "New calls are refused: the disk is full."},
	} {
		c.status.Judge()
		if c.status.OK != c.ok || !strings.Contains(c.status.Sentence, c.want) {
			t.Errorf("%s: %v %q", c.name, c.status.OK, c.status.Sentence)
		}
	}
}
