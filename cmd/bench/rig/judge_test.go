package rig

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"siprecd/siprec/siprectest"
	"siprecd/store"
)

// whole are the manifests of calls of which nothing is missing.
func whole(l Load) (list []store.Manifest) {
	for range l.Calls {
		list = append(list, store.Manifest{
			Duration: l.Length.Seconds() + 0.05,
			Quality:  json.RawMessage(`[{"channel":"left","packets":500},{"channel":"right","packets":500}]`),
		})
	}
	return list
}

func TestJudgeManifests(t *testing.T) {
	l := Load{Calls: 3, Length: 10 * time.Second}
	for _, c := range []struct {
		name  string
		spoil func(list []store.Manifest) []store.Manifest
		want  string // a part of the first fault; "" for none
	}{
		{"whole", func(m []store.Manifest) []store.Manifest { return m }, ""},
		{"one is missing", func(m []store.Manifest) []store.Manifest { return m[1:] }, "2 recordings of 3 calls"},
		{"short", func(m []store.Manifest) []store.Manifest { m[1].Duration = 9.9; return m }, "1 recordings incomplete"},
		{"far too long", func(m []store.Manifest) []store.Manifest { m[1].Duration = 13; return m }, "1 recordings incomplete"},
		{"interrupted", func(m []store.Manifest) []store.Manifest { m[2].Interrupted = true; return m }, "1 recordings incomplete"},
		{"a gap", func(m []store.Manifest) []store.Manifest { m[2].Gaps = []store.Gap{{}}; return m }, "1 recordings incomplete"},
		{"one party", func(m []store.Manifest) []store.Manifest {
			m[0].Quality = json.RawMessage(`[{"channel":"left","packets":1000}]`)
			return m
		}, "1 recordings incomplete"},
		{"a packet less", func(m []store.Manifest) []store.Manifest {
			m[0].Quality = json.RawMessage(`[{"channel":"left","packets":500},{"channel":"right","packets":499,"lost":1}]`)
			return m
		}, "2999 of 3000 packets recorded, 1 lost, 0 too late"},
		{"a packet too late", func(m []store.Manifest) []store.Manifest {
			m[0].Quality = json.RawMessage(`[{"channel":"left","packets":500},{"channel":"right","packets":500,"late":1}]`)
			return m
		}, "1 too late"},
	} {
		faults := JudgeManifests(c.spoil(whole(l)), l)
		if c.want == "" && len(faults) > 0 || c.want != "" && (len(faults) == 0 || !strings.Contains(faults[0], c.want)) {
			t.Errorf("%s: %q, want %q", c.name, faults, c.want)
		}
	}
}

func TestJudgeReport(t *testing.T) {
	l := Load{Calls: 2, Length: 10 * time.Second}
	good := siprectest.Report{Totals: siprectest.Totals{Calls: 2, Completed: 2, Packets: siprectest.LegReport{Sent: 2000}}}
	if faults := JudgeReport(good, l); len(faults) > 0 {
		t.Errorf("%q", faults)
	}
	for name, spoil := range map[string]func(*siprectest.Totals){
		"refused":   func(t *siprectest.Totals) { t.Completed = 1 },
		"not sent":  func(t *siprectest.Totals) { t.Packets.Sent-- },
		"not taken": func(t *siprectest.Totals) { t.Packets.Failed++ },
	} {
		r := good
		spoil(&r.Totals)
		if len(JudgeReport(r, l)) == 0 {
			t.Errorf("%s: no fault", name)
		}
	}
}

func TestJudgeList(t *testing.T) {
	row := store.Row{State: store.Finished}
	if faults := JudgeList([]store.Row{row, row}, 2); len(faults) > 0 {
		t.Errorf("%q", faults)
	}
	for name, rows := range map[string][]store.Row{
		"too few":     {row},
		"too many":    {row, row, row},
		"live":        {row, {State: store.Live}},
		"interrupted": {row, {State: store.Finished, Interrupted: true}},
	} {
		if len(JudgeList(rows, 2)) == 0 {
			t.Errorf("%s: no fault", name)
		}
	}
}

func TestLevel(t *testing.T) {
	if got := level([]int16{16384, 0, -16384, 0}, 0, 2); got < -6.1 || got > -5.9 {
		t.Errorf("left at %v dB", got)
	}
	if got := level([]int16{16384, 0, -16384, 0}, 1, 2); got > -90 {
		t.Errorf("right at %v dB", got)
	}
}

func TestLoad(t *testing.T) {
	l := Load{Calls: 300, Rate: 30, Length: 32200 * time.Millisecond}
	if l.Ramp() != 10*time.Second || l.Packets() != 1610 {
		t.Errorf("%v, %d packets", l.Ramp(), l.Packets())
	}
	if Dialled("020 8825 7050") != "02088257050" {
		t.Error("blanks are dialled")
	}
}
