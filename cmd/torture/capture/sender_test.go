package capture

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"

	"siprecd/cmd/torture/hear"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest/audio"
	"siprecd/store"
)

func base(sh shape) shape {
	sh.pcm, sh.ptime, sh.seed = hear.Speechlike(20*hear.Rate), ptime, 7
	sh.sequence, sh.stamp, sh.ssrc = 65500, 1<<32-1000, 9
	return sh
}

// TestPlanTellsTheFateOfEveryPacket looks at what is sent, and finds what the
// plan says of it.
func TestPlanTellsTheFateOfEveryPacket(t *testing.T) {
	for _, tr := range troubles() {
		sh := base(tr.shape)
		f := sh.plan()
		again := sh.plan()
		if f.made != 1000 || !slices.EqualFunc(f.packets, again.packets, func(a, b packet) bool { return a.at == b.at && bytes.Equal(a.raw, b.raw) }) {
			t.Errorf("%s: %d packets made, or not the same twice", tr.name, f.made)
		}
		seen := map[int]int{}
		late := 0
		for i, p := range f.packets {
			n := int(uint16(binary.BigEndian.Uint16(p.raw[2:]) - sh.sequence))
			due := time.Duration(n) * ptime
			if stamp := binary.BigEndian.Uint32(p.raw[4:]) - sh.stamp; int(stamp) != n*160 || len(p.raw) != 172 || p.raw[1] != typeALw {
				t.Fatalf("%s: packet %d has stamp %d and %d bytes", tr.name, n, stamp, len(p.raw))
			}
			if (n < guard || n >= 1000-guard) && p.at != due {
				t.Errorf("%s: packet %d at the edge leaves at %v", tr.name, n, p.at)
			}
			if p.at >= due+lateBy {
				late++
			}
			if p.at < due || i > 0 && p.at < f.packets[i-1].at {
				t.Errorf("%s: packet %d leaves at %v", tr.name, n, p.at)
			}
			seen[n]++
		}
		if lost, double := f.made-len(seen), len(f.packets)-len(seen); lost != f.lost || double != f.double || late != f.late {
			t.Errorf("%s: %d lost, %d doubled, %d late; the plan says %d, %d, %d", tr.name, lost, double, late, f.lost, f.double, f.late)
		}
		hurt := f.lost + f.double + f.late
		if moved := tr.shape.swap > 0 || tr.shape.jitter > 0; (hurt > 0) == (tr.name == "none" || moved && tr.name != "all of it") {
			t.Errorf("%s: %d packets are hurt", tr.name, hurt)
		}
	}
	if lost := base(shape{loss: 0.3}).plan().lost; math.Abs(float64(lost)-0.3*950) > 60 {
		t.Errorf("30 %% of 950 packets are %d", lost)
	}
}

// TestTurns looks at the audio of streams that change: all of it is sent, once,
// whatever the packets are like.
func TestTurns(t *testing.T) {
	for _, ch := range changes(20 * hear.Rate) {
		sh := base(shape{turns: ch.turns})
		f := sh.plan()
		bytes, kinds, sources := 0, map[byte]bool{}, map[uint32]bool{}
		for _, p := range f.packets {
			bytes += len(p.raw) - 12
			kinds[p.raw[1]] = true
			sources[binary.BigEndian.Uint32(p.raw[8:])] = true
		}
		if bytes != len(sh.pcm) || len(f.packets) != f.made {
			t.Errorf("%s: %d samples of %d, %d packets of %d", ch.name, bytes, len(sh.pcm), len(f.packets), f.made)
		}
		if want := map[string]int{"another SSRC": 2, "another SSRC, numbers from anew": 3}[ch.name]; len(sources) != max(want, 1) {
			t.Errorf("%s: %d sources", ch.name, len(sources))
		}
		if (ch.name == "another codec") != (len(kinds) == 2) {
			t.Errorf("%s: %d payload types", ch.name, len(kinds))
		}
	}
}

func TestPlaySendsInTime(t *testing.T) {
	f := shape{pcm: make([]int16, audio.Samples(100*time.Millisecond)), ptime: ptime, ssrc: 1}.plan()
	began := time.Now()
	sent := [2]int{}
	err := play(t.Context(), []fate{f, f}, func(leg int, raw []byte) error {
		if due := time.Duration(sent[leg]) * ptime; time.Since(began) < due {
			t.Errorf("packet %d leaves before %v", sent[leg], due)
		}
		sent[leg]++
		return nil
	})
	if err != nil || sent != [2]int{5, 5} {
		t.Errorf("%v sent, %v", sent, err)
	}
}

func TestTally(t *testing.T) {
	calls := []*offered{{number: 1}, {number: 2}, {number: 12}}
	row := func(user string) store.Row { return store.Row{Caller: "sip:" + user + "@example.net"} }
	for _, c := range []struct {
		rows    []store.Row
		missing []int
		extra   int
	}{
		{[]store.Row{row("caller-12"), row("caller-1"), row("caller-2")}, nil, 0},
		{[]store.Row{row("caller-1"), row("caller-1"), row("caller-2")}, []int{12}, 1},
		{[]store.Row{row("caller-1"), row("other")}, []int{2, 12}, 1},
	} {
		if missing, extra := tally(calls, c.rows); !slices.Equal(missing, c.missing) || extra != c.extra {
			t.Errorf("%v: missing %v, %d extra", c.rows, missing, extra)
		}
	}
}

func TestSlope(t *testing.T) {
	var flat, leak []look
	for i := range 120 { // 20 minutes
		hours := float64(i) * churnEvery / 3600
		swing := float64(i%6) * 3 // the collector's
		flat = append(flat, look{hours, 60 + swing})
		leak = append(leak, look{hours, 60 + swing + 30*hours})
	}
	if got := slope(flat); math.Abs(got) > 0.1 {
		t.Errorf("what only swings grows by %.2f MiB an hour", got)
	}
	if got := slope(leak); math.Abs(got-30) > 1 {
		t.Errorf("30 MiB an hour are taken for %.2f", got)
	}
	if got := slope(flat[:1]); got != 0 {
		t.Errorf("one look grows by %v", got)
	}
}

func TestExcused(t *testing.T) {
	m := &rig.Manifest{Gaps: []rig.Gap{{Channel: "left", From: 1, To: 1.02}}}
	for at, want := range map[time.Duration]bool{900 * time.Millisecond: false, 950 * time.Millisecond: true, 1070 * time.Millisecond: true, 1100 * time.Millisecond: false} {
		if excused(m, "left", at) != want || excused(m, "right", at) {
			t.Errorf("at %v", at)
		}
	}
}
