package vigil

import (
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	const patience = 30 * time.Second
	base := time.Now()
	at := func(s int) time.Time { return base.Add(time.Duration(s) * time.Second) }
	// Each case plays ten hours, second by second, and tells when what was due.
	for _, c := range []struct {
		name     string
		facts    Facts
		dead     int // the client answers a probe so: -1 never, 0 alive, 1 unknown
		probe    int // second of the first probe, -1 for none
		gaveUp   int // second, -1 for never
		maxProbe int
	}{
		{"media stops, mute client", Facts{Since: base, Last: at(10), Waiting: true}, -1, 30, 40, 1},
		{"media stops, client lives", Facts{Since: base, Last: at(10), Waiting: true}, 0, 30, 40, 1},
		{"media stops, client lost it", Facts{Since: base, Last: at(10), Waiting: true}, 1, 30, 31, 1},
		{"never heard", Facts{Since: base, Waiting: true}, 0, 20, 300, 10},
		{"never heard, client lost it", Facts{Since: base, Waiting: true}, 1, 20, 21, 1},
		{"on hold for hours", Facts{Since: base, Last: at(10)}, 0, 600, -1, 60},
		{"on hold, mute client", Facts{Since: base, Last: at(10)}, -1, 600, -1, 60},
		{"on hold, client lost it", Facts{Since: base, Last: at(10)}, 1, 600, 601, 1},
	} {
		var w Watch
		w.Stirred(base)
		probe, gaveUp, probes := -1, -1, 0
		for s := 11; s < 36000 && gaveUp < 0; s++ {
			switch w.Judge(at(s), patience, c.facts) {
			case Probe:
				if probes++; probe < 0 {
					probe = s
				}
				if c.dead >= 0 {
					w.Answered(c.dead == 0)
				}
			case GiveUp:
				gaveUp = s
			}
		}
		if probe != c.probe || gaveUp != c.gaveUp || probes > c.maxProbe {
			t.Errorf("%s: %d probes from second %d, given up at %d; want %d, %d", c.name, probes, probe, gaveUp, c.probe, c.gaveUp)
		}
	}
}

func TestARequestStartsThePatienceAnew(t *testing.T) {
	base := time.Now()
	var w Watch
	w.Stirred(base)
	f := Facts{Since: base, Last: base, Waiting: true}
	w.Stirred(base.Add(29 * time.Second))
	if a := w.Judge(base.Add(31*time.Second), 30*time.Second, f); a != None {
		t.Errorf("judged %v after a request", a)
	}
	if a := w.Judge(base.Add(60*time.Second), 30*time.Second, f); a != GiveUp {
		t.Errorf("judged %v", a)
	}
}
