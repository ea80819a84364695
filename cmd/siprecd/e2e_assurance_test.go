package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"siprecd/recorder"
	"siprecd/recorder/tally"
	"siprecd/siprec/siprectest"
)

// completeness is what the command says of today, once it says that so many
// recordings have ended.
func (s *server) completeness(ended uint64) tally.Day {
	s.t.Helper()
	var d tally.Day
	await(s.t, "the account", 60*time.Second, func() bool {
		d = tally.Day{}
		if err := json.Unmarshal([]byte(s.run("completeness", "--json")), &d); err != nil {
			s.t.Fatal(err)
		}
		return d.All.Finished+d.All.Interrupted >= ended
	})
	return d
}

// TestOneWayIsTold is row B6: within ten seconds of the first packet of the
// call, while it lasts, and in its recording.
func TestOneWayIsTold(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	legs := tones()
	legs[1].Start = 25 * time.Second
	done := place(t, t.Context(), siprectest.Options{Target: "udp://" + s.udp, Legs: legs, Duration: 30 * time.Second})
	var st recorder.Status
	await(t, "the first packet", 20*time.Second, func() bool {
		st = s.status()
		return len(st.Calls) > 0 && len(st.Calls[0].Legs) > 0 && st.Calls[0].Legs[0].Packets > 0
	})
	began := time.Now()
	await(t, "the alarm", 20*time.Second, func() bool { st = s.status(); return len(st.Alarms) > 0 })
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("it was told after %v", took)
	}
	a := st.Alarms[0]
	if st.OK || a.Kind != "one-way" || a.Channel != "right" || a.Line != "Council tax" || a.Call != st.Calls[0].ID || a.Leg != "2" ||
		!strings.Contains(st.Sentence, "one-way") {
		t.Errorf("told %+v, %q", a, st.Sentence)
	}
	if _, text := s.text("/metrics"); !strings.Contains(text, `srs_alarms_active{kind="one-way"} 1`) || !strings.Contains(text, `srs_alarms_raised_total{kind="one-way"} 1`) {
		t.Error("/metrics does not tell it")
	}
	await(t, "the alarm to be over", 40*time.Second, func() bool { st = s.status(); return len(st.Alarms) == 0 })
	if !st.OK || st.AlarmsRaised["one-way"] != 1 {
		t.Errorf("afterwards %q, raised %v", st.Sentence, st.AlarmsRaised)
	}
	<-done
	r := s.finished(1)[0]
	if !slices.Contains(r.Flags, "one-way media") {
		t.Errorf("flags %q", r.Flags)
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "recordings", "*", "*", "*", r.ID, "manifest.json"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Quality []struct {
			Alarms []struct {
				Kind     string
				From, To float64
			}
		}
	}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	if al := m.Quality[1].Alarms; len(al) != 1 || al[0].Kind != "one-way" || al[0].From >= 3 || al[0].To < 24.5 || al[0].To >= 29 {
		t.Errorf("the manifest has %+v", m.Quality)
	}
	if n := strings.Count(s.log.String(), "alarm=one-way"); n != 2 {
		t.Errorf("%d log lines tell of it, want one when it began and one when it was over", n)
	}
	if d := s.completeness(1); d.All.Flagged["one-way"] != 1 {
		t.Errorf("the account says %+v", d.All)
	}
}

// TestCompletenessSurvivesACrash compares the account with the catalogue.
func TestCompletenessSurvivesACrash(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	call := func(n int, d time.Duration) <-chan siprectest.Report {
		return place(t, t.Context(), siprectest.Options{Target: "tcp://" + s.tcp, Legs: tones(), Duration: d, Calls: n, Timeout: 20 * time.Second})
	}
	<-call(3, time.Second)
	s.finished(3)
	_ = call(2, 60*time.Second)
	await(t, "two live calls", 50*time.Second, func() bool { return len(s.list("--state", "live")) == 2 })
	s.kill(syscall.SIGKILL) // perhaps before the account knew of them
	s.start()
	s.finished(5)
	d := s.completeness(5)
	if d.All.Offered != 5 || d.All.Recorded != 5 || d.All.Finished != 3 || d.All.Interrupted != 2 || *d.All.Captured != 1 {
		t.Errorf("the account says %+v", d.All)
	}
	if len(d.Lines) != 1 || d.Lines[0].Name != "Council tax" {
		t.Errorf("lines %+v", d.Lines)
	}
	st := s.status()
	if len(st.Completeness) != 2 || st.Completeness[0].All.Offered != 5 {
		t.Errorf("/status says %+v", st.Completeness)
	}
	if table := s.run("completeness"); !strings.Contains(table, "Council tax") || !strings.Contains(table, "100 %") {
		t.Errorf("the table is\n%s", table)
	}
	if _, text := s.text("/metrics"); !strings.Contains(text, `srs_day_captured_ratio{line="Council tax"} 1`) {
		t.Error("/metrics does not tell it")
	}
	s.kill(syscall.SIGTERM)
	if d := s.completeness(5); d.All.Offered != 5 {
		t.Errorf("without a server the account says %+v", d.All)
	}
	s.run("verify")
	if code, out := s.refused("completeness", "--day", "someday"); code != 2 || !strings.Contains(out, "someday") {
		t.Errorf("a day that is none: %d %q", code, out)
	}
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	csv := filepath.Join(t.TempDir(), "calls.csv")
	write := func(rows ...string) {
		t.Helper()
		if err := os.WriteFile(csv, []byte("\ufeffStart;Talk time;Caller;Called\r\n"+strings.Join(rows, "\r\n")+"\r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	s.run("reconcile", csv) // nothing recorded, nothing to be
	s.start()
	loc, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for i := range 3 {
		rows = append(rows, fmt.Sprintf("%s;0:02;020 7946 010%d;7050", time.Now().In(loc).Format("02/01/2006 15:04:05"), i))
		r, err := siprectest.Run(t.Context(), siprectest.Options{Target: "tcp://" + s.tcp, From: fmt.Sprintf("+44207946010%d", i), Legs: tones(), Duration: 2 * time.Second})
		if err != nil || !r.Calls[0].OK() {
			t.Fatal(r.Calls, err)
		}
	}
	s.finished(3)
	write(rows...)
	if out := s.run("reconcile", csv); !strings.Contains(out, "3 call records") || strings.Contains(out, "MISSING") {
		t.Errorf("all is there, but it says\n%s", out)
	}
	s.kill(syscall.SIGTERM) // the rest without a server
	missed := strings.Replace(rows[0], "0100", "0199", 1)
	long := strings.Replace(rows[2], ";0:02;", ";0:09;", 1)
	write(rows[0], missed, long, strings.Replace(rows[0], ";7050", ";020 8825 1234", 1)+"")
	code, out := s.refused("reconcile", "--json", csv)
	if code != 1 || !strings.Contains(out, `"summary":{"missing":1,"not on the list":1,"recorded":1,"too short":1,"unexpected":1}`) {
		t.Errorf("exit %d, it says\n%s", code, out)
	}
	write(rows[0], "11/23/2026 10:00:00;5;1;2")
	if code, out := s.refused("reconcile", csv); code != 2 || !strings.Contains(out, "calls.csv: line 3, column 1: start") {
		t.Errorf("a bad file: exit %d, it says %s", code, out)
	}
	if code, out := s.refused("reconcile", "--zone", "Nowhere", csv); code != 2 || !strings.Contains(out, "no such zone") {
		t.Errorf("a bad zone: exit %d, it says %s", code, out)
	}
}
