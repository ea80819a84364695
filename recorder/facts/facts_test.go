package facts

import (
	"strings"
	"testing"
)

func TestJudgeTellsTheWorstInOneSentence(t *testing.T) {
	call := LiveCall{ID: "1", Line: "Council tax", Legs: []Leg{{Channel: "left"}, {Channel: "right"}}}
	mute := LiveCall{ID: "2", Legs: []Leg{{Channel: "left", NoMedia: true}, {Channel: "right", Blocked: true}}}
	alarms := []Alarm{{Call: "2", Channel: "left", Kind: "no media"}, {Call: "2", Channel: "right", Kind: "undecryptable"}}
	for _, c := range []struct {
		name   string
		status Status
		ok     bool
		want   string
	}{
		{"idle", Status{}, true, "no call is live"},
		{"good", Status{Calls: []LiveCall{call}}, true, "1 call live"},
		{"no media", Status{Calls: []LiveCall{call, mute}, Alarms: alarms}, false, "No media on the left channel of a call on an unidentified line (recording 2) (and 1 more)."},
		{"one-way", Status{Alarms: []Alarm{{Call: "2", Line: "Parks", Channel: "left", Kind: "one-way"}}}, false, "being recorded: No media on the left channel of a call on Parks, but on its other side: one-way"},
		{"silent", Status{Alarms: []Alarm{{Call: "2", Channel: "left", Kind: "silent"}}}, false, "Only silence on the left"},
		{"a fault", Status{Faults: []Fault{{Name: "certificate", Text: "the certificate expires soon"}}}, false, "Calls are being recorded, but something is wrong: The certificate expires soon."},
		{"alarm before fault", Status{Alarms: alarms, Faults: []Fault{{Text: "x"}}}, false, "No media on the left channel of a call on an unidentified line (recording 2) (and 2 more)"},
		{"draining", Status{Draining: &Draining{Left: 1}, Checks: []Check{{Name: "serving", Error: "draining"}}}, false, "Draining: new calls are refused; 1 call live left to end."},
		{"not ready", Status{Checks: []Check{{Name: "disk", Error: "the disk is full"}}}, false, "New calls are refused: the disk is full."},
	} {
		c.status.Judge()
		if c.status.OK != c.ok || !strings.Contains(c.status.Sentence, c.want) {
			t.Errorf("%s: %v %q", c.name, c.status.OK, c.status.Sentence)
		}
	}
}
