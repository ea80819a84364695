package siprectest_test

import (
	"slices"
	"testing"
	"time"

	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
)

// runLeg places one call whose first leg is l, and returns what came of it.
func runLeg(t *testing.T, l siprectest.Leg, d time.Duration, seed uint64) ([]arrival, siprectest.LegReport) {
	t.Helper()
	got, c := runCall(t, l, d, seed)
	return got, c.Legs[0]
}

// runCall does as runLeg, with the report of the whole call.
func runCall(t *testing.T, l siprectest.Leg, d time.Duration, seed uint64) ([]arrival, siprectest.CallReport) {
	t.Helper()
	u := newUAS(t, "udp")
	ptime := 20 * time.Millisecond
	if d == time.Second { // 100 packets
		ptime = 10 * time.Millisecond
	}
	if l.Audio.PCM == nil {
		l.Audio = audio.Tone(300, -20)
	}
	r, err := siprectest.Run(testContext(t), siprectest.Options{Target: u.target, Duration: d, Ptime: ptime, Seed: seed, Legs: []siprectest.Leg{l}})
	if err != nil || !r.OK() {
		t.Fatalf("%v %v", err, r)
	}
	leg := r.Calls[0].Legs[0]
	got := u.packets(0, leg.Sent)
	if len(got) != leg.Sent {
		t.Errorf("%d packets came, %d were reported", len(got), leg.Sent)
	}
	return got, r.Calls[0]
}

// numbers are the packets' places in the stream.
func numbers(got []arrival, leg siprectest.LegReport) (out []int) {
	for _, p := range got {
		out = append(out, int(p.SequenceNumber-leg.FirstSequence))
	}
	return out
}

func TestLossIsSeeded(t *testing.T) {
	t.Parallel()
	imp := siprectest.Impair{Loss: 0.2}
	got1, leg1 := runLeg(t, siprectest.Leg{Impair: imp}, time.Second, 7)
	got2, leg2 := runLeg(t, siprectest.Leg{Impair: imp}, time.Second, 7)
	got3, leg3 := runLeg(t, siprectest.Leg{Impair: siprectest.Impair{Loss: 0.2, Duplicate: 0.3}}, time.Second, 7)
	n1, n2, n3 := numbers(got1, leg1), numbers(got2, leg2), slices.Compact(numbers(got3, leg3))
	if leg1.Dropped < 10 || leg1.Dropped > 35 || leg1.Sent+leg1.Dropped != 100 {
		t.Errorf("%+v: want about 20 of 100 lost", leg1)
	}
	if !slices.Equal(n1, n2) {
		t.Error("the same seed lost different packets")
	}
	if !slices.Equal(n1, n3) {
		t.Error("duplicates changed which packets are lost")
	}
	if leg3.Duplicated == 0 || len(got3) != len(n3)+leg3.Duplicated {
		t.Errorf("%+v: %d packets, %d of them different", leg3, len(got3), len(n3))
	}
	if other, leg := runLeg(t, siprectest.Leg{Impair: imp}, time.Second, 8); slices.Equal(n1, numbers(other, leg)) {
		t.Error("another seed lost the same packets")
	}
}

func TestReorder(t *testing.T) {
	t.Parallel()
	got, leg := runLeg(t, siprectest.Leg{Impair: siprectest.Impair{Reorder: 0.2}}, time.Second, 1)
	n, swaps := numbers(got, leg), 0
	for i := 1; i < len(n); i++ {
		if n[i] < n[i-1] {
			swaps++
			if n[i] != n[i-1]-1 {
				t.Errorf("packet %d after %d", n[i], n[i-1])
			}
		}
	}
	slices.Sort(n)
	if len(slices.Compact(n)) != 100 || leg.Reordered < 5 || swaps < leg.Reordered-1 || swaps > leg.Reordered {
		t.Errorf("%+v: %d swaps in %d packets", leg, swaps, len(n))
	}
}

func TestGapJumpForeign(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	got, call := runCall(t, siprectest.Leg{Impair: siprectest.Impair{
		Gaps:    []siprectest.Span{{From: 200 * ms, To: 400 * ms}},
		Jumps:   []siprectest.Jump{{At: 600 * ms, Timestamp: -5000, Sequence: 1000, SSRC: 99}},
		Foreign: []siprectest.Foreign{{Span: siprectest.Span{From: 700 * ms, To: 760 * ms}, PayloadType: 97}},
	}}, 800*ms, 0)
	leg, began := call.Legs[0], call.MediaAt
	if leg.Skipped != 10 || leg.Foreign != 3 || len(got) != 30 {
		t.Fatalf("%+v, %d packets", leg, len(got))
	}
	for i, p := range got {
		seq, ts, ssrc, pt := i, i*160, leg.SSRC, uint8(8)
		if i >= 10 {
			ts += 10 * 160
		}
		if i >= 20 {
			seq, ts, ssrc = seq+1000, ts-5000, 99
		}
		if i >= 25 && i < 28 {
			pt = 97
		}
		if p.SequenceNumber != leg.FirstSequence+uint16(seq) || p.Timestamp != leg.FirstTimestamp+uint32(ts) ||
			p.SSRC != ssrc || p.PayloadType != pt || p.Marker != (i == 0 || i == 10) {
			t.Errorf("packet %d: %+v", i, p.Header)
		}
	}
	if d := got[10].at.Sub(began); d < 400*ms {
		t.Errorf("the gap was over after %v", d)
	}
}

func TestEvent(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	got, leg := runLeg(t, siprectest.Leg{Impair: siprectest.Impair{
		Events: []siprectest.Event{{At: 100 * ms, For: 100 * ms, Digit: '#'}}}}, 300*ms, 0)
	if leg.Events != 7 || len(got) != 17 {
		t.Fatalf("%+v, %d packets: want 5 + 2 for the event", leg, len(got))
	}
	for i, p := range got[5:12] {
		n := min(i+1, 5)
		end := byte(0)
		if n == 5 {
			end = 0x80
		}
		want := []byte{11, end | 10, byte(n * 160 >> 8), byte(n * 160)}
		if p.PayloadType != 101 || p.Marker != (i == 0) || p.Timestamp != leg.FirstTimestamp+5*160 ||
			p.SequenceNumber != leg.FirstSequence+uint16(5+i) || !slices.Equal(p.Payload, want) {
			t.Errorf("event packet %d: %+v % x, want % x", i, p.Header, p.Payload, want)
		}
	}
	if after := got[12]; after.PayloadType != 8 || after.Timestamp != leg.FirstTimestamp+10*160 {
		t.Errorf("after the event: %+v", after.Header)
	}
}

// TestSkew runs a clock 5 % fast: 2 s of samples in 1.905 s.
func TestSkew(t *testing.T) {
	t.Parallel()
	inTime(t, func() time.Duration {
		got, call := runCall(t, siprectest.Leg{Impair: siprectest.Impair{SkewPPM: 50_000}}, 2*time.Second, 0)
		if leg := call.Legs[0]; leg.Sent != 100 || got[99].Timestamp-got[0].Timestamp != 99*160 {
			t.Errorf("%+v", leg)
		}
		// A clock that is not fast is 70 ms late by then.
		return lateness(t, got, call.MediaAt, 20*time.Millisecond*20/21)
	})
}
