package capture

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"siprecd/cmd/torture/calls"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
)

// shortCall is row B7.
func shortCall(l *rig.Lab) error {
	s, err := started(l)
	if err != nil {
		return err
	}
	rep, err := s.Place(siprectest.Options{Legs: calls.Tones(), Duration: 300 * time.Millisecond, Calls: l.Rounds, Rate: 20, Timeout: 10 * time.Second}).Wait()
	if err != nil {
		return err
	}
	taken := answered(l, rep, briefRounds)
	rows, err := s.Finished(taken, listed)
	if err != nil {
		return err
	}
	l.Count("calls recorded", len(rows), taken)
	brief := 0
	for _, r := range rows {
		if r.Duration < 0.26 {
			brief++
		}
	}
	l.Count("shorter than 0.26 s", brief, 0)
	return settled(l, s, rep.Totals.Packets.Sent)
}

// lostClient is row B5. First the recorder restarts in mid-call: it does not
// know the dialog any more, says so, and nothing is left live. Then, in the
// long form, clients vanish: their recordings end by themselves.
func lostClient(l *rig.Lab) error {
	s, err := started(l)
	if err != nil {
		return err
	}
	if err := afterRestart(l, s); err != nil {
		return err
	}
	if brief(l, lostRounds) {
		return nil // a client is waited for longer than a test may take
	}
	rep, err := s.Place(siprectest.Options{
		Legs: calls.Tones(), Duration: 2 * time.Second, Calls: l.Rounds, Rate: 50, Timeout: 10 * time.Second, Faults: siprectest.Faults{NoBye: true},
	}).Wait()
	if err != nil {
		return err
	}
	vanished := time.Now()
	l.Figure("calls that vanish", fmt.Sprint(rep.Totals.Completed), fmt.Sprint(l.Rounds), rep.Totals.Completed == l.Rounds)
	live, err := s.Metric("srs_sessions_active")
	if err != nil {
		return err
	}
	l.Control("a call that has vanished is live at first", int(live), l.Rounds)
	rows, err := s.Finished(l.Rounds+1, time.Minute)
	if err != nil {
		return err
	}
	l.Within("all closed after their last packet", time.Since(vanished), 35*time.Second)
	causes := 0
	for _, r := range rows {
		if r.Cause != "bye" && !r.Interrupted {
			causes++
		}
	}
	l.Count("recordings that say why they ended", causes, l.Rounds)
	return nil
}

