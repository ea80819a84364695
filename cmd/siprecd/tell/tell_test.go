package tell

import (
	"bytes"
	"testing"
	"time"

	"siprecd/recorder"
)

func TestTellerTellsEachChangeOnce(t *testing.T) {
	at := time.Date(2026, 11, 23, 13, 40, 5, 0, time.UTC)
	call := recorder.LiveCall{ID: "0199-a", Line: "parks", Queue: "trees", Legs: []recorder.Leg{
		{Label: "1", Channel: "left", Port: 20000, Packets: 50}, {Label: "2", Channel: "right", Port: 20002},
	}}
	deaf := call
	deaf.Legs = []recorder.Leg{call.Legs[0], {Label: "2", Channel: "right", Port: 20002, NoMedia: true}}
	deaf.Seconds = 65
	for _, tt := range []struct {
		name        string
		before, now recorder.Status
		want        string
	}{
		{"nothing", recorder.Status{Sentence: "x"}, recorder.Status{Sentence: "x"}, ""},
		{"call", recorder.Status{}, recorder.Status{Calls: []recorder.LiveCall{call}}, "call     started   parks > trees 0199-a"},
		{"no media", recorder.Status{Calls: []recorder.LiveCall{call}}, recorder.Status{Calls: []recorder.LiveCall{deaf}}, "stream   no media  parks > trees 0199-a right (2)"},
		{"media", recorder.Status{Calls: []recorder.LiveCall{deaf}}, recorder.Status{Calls: []recorder.LiveCall{call}}, "stream   media     parks > trees 0199-a right (2)"},
		{"end", recorder.Status{Calls: []recorder.LiveCall{deaf}}, recorder.Status{}, "call     ended     parks > trees 0199-a last seen at 1:05, 50 packets, 0 lost"},
		{"check", recorder.Status{Checks: []recorder.Check{{Name: "journal", OK: true}}}, recorder.Status{Checks: []recorder.Check{{Name: "journal", Error: "disk\nfull"}}}, "check    failing   journal: disk full"},
		{"check again", recorder.Status{Checks: []recorder.Check{{Name: "journal"}}}, recorder.Status{Checks: []recorder.Check{{Name: "journal", OK: true}}}, "check    ok        journal"},
		{"problem", recorder.Status{}, recorder.Status{Problems: []string{"no disk"}}, "problem  new       no disk"},
		{"solved", recorder.Status{Problems: []string{"no disk"}}, recorder.Status{}, "problem  gone      no disk"},
		{"decision", recorder.Status{Decisions: map[string]uint64{"not-listed": 2}}, recorder.Status{Decisions: map[string]uint64{"not-listed": 5}}, "policy   +3        not-listed (5 since start)"},
		{"refusal", recorder.Status{}, recorder.Status{Refusals: map[string]uint64{"peer": 1}}, "refused  +1        peer (1 since start)"},
	} {
		var out bytes.Buffer
		tt.before.At, tt.now.At = at, at
		teller := New(&out)
		if err := teller.Tell(tt.before); err != nil {
			t.Fatal(err)
		}
		out.Reset()
		if err := teller.Tell(tt.now); err != nil {
			t.Fatal(err)
		}
		want := ""
		if tt.want != "" {
			want = "2026-11-23 13:40:05  " + tt.want + "\n"
		}
		if out.String() != want {
			t.Errorf("%s: said %q, want %q", tt.name, &out, want)
		}
	}
}
