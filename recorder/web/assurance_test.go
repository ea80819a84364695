package web

import (
	"strings"
	"testing"
	"time"

	"siprecd/recorder"
)

// assured is a status with everything that assurance tells.
func assured() recorder.Status {
	st := aStatus()
	at, most := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), 0.99996
	st.Alarms = []recorder.Alarm{{Call: "0199-aaaa", Line: "council tax", Leg: "2", Channel: "right", Kind: "one-way", Since: at}}
	st.Calls[0].Legs[1].Alarm = "one-way"
	st.AlarmsRaised = map[string]uint64{"one-way": 3}
	st.Faults = []recorder.Fault{{Name: "clock", Text: "the clock was stepped", Since: at}}
	all := recorder.Line{Offered: 30000, Recorded: 29999, Finished: 29998, Interrupted: 1, Captured: &most, GapSeconds: 1.5,
		Refused: map[string]uint64{"No Media Port": 1}, Flagged: map[string]uint64{"silent": 2, "one-way": 1}}
	line := all
	line.Name = "council tax"
	st.Completeness = []recorder.Day{{Date: "2026-11-23", Lines: []recorder.Line{line}, All: all}, {Date: "2026-11-22"}}
	st.Judge()
	return st
}

func TestPageTellsAlarmsFaultsAndCompleteness(t *testing.T) {
	st := assured()
	_, body := get(t, serve(t, &fakeSource{status: st}).URL+"/status", "text/html")
	for _, want := range []string{
		"<b>One-way</b>", "No media on the right channel of a call on council tax", "The clock was stepped.", "Completeness",
		"2026-11-23", "30\u202f000", "29\u202f999", "99.99 %", "1 No Media Port", "2 silent", "1.5 s", "2026-11-22", "No call was offered",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(body, "100 %") {
		t.Error("a day with a missing call is shown as whole")
	}
	st.Draining = &recorder.Draining{Since: time.Now(), Left: 3}
	if _, body = get(t, serve(t, &fakeSource{status: st}).URL+"/status", "text/html"); !strings.Contains(body, "3 left to end") {
		t.Error("the page does not tell that it drains")
	}
}

func TestMetricsTellAlarmsFaultsAndCompleteness(t *testing.T) {
	_, body := get(t, serve(t, &fakeSource{status: assured()}).URL+"/metrics", "application/openmetrics-text; version=1.0.0")
	for _, want := range []string{
		`srs_alarms_active{kind="one-way"} 1.0`, `srs_alarms_active{kind="silent"} 0.0`, `srs_alarms_raised_total{kind="one-way"} 3.0`,
		`srs_fault{fault="clock"} 1.0`, "srs_draining 0.0\n", `srs_day_calls_offered{line="council tax"} 30000.0`,
		`srs_day_calls_refused{line="council tax"} 1.0`, `srs_day_calls_flagged{line="council tax"} 3.0`, `srs_day_captured_ratio{line="council tax"} 0.99996`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %q", want)
		}
	}
}

func TestShare(t *testing.T) {
	for v, want := range map[float64]string{1: "100 %", 0.999999: "99.99 %", 0.5: "50.00 %", 0: "0.00 %"} {
		if got := Share(&v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	if got := Share(nil); got != "–" {
		t.Errorf("nothing offered: %s", got)
	}
}