// afterRestart asks a recorder that was killed for a dialog of its former life.
func afterRestart(l *rig.Lab, s *rig.Server) error {
	client, err := siprectest.Dial(l, "udp://"+s.UDP, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	call, err := calls.Up(l, client, siprectest.Options{Legs: calls.Tones(), Duration: time.Hour, Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer call.Vanish()
	before, err := call.Request(l, "OPTIONS", siprectest.Body{})
	if err != nil {
		return err
	}
	l.Count("OPTIONS within a dialog that is known", before.Code, 200)
	if err := l.Sleep(1500 * time.Millisecond); err != nil {
		return err
	}
	s.Kill()
	if _, err := s.Start(); err != nil {
		return err
	}
	again, err := call.ReInvite(l, siprectest.Offer{})
	if err != nil {
		return err
	}
	l.Count("re-INVITE after the restart", again.Code, 481)
	for _, method := range []string{"OPTIONS", "UPDATE", "BYE"} {
		r, err := call.Request(l, method, siprectest.Body{})
		if err != nil {
			return err
		}
		l.Count(method+" after the restart", r.Code, 481)
	}
	rows, err := s.Finished(1, listed)
	if err != nil {
		return err
	}
	l.Figure("the call's recording", fmt.Sprintf("interrupted: %v, %.1f s", rows[0].Interrupted, rows[0].Duration), "interrupted, some of it kept", rows[0].Interrupted && rows[0].Duration > 0)
	return nil
}

// silence is one way in which media stays away, as row B6 tries it.
type silence struct {
	name  string // of the alarm; "" for a whole call, which is the control
	o     siprectest.Options
	legs  int // at fault in a call
	group *group
	since time.Time // all its calls are up
}

func silences() []*silence {
	mute := calls.Tones()
	mute[1].Gaps = []siprectest.Span{{To: time.Hour}}
	return []*silence{
		{name: "", o: siprectest.Options{Legs: calls.Tones()}},
		{name: "one-way", legs: 1, o: siprectest.Options{Legs: mute}},
		{name: "no media", legs: 2, o: siprectest.Options{Legs: calls.Tones(), Faults: siprectest.Faults{NoMedia: true}}},
	}
}

// muted is row B6: calls of which nothing comes, or one side only.
func muted(l *rig.Lab) error {
	alarm, limit := "7s", 10*time.Second // 7s is the default
	if brief(l, mutedRounds) {
		alarm, limit = "1s", 15*time.Second // what is judged is that it is told, not when
	}
	s, err := started(l, "alarms.no_media="+alarm)
	if err != nil {
		return err
	}
	kinds := silences()
	for _, k := range kinds {
		k.o.From, k.o.Duration, k.o.Timeout = "caller-"+k.name, time.Hour, 10*time.Second
		if k.group, err = gather(l, s, l.Rounds, k.o); err != nil {
			return err
		}
		k.since = time.Now()
	}
	for _, k := range kinds[1:] {
		if err := l.Await(k.name+" is on /status", limit+5*time.Second, func() bool { return alarms(s, k.name) == k.legs*l.Rounds }); err != nil {
			return err
		}
		l.AtMost(k.name+" is on /status after", time.Since(k.since), limit)
	}
	for _, k := range kinds {
		if _, err := k.group.end(l, true); err != nil {
			return err
		}
	}
	return mutedKept(l, s, kinds)
}

// mutedKept looks what the recordings say of their silence.
func mutedKept(l *rig.Lab, s *rig.Server, kinds []*silence) error {
	rows, err := s.Finished(len(kinds)*l.Rounds, listed)
	if err != nil {
		return err
	}
	all, err := s.Manifests()
	if err != nil {
		return err
	}
	told, kept := map[string]int{}, map[string]int{}
	for _, r := range rows {
		kind := strings.TrimPrefix(caller(r), "caller-")
		kept[kind]++
		if m := all[r.ID]; m != nil && len(r.Flags) > 0 && absent(m) > 0 {
			told[kind]++
		}
	}
	l.Control("whole calls are not told of", kept[""]-told[""], l.Rounds)
	for _, k := range kinds[1:] {
		l.Count(k.name+": recordings kept", kept[k.name], l.Rounds)
		l.Count(k.name+": recordings that say so, with a flag and in the ledger", told[k.name], l.Rounds)
	}
	return nil
}

// absent is how many stretches without media a manifest tells of.
func absent(m *rig.Manifest) (n int) {
	for _, g := range m.Gaps {
		if g.Reason == "no media" {
			n++
		}
	}
	return n
}

// alarms is how many legs have an alarm of a kind, by /status.
func alarms(s *rig.Server, kind string) (n int) {
	st, err := s.Status()
	if err != nil {
		return -1
	}
	all, _ := st["alarms"].([]any)
	for _, a := range all {
		if m, ok := a.(map[string]any); ok && m["kind"] == kind {
			n++
		}
	}
	return n
}

// drained is row B9: SIGTERM with calls up. First there is time enough for them
// to end by themselves; then there is not, and they are ended.
func drained(l *rig.Lab) error {
	for _, c := range []struct {
		name          string
		length, drain time.Duration
	}{{"time to end", 5 * time.Second, 30 * time.Second}, {"no time to end", time.Minute, 4 * time.Second}} {
		s, err := started(l, "shutdown.drain="+c.drain.String())
		if err != nil {
			return err
		}
		g, err := gather(l, s, l.Rounds, siprectest.Options{Legs: calls.Tones(), Duration: c.length, SharePorts: true, Timeout: 10 * time.Second})
		if err != nil {
			return err
		}
		if err := l.Sleep(500 * time.Millisecond); err != nil {
			return err
		}
		if err := stopped(l, s, c.name, c.drain, g); err != nil {
			return err
		}
	}
	return nil
}

// stopped sends SIGTERM to a server with calls and judges what becomes of them.
func stopped(l *rig.Lab, s *rig.Server, name string, drain time.Duration, g *group) error {
	if err := s.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	began := time.Now()
	// The signal needs a moment to arrive: readiness falls first.
	if err := l.Await("readiness falls", 5*time.Second, func() bool { return s.Get("/readyz") != 200 }); err != nil {
		return err
	}
	late, err := siprectest.Run(l, siprectest.Options{Target: "udp://" + s.UDP, Legs: calls.Tones(), Duration: 100 * time.Millisecond, Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	l.Count(name+": a new call gets", late.Calls[0].Code, 503)
	reports, err := g.end(l, false)
	if err != nil {
		return err
	}
	code, err := s.Exit(drain + time.Minute)
	if err != nil {
		return err
	}
	l.Count(name+": exit code", code, 0)
	if drain > 10*time.Second { // it waits for the calls, and they for nothing
		l.Within(name+": over after", time.Since(began), 15*time.Second)
		l.Count(name+": calls that had to be ended", remote(reports), 0)
		if err := settled(l, s, sentBy(reports)); err != nil {
			return err
		}
	} else {
		l.Within(name+": over after", time.Since(began), drain+10*time.Second)
		l.Count(name+": calls that had to be ended", remote(reports), l.Rounds)
	}
	return whole(l, s, name)
}

// remote is how many calls the recorder ended.
func remote(reports []siprectest.CallReport) (n int) {
	for _, r := range reports {
		if r.Ended == "remote bye" {
			n++
		}
	}
	return n
}

// whole counts the recordings that ended in good order.
func whole(l *rig.Lab, s *rig.Server, name string) error {
	rows, err := s.List()
	if err != nil {
		return err
	}
	good := 0
	for _, r := range rows {
		if r.State == "finished" && !r.Interrupted && r.Duration > 0.4 {
			good++
		}
	}
	l.Count(name+": recordings whole", good, l.Rounds)
	return nil
}
