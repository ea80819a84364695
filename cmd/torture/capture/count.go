package capture

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"siprecd/cmd/torture/hear"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest/audio"
	"siprecd/store"
)

// tally says which calls have no recording, and how many recordings are of no
// call or of one that has another.
func tally(calls []*offered, rows []store.Row) (missing []int, extra int) {
	by := map[string]int{}
	for _, r := range rows {
		by[caller(r)]++
	}
	for _, c := range calls {
		if by[name(c.number)] == 0 {
			missing = append(missing, c.number)
			continue
		}
		by[name(c.number)]--
	}
	for _, n := range by {
		extra += n
	}
	return missing, extra
}

// caller is the user part of the caller's address.
func caller(r store.Row) string {
	user, _, _ := strings.Cut(strings.TrimPrefix(r.Caller, "sip:"), "@")
	return user
}

// sums is what the recordings of row B1 come to.
type sums struct {
	sent, written, told, injected int             // packets
	control                       int             // packets that the control call is short of
	late                          int             // calls that are not counted, for our own sender was late
	wrong                         []time.Duration // how much a recording's length is off
}

// add holds one recording against the call that was placed; last is the control
// call's number.
func (t *sums) add(m *rig.Manifest, c *offered, last int) {
	diff := (time.Duration(m.Duration*float64(time.Second)) - c.length).Abs()
	t.wrong = append(t.wrong, diff)
	w, g, made, lost := account(m, c)
	switch {
	case c.late: // what it lacks, nobody can tell from what was lost
		t.late++
	case c.number == last:
		t.control = made - w - g
	default:
		t.sent, t.written, t.told, t.injected = t.sent+made-lost, t.written+w, t.told+g, t.injected+lost
	}
}

// lengths is how much lengths are off: the most of all, and of 999 of 1,000.
func (t *sums) lengths() (worst, most time.Duration) {
	if len(t.wrong) == 0 {
		return 0, 0
	}
	slices.Sort(t.wrong)
	return t.wrong[len(t.wrong)-1], t.wrong[(len(t.wrong)-1)*999/1000]
}

// packetsAndLengths holds every recording against the call that was placed.
func packetsAndLengths(l *rig.Lab, s *rig.Server, calls []*offered, rows []store.Row) error {
	all, err := s.Manifests()
	if err != nil {
		return err
	}
	of := make(map[string]*offered, len(calls))
	for _, c := range calls {
		of[name(c.number)] = c
	}
	var t sums
	for _, r := range rows {
		c, m := of[caller(r)], all[r.ID]
		if c == nil || m == nil {
			return fmt.Errorf("recording %s has no call, or no manifest", r.ID)
		}
		t.add(m, c, l.Rounds)
	}
	full := !brief(l, sippRounds)
	l.Figure("packets written and in the ledger", fmt.Sprintf("%d + %d", t.written, t.told), fmt.Sprintf("%d sent + %d lost on purpose", t.sent, t.injected),
		(t.sent > 0 || !full) && t.written+t.told == t.sent+t.injected)
	if slices.ContainsFunc(calls, func(c *offered) bool { return c.number == l.Rounds && !c.late }) {
		l.Control("packets missing at the end of a call are missed by that sum", t.control, 2*unknown)
	}
	worst, most := t.lengths()
	l.Logf("lengths are off by %v at most, 999 of 1,000 by %v at most; %d calls not counted", worst, most, t.late)
	if !full {
		return nil
	}
	l.Figure("calls not counted, for our own sender was late", fmt.Sprint(t.late), "≤ 1 %", t.late*100 <= len(calls))
	// The call's length is by SIPp's clock, which tells when it wrote its log: a
	// few lines come late on any machine.
	l.Figure("a recording's length is off by, 999 of 1,000", fmt.Sprintf("%v at most; the others %v at most", most.Round(time.Millisecond), worst.Round(time.Millisecond)), "≤ "+within.String(), most <= within)
	return sampled(l, s, rows)
}

// account counts packets of a call: written, in the ledger, made, lost on
// purpose.
func account(m *rig.Manifest, c *offered) (written, told, made, lost int) {
	for leg, ch := range channels {
		if st := m.Stream(ch); st != nil {
			written += st.Packets
		}
		told += m.Missing(ch)
		made += c.fate[leg].made
		lost += c.fate[leg].lost
	}
	return written, told, made, lost
}

// sampled lets an outsider hear some of the recordings.
func sampled(l *rig.Lab, s *rig.Server, rows []store.Row) error {
	const samples = 50
	heardWell := 0
	for i := range samples {
		path, err := s.Export(rows[i*len(rows)/samples].ID)
		if err != nil {
			return err
		}
		pcm, err := hear.Decode(l, path, 2)
		if err != nil {
			return err
		}
		good := 0
		for leg := range pcm {
			sent := speech(leg, sippMedia)
			start := hear.Start(sent, pcm[leg], startWithin)
			for _, w := range hear.Align(sent, pcm[leg], start, reachStill) {
				if w.Likely > likely {
					good++
				}
			}
		}
		if want := 2 * audio.Samples(sippMedia) / hear.Window; good*2 > want { // those that lose packets included
			heardWell++
		}
	}
	l.Count("recordings of 50 in which both parties are heard", heardWell, samples)
	return nil
}
