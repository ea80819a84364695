package recorder_test

import (
	"context"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"siprecd/recorder"
	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
	"siprecd/store"
)

// call places one call and waits for its end.
func (r *rig) call(o siprectest.Options) siprectest.CallReport {
	r.t.Helper()
	rep, _ := r.place(r.t.Context(), o)
	return rep
}

// place does as call, hangs up when ctx ends, and tells how late the latest
// packet left, in seconds.
func (r *rig) place(ctx context.Context, o siprectest.Options) (siprectest.CallReport, float64) {
	r.t.Helper()
	if o.Target == "" {
		o.Target = r.udp
	}
	if o.Legs == nil {
		o.Legs = []siprectest.Leg{{Audio: audio.Tone(440, -15)}, {Audio: audio.Tone(1000, -15)}}
	}
	if o.Duration == 0 {
		o.Duration = time.Second
	}
	rep, err := siprectest.Run(ctx, o)
	if err != nil {
		r.t.Fatal(err)
	}
	return rep.Calls[0], rep.Totals.MaxLagSeconds
}

// slack is by how much what is measured on either side of a socket may differ.
const slack = 150 * time.Millisecond

// moments are the instants between which a step was taken: the machine may be
// late with it, and slow at it.
type moments struct{ began, done time.Time }

// of is a step that notes its instants.
func (m *moments) of(do func(context.Context, *siprectest.Call) error) func(context.Context, *siprectest.Call) error {
	return func(ctx context.Context, c *siprectest.Call) error {
		m.began = time.Now()
		defer func() { m.done = time.Now() }()
		return do(ctx, c)
	}
}

// within says that something happened in a step.
func (m *moments) within(at time.Time) bool {
	return at.After(m.began.Add(-slack)) && at.Before(m.done.Add(slack))
}

// clock gives the place of an instant in a recording.
func (r *rig) clock(id string) func(time.Time) time.Duration {
	r.t.Helper()
	begun := r.details(id).History[0]
	if begun.Kind != "established" {
		r.t.Fatalf("the history begins with %+v", begun)
	}
	return func(at time.Time) time.Duration { return at.Sub(begun.At) }
}

// lasts checks the length of a recording: no shorter than from one instant to
// another, no longer than between two that lie outside.
func lasts(t *testing.T, row store.Row, least, most time.Duration) {
	t.Helper()
	if row.Duration < (least-slack).Seconds() || row.Duration > (most+slack).Seconds() {
		t.Errorf("%s has %.2f s, want %v to %v", row.Line, row.Duration, least, most)
	}
}

// talk is how long a call lasted at its client: from the first packet to the
// BYE, and from the INVITE to the BYE's answer.
func talk(rep siprectest.CallReport) (least, most time.Duration) {
	return rep.ByeAt.Sub(rep.MediaAt), time.Duration((rep.SetupSeconds + rep.TalkSeconds) * float64(time.Second))
}

// kinds are a history's events, without the time.
func kinds(d store.Details) []string {
	var out []string
	for _, e := range d.History {
		out = append(out, e.Kind)
	}
	return out
}

func TestOurSideIsRightWhoeverCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for _, c := range []struct {
		name, from, to, direction string
		left, right               float64 // Hz; the caller sends 440
	}{
		{"inbound", "02079460123", "02088257050", "inbound", 440, 1000},
		{"outbound", "+442088257050", "02079460123", "outbound", 1000, 440},
	} {
		r.call(siprectest.Options{From: c.from, To: c.to})
		row := r.finished(1 + slices.Index([]string{"inbound", "outbound"}, c.name))[0]
		if row.Line != "Council tax" || row.Direction != c.direction {
			t.Errorf("%s: listed as %q, %q", c.name, row.Line, row.Direction)
		}
		a := r.heard(row.ID)
		for ch, hz := range []float64{c.left, c.right} {
			pcm := a.Channels[ch]
			if l := level(pcm[len(pcm)/4:len(pcm)*3/4], hz); l < -25 {
				t.Errorf("%s: channel %d has its %.0f Hz at %.1f dBFS", c.name, ch, hz, l)
			}
		}
		d := r.details(row.ID)
		if len(d.Parties) != 2 || d.Parties[0].Channel == d.Parties[1].Channel || d.Parties[0].Source != "metadata" {
			t.Errorf("%s: parties %+v", c.name, d.Parties)
		}
	}
}

func TestHoldIsAMarkedGap(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	var hold, resume moments
	rep := r.call(siprectest.Options{Duration: 5 * time.Second, Script: []siprectest.Step{
		{At: time.Second, Do: hold.of(siprectest.Hold)}, {At: 3 * time.Second, Do: resume.of(siprectest.Resume)},
	}})
	if !rep.OK() {
		t.Fatalf("the call went wrong: %s", rep)
	}
	row := r.finished(1)[0]
	least, most := talk(rep)
	lasts(t, row, least, most) // the hold must stay in the recording
	if k := kinds(r.details(row.ID)); !slices.Contains(k, "hold") || !slices.Contains(k, "resume") {
		t.Errorf("history %v tells no hold", k)
	}
	if !strings.Contains(string(r.sealed(row.ID).ManifestBytes), `"hold"`) {
		t.Error("the manifest has no gap for the hold")
	}
	pcm, at := r.heard(row.ID).Channels[0], r.clock(row.ID)
	quiet := cut(pcm, at(hold.done)+2*slack, at(resume.began)-slack)
	if l := level(quiet, 440); len(quiet) == 0 || l > -60 {
		t.Errorf("during the hold the caller is at %.1f dBFS", l)
	}
	hears(t, pcm, at(resume.done)+2*slack, at(rep.ByeAt)-slack, 440, true)
}

func TestDrainingRefusesNewCallsAndKeepsLiveOnes(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	done := make(chan siprectest.CallReport, 1)
	go func() { done <- r.call(siprectest.Options{Duration: 2 * time.Second}) }()
	await(t, "a live call", func() bool { return len(r.rec.Status().Calls) == 1 })
	r.rec.Drain()
	if rep := r.call(siprectest.Options{}); rep.Code != 503 {
		t.Errorf("a new call was answered %d, want 503", rep.Code)
	}
	if rep := <-done; !rep.OK() {
		t.Errorf("the live call went wrong: %s", rep)
	}
	if row := r.finished(1)[0]; row.Duration < 1.9 {
		t.Errorf("the live call has %.2f s", row.Duration)
	}
	st := r.rec.Status()
	if st.OK || !strings.Contains(st.Sentence, "refused") {
		t.Errorf("the status says %q", st.Sentence)
	}
}

func TestDiskReserveRefusesNewCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *recorder.Config) { c.Reserve = 1 << 62 })
	if rep := r.call(siprectest.Options{}); rep.Code != 503 {
		t.Errorf("answered %d, want 503", rep.Code)
	}
	if rows := r.rows(); len(rows) != 0 {
		t.Errorf("a refused call is listed: %+v", rows)
	}
}

func TestStatusTellsALegWithoutMedia(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = siprectest.Run(ctx, siprectest.Options{Target: r.udp, Duration: time.Minute,
			Legs: []siprectest.Leg{{Audio: audio.Tone(440, -15)}, {Audio: audio.Tone(1000, -15), Start: time.Hour}}})
	}()
	await(t, "the status to tell of the missing leg", func() bool {
		st := r.rec.Status()
		return !st.OK && strings.Contains(st.Sentence, "No media on the right channel of a call on Council tax")
	})
	cancel()
	<-done
}

// A party whose stream cannot be taken is missing for the whole call: that is an
// alarm, and in the account.
func TestStatusTellsAStreamThatIsNotTaken(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *recorder.Config) {
		c.Peer = func(netip.Addr) recorder.PeerOptions { return recorder.PeerOptions{SRTP: recorder.SRTPOff} }
	})
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = siprectest.Run(ctx, siprectest.Options{Target: r.udp, Duration: time.Minute, Legs: []siprectest.Leg{
			{Audio: audio.Tone(440, -15)}, {Audio: audio.Tone(1000, -15), SRTP: siprectest.SRTP{Suites: []string{suite80}}},
		}})
	}()
	await(t, "the status to tell of the stream", func() bool {
		st := r.rec.Status()
		return !st.OK && len(st.Alarms) == 1 && st.Alarms[0].Kind == "not taken" && st.AlarmsRaised["not taken"] == 1 &&
			strings.Contains(st.Sentence, "A stream of a call on Council tax is offered and cannot be recorded, media line 2")
	})
	hangUp()
	<-done
	if row := r.finished(1)[0]; !slices.Contains(row.Flags, "stream not recorded") {
		t.Errorf("flags %q", row.Flags)
	}
}

// A fault of ours at any moment of an INVITE: it gets 500, and nothing of a
// recording stays behind it.
func TestPanicInAnInvite(t *testing.T) {
	t.Parallel()
	var left atomic.Int64
	r := newRig(t, func(c *recorder.Config) {
		c.Peer = func(netip.Addr) recorder.PeerOptions {
			if left.Add(-1) == 0 {
				panic("asked once too often")
			}
			return recorder.PeerOptions{}
		}
	})
	for n := int64(1); ; n++ {
		left.Store(n)
		rep := r.call(siprectest.Options{Duration: 300 * time.Millisecond})
		if rep.OK() {
			if n < 5 {
				t.Errorf("the treatment of a client was asked for %d times only", n-1)
			}
			break
		}
		if rep.Code != 500 {
			t.Fatalf("panic %d: %s", n, rep)
		}
		await(t, "all to be thrown away", func() bool { return len(r.rows()) == 0 && r.rec.Recording() == 0 })
		if left := r.media.Load().Calls; left != 0 {
			t.Fatalf("panic %d leaves %d calls with media", n, left)
		}
	}
	r.finished(1)
}

// named are steps that rename the called party in the metadata, as a client
// does that learns late who answered.
func named(numbers string) []siprectest.Step {
	var steps []siprectest.Step
	for i, n := range strings.Split(numbers, ",") {
		steps = append(steps, siprectest.Step{At: time.Second + time.Duration(i)*300*time.Millisecond,
			Do: func(ctx context.Context, c *siprectest.Call) error {
				m := strings.ReplaceAll(string(c.Metadata()), "sip:unknown@", "sip:"+n+"@")
				_, err := c.Update(ctx, c.Multipart(nil, []byte(m)))
				return err
			}})
	}
	return steps
}

func TestLateMetadataNamesTheLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, number, line string
		kept               bool
	}{
		{"listed", "02088257050", "Council tax", true},
		{"listed, told in a second step", "unknown2,02088257050", "Council tax", true},
		{"not listed", "02088259999", "", false},
		{"outside its campaign", "02088257777", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			before := files(t, r.dir)
			rep := r.call(siprectest.Options{To: "unknown", Duration: 2 * time.Second,
				Script: named(c.number)})
			if !rep.OK() {
				t.Fatalf("the call went wrong: %s", rep)
			}
			if c.kept {
				row := r.finished(1)[0]
				if row.Line != c.line || len(row.Flags) != 0 {
					t.Errorf("listed on line %q with flags %q", row.Line, row.Flags)
				}
				if !strings.Contains(string(r.sealed(row.ID).ManifestBytes), `"line": "Council tax"`) {
					t.Error("the manifest does not name the line")
				}
				return
			}
			await(t, "the recording to be gone", func() bool { return len(r.rows()) == 0 })
			for name := range files(t, r.dir) {
				if !before[name] && strings.HasPrefix(name, "recordings") {
					t.Errorf("%s is left", name)
				}
			}
		})
	}
}

// files are the names of all files under a folder.
func files(t *testing.T, dir string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out[path] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestContradictingLabelsFallBackToOrder: metadata that puts both streams on
// one side tells nothing; neither party may be lost for it.
func TestContradictingLabelsFallBackToOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.call(siprectest.Options{Legs: []siprectest.Leg{
		{Label: "1", Audio: audio.Tone(440, -15)}, {Label: "1", Audio: audio.Tone(1000, -15)},
	}})
	row := r.finished(1)[0]
	if !slices.Contains(row.Flags, "channels by order") {
		t.Errorf("flags %q", row.Flags)
	}
	a := r.heard(row.ID)
	for ch, hz := range []float64{440, 1000} {
		pcm := a.Channels[ch]
		if l := level(pcm[len(pcm)/4:len(pcm)*3/4], hz); l < -25 {
			t.Errorf("channel %d has its %.0f Hz at %.1f dBFS", ch, hz, l)
		}
	}
}

// TestLaterOfferWithoutACodecLeavesTheCallAsItWas: refusing it keeps what was
// agreed, taking it would end the audio.
func TestLaterOfferWithoutACodecLeavesTheCallAsItWas(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	var code int
	var refused moments
	rep := r.call(siprectest.Options{Duration: 4 * time.Second, Script: []siprectest.Step{{At: time.Second,
		Do: refused.of(func(ctx context.Context, c *siprectest.Call) error {
			sdp := strings.ReplaceAll(string(c.SDP()), "RTP/AVP 8", "RTP/AVP 18")
			sdp = strings.ReplaceAll(sdp, "a=rtpmap:8 PCMA/8000\r\n", "")
			res, err := c.Request(ctx, "UPDATE", c.Multipart([]byte(sdp), nil))
			code = res.Code
			return err
		})}}})
	if code != 488 {
		t.Errorf("answered %d, want 488", code)
	}
	row := r.finished(1)[0]
	at := r.clock(row.ID)
	hears(t, r.heard(row.ID).Channels[0], at(refused.done)+2*slack, at(rep.ByeAt)-slack, 440, true)
}
