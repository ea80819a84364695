package recorder_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"siprecd/recorder"
	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
	"siprecd/store"
	"siprecd/store/policy"
)

// ids are the ids of a call's own metadata: session, participants, streams.
type ids struct {
	session, group       string
	participants, stream []string
}

func idsOf(metadata []byte) ids {
	all := func(pattern string) (out []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(metadata, -1) {
			if s := string(m[1]); !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
		return out
	}
	return ids{
		session: all(`<session session_id="([^"]+)"`)[0], group: all(`<group group_id="([^"]+)"`)[0],
		participants: all(`<participant participant_id="([^"]+)"`), stream: all(`<stream stream_id="([^"]+)"`),
	}
}

// document writes metadata in the form of RFC 7865.
func document(mode, inner string) []byte {
	return []byte(`<?xml version="1.0" encoding="UTF-8"?><recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>` +
		mode + `</datamode>` + inner + `</recording>`)
}

// partial is a step that sends a partial document made from the call's ids.
func partial(inner func(ids) string) func(context.Context, *siprectest.Call) error {
	return func(ctx context.Context, c *siprectest.Call) error {
		r, err := c.Update(ctx, c.Multipart(nil, document("partial", inner(idsOf(c.Metadata())))))
		if err == nil && r.Code != 200 {
			err = fmt.Errorf("UPDATE answered %d", r.Code)
		}
		return err
	}
}

// participant, streamOf and sends write elements.
func participant(id, aor string) string {
	return fmt.Sprintf(`<participant participant_id=%q><nameID aor=%q/></participant>`, id, aor)
}

func streamOf(id, session, label string) string {
	return fmt.Sprintf(`<stream stream_id=%q session_id=%q><label>%s</label></stream>`, id, session, label)
}

func sends(participant string, streams ...string) string {
	s := fmt.Sprintf(`<participantstreamassoc participant_id=%q>`, participant)
	for _, id := range streams {
		s += "<send>" + id + "</send>"
	}
	return s + `</participantstreamassoc>`
}

func inSession(participant, session, extra string) string {
	return fmt.Sprintf(`<participantsessionassoc participant_id=%q session_id=%q><associate-time>2026-11-02T10:00:00Z</associate-time>%s</participantsessionassoc>`,
		participant, session, extra)
}

const gone = `<disassociate-time>2026-11-02T10:01:00Z</disassociate-time>`

// moment finds an event about a party, and tells when it was.
func moment(t *testing.T, d store.Details, kind, text, party string) time.Time {
	t.Helper()
	for _, e := range d.History {
		if e.Kind == kind && (text == "" || e.Text == text) && strings.Contains(e.Party, party) {
			return e.At
		}
	}
	t.Errorf("the history tells no %s %q of %q: %+v", kind, text, party, d.History)
	return time.Time{}
}

// cut is a stretch of a channel, as far as there is one.
func cut(pcm []int16, from, to time.Duration) []int16 {
	at := func(d time.Duration) int { return min(max(int(d*48/time.Millisecond), 0), len(pcm)) }
	return pcm[at(from):max(at(from), at(to))]
}

// hears checks which tone is in a stretch of a channel.
func hears(t *testing.T, pcm []int16, from, to time.Duration, hz float64, want bool) {
	t.Helper()
	if l := level(cut(pcm, from, to), hz); (l > -25) != want {
		t.Errorf("%.0f Hz from %v to %v is at %.1f dBFS, heard should be %v", hz, from, to, l, want)
	}
}

// gapsOf are the manifest's gaps of a reason.
func gapsOf(r *rig, id, reason string) []store.Gap {
	return slices.DeleteFunc(slices.Clone(r.sealed(id).Manifest.Gaps), func(g store.Gap) bool { return g.Reason != reason })
}

// Cases 78, 79: the agent transfers the call to another, on the same label.
func TestPartiesAtTransfer(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	transfer := func(x ids) string {
		return inSession(x.participants[1], x.session, gone) +
			participant("p3", "sip:02088257999@example.org") + inSession("p3", x.session, "") +
			streamOf("s3", x.session, "2") + sends("p3", "s3")
	}
	before := moments{began: time.Now()}
	var step moments
	rep := r.call(siprectest.Options{Duration: 2 * time.Second, Script: []siprectest.Step{{At: time.Second, Do: step.of(partial(transfer))}}})
	before.done = rep.MediaAt
	if !rep.OK() {
		t.Fatalf("the call went wrong: %s", rep)
	}
	row := r.finished(1)[0]
	d := r.details(row.ID)
	for _, e := range []struct {
		text, party string
		at          moments
	}{{"joined", "02079460123", before}, {"joined", "02088257050", before}, {"left", "02088257050", step}, {"joined", "02088257999", step}} {
		if at := moment(t, d, "party", e.text, e.party); !e.at.within(at) {
			t.Errorf("%s %s at %v, want %+v", e.party, e.text, at, e.at)
		}
	}
	if len(d.Parties) != 3 || d.Parties[1].Left.IsZero() || d.Parties[2].Channel != "right" || !d.Parties[2].Left.IsZero() || d.Parties[0].Channel != "left" {
		t.Errorf("parties %+v", d.Parties)
	}
	if len(row.Flags) != 0 || row.Line != "Council tax" {
		t.Errorf("listed on %q with flags %q", row.Line, row.Flags)
	}
	at := r.clock(row.ID)
	hears(t, r.heard(row.ID).Channels[1], at(rep.MediaAt)+slack, at(rep.ByeAt)-slack, 1000, true)
	if d.Sources["line"] == "" || d.Sources["caller"] == "" || d.Sources["call_key"] == "" {
		t.Errorf("sources %v", d.Sources)
	}
}

// Late metadata says that the first line is ours: from that instant the
// channels are the other way round, and what was recorded stays as it was.
func TestChannelsFromTheInstantOfLateMetadata(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	late := func(ids) string {
		return participant("pa", "sip:02088257050@example.org") + participant("pb", "sip:02079460123@example.org") +
			streamOf("sa", "cs", "1") + streamOf("sb", "cs", "2") + sends("pa", "sa") + sends("pb", "sb")
	}
	var step moments
	rep := r.call(siprectest.Options{Dialect: siprectest.NoMetadata, Duration: 4 * time.Second, Script: []siprectest.Step{{
		At: 1500 * time.Millisecond, Do: step.of(func(ctx context.Context, c *siprectest.Call) error {
			_, err := c.Update(ctx, siprectest.Body{Type: "application/rs-metadata+xml", Data: document("complete", late(ids{}))})
			return err
		})}}})
	row := r.finished(1)[0]
	a, at := r.heard(row.ID), r.clock(row.ID)
	turned := at(step.done) + 4*slack // what was sent before it plays out
	for ch, hz := range []float64{440, 1000} {
		hears(t, a.Channels[ch], at(rep.MediaAt)+slack, at(step.began)-slack, hz, true)
		hears(t, a.Channels[ch], turned, at(rep.ByeAt)-slack, hz, false)
		hears(t, a.Channels[1-ch], turned, at(rep.ByeAt)-slack, hz, true)
	}
	d := r.details(row.ID)
	if joined := moment(t, d, "party", "joined", "02088257050"); !step.within(joined) {
		t.Errorf("our side joined at %v, want %+v", joined, step)
	}
	if !slices.Contains(row.Flags, "channels by order") || d.Parties[0].Channel != "right" || d.Parties[0].Source != "metadata" {
		t.Errorf("flags %q, parties %+v", row.Flags, d.Parties)
	}
}

// Case 77: hold by metadata alone (RFC 8068 section 3.2.2); the description
// stays sendonly, and the client stops sending.
func TestHoldByMetadataAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *recorder.Config) { c.MediaTimeout = 4 * time.Second })
	hold := func(x ids) string { return sends(x.participants[0]) + sends(x.participants[1]) }
	resume := func(x ids) string {
		return sends(x.participants[0], x.stream[0]) + sends(x.participants[1], x.stream[1])
	}
	const from, to = time.Second, 7500 * time.Millisecond
	quiet := siprectest.Impair{Gaps: []siprectest.Span{{From: from, To: to}}}
	var held, resumed moments
	rep := r.call(siprectest.Options{Duration: to + 2*time.Second,
		Legs: []siprectest.Leg{{Audio: audio.Tone(440, -15), Impair: quiet}, {Audio: audio.Tone(1000, -15), Impair: quiet}},
		Script: []siprectest.Step{
			{At: from - 100*time.Millisecond, Do: held.of(partial(hold))}, {At: to - 100*time.Millisecond, Do: resumed.of(partial(resume))},
		}})
	if !rep.OK() {
		t.Fatalf("the call went wrong: %s", rep)
	}
	row := r.finished(1)[0]
	if row.Cause != "bye" {
		t.Errorf("ended by %q", row.Cause)
	}
	least, most := talk(rep)
	lasts(t, row, least, most)
	long := resumed.began.Sub(held.done) - slack
	if g := gapsOf(r, row.ID, "hold"); len(g) != 2 || g[0].To-g[0].From < long.Seconds() {
		t.Errorf("gaps %+v", r.sealed(row.ID).Manifest.Gaps)
	}
	if k := kinds(r.details(row.ID)); !slices.Contains(k, "hold") || !slices.Contains(k, "resume") {
		t.Errorf("history %v", k)
	}
	at := r.clock(row.ID)
	heard := max(at(rep.MediaAt)+to, at(resumed.done))
	hears(t, r.heard(row.ID).Channels[0], heard+2*slack, at(rep.ByeAt)-slack, 440, true)
}

// Case 82: a complete document under new ids in mid-call is the same call.
func TestNewIdsAreTheSameCall(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.call(siprectest.Options{Dialect: siprectest.BroadWorks, Duration: 2 * time.Second, Script: []siprectest.Step{{
		At: time.Second, Do: func(ctx context.Context, c *siprectest.Call) error {
			fresh := regexp.MustCompile(`urn:uuid:[0-9a-f]{8}`).ReplaceAll(c.Metadata(), []byte("urn:uuid:deadbeef"))
			_, err := c.Update(ctx, c.Multipart(nil, fresh))
			return err
		}}}})
	row := r.finished(1)[0]
	d := r.details(row.ID)
	if len(d.Parties) != 2 || !d.Parties[0].Left.IsZero() || row.Duration < 1.9 || len(row.Flags) != 0 {
		t.Errorf("%.2f s, flags %q, parties %+v", row.Duration, row.Flags, d.Parties)
	}
	for _, e := range d.History {
		if e.Text == "left" {
			t.Errorf("a party left: %+v", e)
		}
	}
}

// Case 80: a new communication session after a stop-time, in the same
// recording session and on the same ports (RFC 8068).
func TestNextCallInTheSameSession(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	stop := func(x ids) string {
		return fmt.Sprintf(`<session session_id=%q><stop-time>2026-11-02T10:01:00Z</stop-time></session>`, x.session)
	}
	next := func(x ids) string {
		return `<session session_id="cs-2nd-call"><start-time>2026-11-02T10:01:01Z</start-time></session>` +
			participant("p8", "sip:02079460199@example.org") + inSession("p8", "cs-2nd-call", "") +
			participant("p9", "sip:02088256600@example.org") + inSession("p9", "cs-2nd-call", "") +
			streamOf("s8", "cs-2nd-call", "2") + streamOf("s9", "cs-2nd-call", "1") + sends("p8", "s8") + sends("p9", "s9")
	}
	asked := time.Now()
	var step moments
	rep := r.call(siprectest.Options{Duration: 4 * time.Second, Script: []siprectest.Step{
		{At: 1800 * time.Millisecond, Do: partial(stop)}, {At: 2 * time.Second, Do: step.of(partial(next))},
	}})
	gone := time.Now()
	if !rep.OK() {
		t.Fatalf("the call went wrong: %s", rep)
	}
	rows := r.finished(2) // newest first
	if rows[0].Line != "Planning" || rows[1].Line != "Council tax" || rows[1].Cause != "next call" {
		t.Fatalf("listed %+v", rows)
	}
	lasts(t, rows[1], step.began.Sub(rep.MediaAt), step.done.Sub(asked))
	lasts(t, rows[0], rep.ByeAt.Sub(step.done), gone.Sub(step.began))
	first, second := r.heard(rows[1].ID), r.heard(rows[0].ID)
	at := r.clock(rows[1].ID)
	hears(t, first.Channels[0], at(rep.MediaAt)+slack, at(step.began)-slack, 440, true)
	at = r.clock(rows[0].ID)
	from, to := at(step.done)+2*slack, at(rep.ByeAt)-slack
	hears(t, second.Channels[1], from, to, 440, true) // label 1 is ours now
	hears(t, second.Channels[0], from, to, 1000, true)
	links := r.details(rows[0].ID).Links
	if len(links) != 1 || links[0].ID != rows[1].ID {
		t.Errorf("the second is linked to %+v", links)
	}
	if d := r.details(rows[0].ID); len(d.Parties) != 2 || d.Caller == "" || !strings.Contains(d.Caller, "02079460199") {
		t.Errorf("the second call is of %q, %+v", d.Caller, d.Parties)
	}
	if d := r.details(rows[1].ID); len(d.Parties) != 2 || !strings.Contains(d.Caller, "02079460123") {
		t.Errorf("the first call is of %q, %+v", d.Caller, d.Parties)
	}
}

// byKey finds recordings by a correlation key.
func (r *rig) byKey(key string) (out []string) {
	r.t.Helper()
	for row, err := range r.store.List(r.t.Context(), store.Query{Key: key}) {
		if err != nil {
			r.t.Fatal(err)
		}
		out = append(out, row.ID)
	}
	return out
}

// Cases 87, 114: BYE and INVITE again in one group, and one call that two
// clients record at the same time.
func TestRecordingsOfOneCallAreLinked(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	o := siprectest.Options{Headers: []siprectest.Header{{Name: "Cisco-Guid", Value: "0123456789-4711"}}}
	r.call(o)
	first := r.finished(1)[0]
	o.Calls, o.Duration = 2, 6*time.Second // the two overlap on a slow machine as well
	r.call(o)
	rows := r.finished(3)
	if got := r.byKey("0123456789-4711"); len(got) != 3 {
		t.Errorf("found by key: %v", got)
	}
	if got := r.byKey("0123456789-4712"); len(got) != 0 {
		t.Errorf("found by another key: %v", got)
	}
	for _, row := range rows[:2] {
		links := r.details(row.ID).Links
		if len(links) != 2 {
			t.Errorf("links %+v", links)
		}
		for _, l := range links {
			if want := map[bool]string{true: "continues", false: "beside"}[l.ID == first.ID]; l.Kind != want || l.By != "Cisco-Guid" {
				t.Errorf("link %+v, want %s", l, want)
			}
		}
	}
}

// Case 10: CUCM records either party in a dialog of its own; together they are
// one call, each in its own channel.
func TestNearAndFarEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	var peers []*rawPeer
	var sent []moments
	for i, file := range []string{"cucm-nearend-no-body", "cucm-farend-no-body"} {
		p := dialRaw(t, r.tcp)
		res := p.invite(file)
		if res.code != 200 {
			t.Fatalf("%s answered %d", file, res.code)
		}
		body := strings.Replace(res.body, "a=recvonly", "a=sendonly", 1)
		body = regexp.MustCompile(`m=audio \d+`).ReplaceAllString(body, "m=audio 40000")
		p.send(withBody(p.inDialog("ACK", p.cseq()), "application/sdp", body))
		m := moments{began: time.Now()}
		sendTones(t, res.taken(), time.Duration(2+i)*500*time.Millisecond)
		m.done = time.Now()
		peers, sent = append(peers, p), append(sent, m)
	}
	for _, p := range peers {
		p.bye()
	}
	rows := r.finished(2) // newest first: far, near
	for i, ch := range []int{0, 1} {
		a, at := r.heard(rows[i].ID), r.clock(rows[i].ID)
		from, to := at(sent[1-i].began)+slack, at(sent[1-i].done)-slack
		hears(t, a.Channels[ch], from, to, toneHz(0), true)
		hears(t, a.Channels[1-ch], from, to, toneHz(0), false)
		d := r.details(rows[i].ID)
		if len(d.Links) != 1 || d.Links[0].ID != rows[1-i].ID || d.Links[0].Kind != "beside" || d.Links[0].By != "x-refci" {
			t.Errorf("links %+v", d.Links)
		}
		if len(d.Parties) != 1 || d.Parties[0].Channel != []string{"left", "right"}[i] {
			t.Errorf("parties %+v", d.Parties)
		}
	}
}

// withBody gives a request of inDialog a body.
func withBody(request, contentType, body string) string {
	head, _, _ := strings.Cut(request, "Content-Length: 0")
	return fmt.Sprintf("%sContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", head, contentType, len(body), body)
}

// Case 105: a session that was answered inactive is recorded after all, once
// its metadata names a listed line: we ask for its media.
func TestReinviteWhenTheLineBecomesKnown(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	var step moments
	rep := r.call(siprectest.Options{From: "02079460123", To: "02088259999", Duration: 4 * time.Second,
		Script: []siprectest.Step{{At: time.Second, Do: step.of(func(ctx context.Context, c *siprectest.Call) error {
			m := strings.ReplaceAll(string(c.Metadata()), "02088259999", "02088257050")
			if _, err := c.Update(ctx, c.Multipart(nil, []byte(m))); err != nil {
				return err
			}
			return askedFor(ctx, c)
		})}}})
	gone := time.Now()
	row := r.finished(1)[0]
	if row.Line != "Council tax" || len(row.Flags) != 0 {
		t.Errorf("listed on %q, flags %q; the call: %s", row.Line, row.Flags, rep)
	}
	lasts(t, row, rep.ByeAt.Sub(step.done), gone.Sub(step.began))
	at := r.clock(row.ID)
	hears(t, r.heard(row.ID).Channels[0], at(step.done)+2*slack, at(rep.ByeAt)-slack, 440, true)
	if rep.Legs[0].Skipped < 40 {
		t.Errorf("%d packets held back: it was not answered inactive", rep.Legs[0].Skipped)
	}
}

// askedFor waits until the recorder wants a call's media.
func askedFor(ctx context.Context, c *siprectest.Call) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !c.Report().Answer[0].Receives() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Case 110: no BYE comes. A client that knows nothing of the session when it
// is asked is believed at once; one that stays silent is given its time.
func TestMissingBye(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		vanish   bool // the dialog is gone at the client, which says so
		patience time.Duration
		min, max float64
	}{
		{"client lost the session", true, 12 * time.Second, 0.9 + 8, 0.9 + 11.9},
		{"client is mute", false, 4 * time.Second, 0.9 + 4, 0.9 + 9},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(cfg *recorder.Config) { cfg.MediaTimeout = c.patience })
			client, err := siprectest.Dial(t.Context(), r.udp, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			call, err := client.Invite(t.Context(), siprectest.Options{Duration: 900 * time.Millisecond,
				Legs: []siprectest.Leg{{Audio: audio.Tone(440, -15)}, {Audio: audio.Tone(1000, -15)}}})
			if err != nil {
				t.Fatal(err)
			}
			if err := call.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if c.vanish {
				call.Vanish()
			}
			row := r.finished(1)[0]
			if row.Cause != "media timeout" || row.Duration < c.min-0.05 || row.Duration > c.max {
				t.Errorf("ended by %q after %.2f s, want %.1f to %.1f", row.Cause, row.Duration, c.min, c.max)
			}
		})
	}
}

// A call on announced hold, and one that was never heard (the called party may
// still be ringing), outlast the media timeout.
func TestHoldAndRingingAreNotGivenUp(t *testing.T) {
	t.Parallel()
	const back, end = 7500 * time.Millisecond, 9500 * time.Millisecond
	var resumed moments
	for name, o := range map[string]siprectest.Options{
		"hold": {Duration: end, Script: []siprectest.Step{{At: 500 * time.Millisecond, Do: siprectest.Hold}, {At: back, Do: resumed.of(siprectest.Resume)}}},
		"ringing": {Duration: end, Legs: []siprectest.Leg{
			{Audio: audio.Tone(440, -15), Start: back}, {Audio: audio.Tone(1000, -15), Start: back}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Far longer than a visit: what came since the last one is not known yet.
			r := newRig(t, func(cfg *recorder.Config) { cfg.MediaTimeout = 4 * time.Second })
			rep := r.call(o)
			if !rep.OK() {
				t.Errorf("the call went wrong: %s", rep)
			}
			row := r.finished(1)[0]
			if row.Cause != "bye" || row.Duration < end.Seconds()-0.1 {
				t.Errorf("ended by %q after %.2f s", row.Cause, row.Duration)
			}
			at := r.clock(row.ID)
			from := at(rep.MediaAt) + back
			if name == "hold" {
				from = at(resumed.done)
			}
			hears(t, r.heard(row.ID).Channels[0], from+2*slack, at(rep.ByeAt)-slack, 440, true)
		})
	}
}

// Case 76: a part before any whole: the whole is asked for, of a client that
// is known to take that, and of no other.
func TestSnapshotRequest(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]bool{"known": true, "unknown": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *recorder.Config) {
				c.Peer = func(netip.Addr) recorder.PeerOptions { return recorder.PeerOptions{Snapshot: known} }
			})
			p := dialRaw(t, r.tcp)
			if res := p.inviteWith("rfc7865-complete", strings.NewReplacer("<datamode>complete<", "<datamode>partial<")); res.code != 200 {
				t.Fatalf("answered %d", res.code)
			}
			p.ack()
			if known {
				req := p.serverRequest()
				if !strings.HasPrefix(req, "UPDATE ") || !strings.Contains(req, "<requestsnapshot") ||
					!strings.Contains(req, "Content-Disposition: recording-session") || strings.Contains(req, "application/sdp\r\n\r\nv=0") {
					t.Errorf("the request is\n%s", req)
				}
			}
			p.bye()
			r.finished(1)
		})
	}
}

// inviteWith sends an INVITE of testdata/siprec with something changed.
func (p *rawPeer) inviteWith(name string, change *strings.Replacer) answer {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "siprec", name+".txt"))
	if err != nil {
		p.t.Fatal(err)
	}
	head, body, _ := strings.Cut(change.Replace(string(b)), "\r\n\r\n")
	length := regexp.MustCompile(`(?im)^Content-Length:.*$`)
	p.request = strings.TrimRight(length.ReplaceAllString(head, fmt.Sprintf("Content-Length: %d", len(body))), "\r\n")
	p.send(p.request + "\r\n\r\n" + body)
	for {
		if res := p.response(); res.code >= 200 {
			if m := regexp.MustCompile(`;\s*tag=([^;\s]+)`).FindStringSubmatch(res.head.Get("To")); m != nil {
				p.toTag = m[1]
			}
			return res
		}
	}
}

// serverRequest reads the recorder's next request.
func (p *rawPeer) serverRequest() string {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	var b bytes.Buffer
	n := 0
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			p.t.Fatalf("read a request: %v", err)
		}
		b.WriteString(line)
		_, _ = fmt.Sscanf(strings.ToLower(line), "content-length: %d", &n)
		if line == "\r\n" {
			break
		}
	}
	body := make([]byte, n)
	for i := range body {
		body[i], _ = p.in.ReadByte()
	}
	b.Write(body)
	return b.String()
}

// Case 109: the metadata in a BYE is taken before the recording ends.
func TestMetadataInBye(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.call(siprectest.Options{Duration: 1200 * time.Millisecond, Faults: siprectest.Faults{NoBye: true}, Script: []siprectest.Step{{
		At: time.Second, Do: func(ctx context.Context, c *siprectest.Call) error {
			x := idsOf(c.Metadata())
			body := document("partial", inSession(x.participants[0], x.session, gone))
			_, err := c.Request(ctx, "BYE", c.Multipart(nil, body), siprectest.Header{Name: "Reason", Value: `Q.850;cause=16;text="gone"`})
			return err
		}}}})
	d := r.details(r.finished(1)[0].ID)
	if len(d.Documents) != 2 || d.Parties[0].Left.IsZero() {
		t.Errorf("%d documents, parties %+v", len(d.Documents), d.Parties)
	}
	if last := d.History[len(d.History)-1]; last.Kind != "ended" || !strings.Contains(last.Text, "Q.850") {
		t.Errorf("the history ends with %+v", last)
	}
}

// Cases 101 to 103: old hold by a null address, a media line that is closed,
// its slot that is used anew, and a line that is added.
func TestMediaLinesComeAndGo(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	resdp := func(change func(string) string) func(context.Context, *siprectest.Call) error {
		return func(ctx context.Context, c *siprectest.Call) error {
			res, err := c.Update(ctx, siprectest.Body{Type: "application/sdp", Data: []byte(change(string(c.SDP())))})
			if err == nil && res.Code != 200 {
				err = fmt.Errorf("answered %d", res.Code)
			}
			return err
		}
	}
	lines := regexp.MustCompile(`m=audio \d+`)
	var resumed, closed, opened moments
	rep := r.call(siprectest.Options{Duration: 6 * time.Second, Script: []siprectest.Step{
		{At: 500 * time.Millisecond, Do: resdp(func(s string) string { return strings.ReplaceAll(s, "c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0") })},
		{At: 1000 * time.Millisecond, Do: resumed.of(resdp(func(s string) string { return s }))},
		{At: 2500 * time.Millisecond, Do: closed.of(resdp(func(s string) string {
			at := lines.FindAllStringIndex(s, -1)[1]
			return s[:at[0]] + "m=audio 0" + s[at[1]:]
		}))},
		{At: 4000 * time.Millisecond, Do: opened.of(resdp(func(s string) string { return s }))},
		{At: 5000 * time.Millisecond, Do: resdp(func(s string) string {
			return s + "m=audio 45678 RTP/AVP 8\r\na=sendonly\r\na=label:3\r\n"
		})},
	}})
	if len(rep.Notes) != 0 {
		t.Errorf("the call went wrong: %q", rep.Notes)
	}
	row := r.finished(1)[0]
	var story []string
	for _, e := range r.details(row.ID).History {
		if e.Kind == "hold" || e.Kind == "resume" || e.Kind == "stream" {
			story = append(story, strings.Fields(e.Kind + " " + e.Text)[0]+" "+e.Text)
		}
	}
	want := []string{"stream 1 opened, left", "stream 2 opened, right", "hold 1", "hold 2", "resume 1", "resume 2",
		"stream 2 closed", "stream 2 opened, right", "stream 3 opened, right"}
	if !slices.Equal(story, want) {
		t.Errorf("history %q, want %q", story, want)
	}
	a, at := r.heard(row.ID), r.clock(row.ID)
	hears(t, a.Channels[0], at(resumed.done)+2*slack, at(rep.ByeAt)-slack, 440, true)
	hears(t, a.Channels[1], at(resumed.done)+2*slack, at(closed.began)-slack, 1000, true)
	hears(t, a.Channels[1], at(closed.done)+2*slack, at(opened.began)-slack, 1000, false)
	least, most := talk(rep)
	lasts(t, row, least, most)
}

// Case 92: what the policy does not need is not stored anywhere, the metadata
// documents included (RFC 7865 section 10).
func TestOnlyWhatThePolicyKeeps(t *testing.T) {
	t.Parallel()
	p := council()
	p.KeepMetadata = []string{"called", "history"}
	rules, err := policy.New(p)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *recorder.Config) { c.Rules = rules })
	r.call(siprectest.Options{Headers: []siprectest.Header{{Name: "Cisco-Guid", Value: "0123456789-4711"}}})
	row := r.finished(1)[0]
	d := r.details(row.ID)
	if row.Line != "Council tax" || row.Called == "" || row.Caller != "" || len(d.Parties)+len(d.Documents)+len(d.Keys) != 0 ||
		d.CallID != "" || d.Peer != "" || len(d.History) == 0 || d.Sources["caller"] != "" {
		t.Errorf("row %+v, details %+v", row, d)
	}
	if text := fmt.Sprintf("%+v", d); strings.Contains(text, "79460123") {
		t.Errorf("the caller is in %s", text)
	}
	if got := r.byKey("0123456789-4711"); len(got) != 0 {
		t.Errorf("found by a key that is not kept: %v", got)
	}
	for found := range r.store.List(t.Context(), store.Query{Number: "02079460123"}) {
		t.Errorf("found by a number that is not kept: %+v", found)
	}
}

// Case 99: CUCM tells of a transfer to another cluster by an UPDATE whose From
// alone is different.
func TestUpdateThatChangesOnlyFrom(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	p := dialRaw(t, r.tcp)
	res := p.invite("cucm-farend-no-body")
	if res.code != 200 {
		t.Fatalf("answered %d", res.code)
	}
	p.ack()
	sendTones(t, res.taken(), 300*time.Millisecond)
	p.send(strings.Replace(p.inDialog("UPDATE", p.cseq()+1), "x-farendaddr=02079460105", "x-farendaddr=02079460177", 1))
	if res := p.response(); res.code != 200 || res.body != "" {
		t.Errorf("UPDATE answered %d %q", res.code, res.body)
	}
	sendTones(t, res.taken(), 300*time.Millisecond)
	p.send(p.inDialog("BYE", p.cseq()+2))
	if res := p.response(); res.code != 200 {
		t.Errorf("BYE answered %d", res.code)
	}
	d := r.details(r.finished(1)[0].ID)
	moment(t, d, "party", "left", "02079460105")
	moment(t, d, "party", "joined", "02079460177")
	if d.Caller != "02079460177" || !slices.Contains(d.Numbers, "+442079460105") {
		t.Errorf("caller %q, found by %q", d.Caller, d.Numbers)
	}
}

// campaign is the council's policy with a campaign that begins soon.
func campaign(t *testing.T) (rules *policy.Rules, soon time.Time) {
	t.Helper()
	if testing.Short() {
		t.Skip("windows begin on whole minutes")
	}
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	p := council()
	soon = time.Now().In(london).Truncate(time.Minute).Add(time.Minute)
	for i := range p.Lines {
		if p.Lines[i].Name == "Elections" {
			p.Lines[i].Windows = []policy.Window{{Name: "count", From: soon.Format(time.DateOnly), To: soon.Format(time.DateOnly),
				Hours: soon.Format("15:04") + "-24:00"}}
		}
	}
	if rules, err = policy.New(p); err != nil {
		t.Fatal(err)
	}
	return rules, soon
}

// A campaign begins while a call of its line is up: the call is recorded from
// then on.
func TestCampaignBeginsInMidCall(t *testing.T) {
	t.Parallel()
	rules, soon := campaign(t)
	r := newRig(t, func(c *recorder.Config) { c.Rules, c.MediaTimeout = rules, 5*time.Second })
	r.call(siprectest.Options{To: "02088257777", Duration: time.Until(soon) + 5*time.Second})
	gone := time.Now()
	row := r.finished(1)[0]
	if row.Line != "Elections" {
		t.Errorf("listed on %q", row.Line)
	}
	lasts(t, row, 2*time.Second, gone.Sub(soon))
	hears(t, r.heard(row.ID).Channels[0], 300*time.Millisecond, 1700*time.Millisecond, 440, true)
}

// The machine is too busy when the campaign begins: that is in the account, and
// the call is recorded as soon as there is room.
func TestCampaignIsTriedAgain(t *testing.T) {
	t.Parallel()
	rules, soon := campaign(t)
	r := newRig(t, func(c *recorder.Config) { c.Rules, c.MediaTimeout = rules, 5*time.Second })
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.place(ctx, siprectest.Options{To: "02088257777", Duration: 5 * time.Minute})
	}()
	await(t, "a call that is not recorded", func() bool { return r.rec.Status().Discarded == 1 })
	r.busy(0.95, 12*time.Second)
	<-time.After(time.Until(soon))
	elections := func() (l recorder.Line) {
		for _, d := range r.rec.Status().Completeness {
			for _, l = range d.Lines {
				if l.Name == "Elections" {
					return l
				}
			}
		}
		return l
	}
	await(t, "the refusal to be in the account", func() bool { return len(elections().Refused) == 1 })
	r.busy(0.1, 12*time.Second)
	await(t, "the call to be recorded", func() bool { return len(r.rec.Status().Calls) == 1 })
	hangUp()
	<-done
	r.finished(1)
	if l := elections(); l.Recorded != 1 || l.Offered != 2 {
		t.Errorf("the account: %+v", l)
	}
}

// Case 85: one id for two kinds of element is an error of the client's; the
// call is recorded and flagged. Case 86: a reference to nothing is none.
func TestClashingAndDanglingIds(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"clash": {"metadata ids clash"}, "dangling": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			doc := func(x ids) string {
				if name == "clash" {
					return fmt.Sprintf(`<session session_id=%q/>`, x.session) + streamOf(x.session, x.session, "1") + sends(x.participants[0], x.session)
				}
				return sends(x.participants[0], x.stream[0], "of another client")
			}
			rep := r.call(siprectest.Options{Duration: 1200 * time.Millisecond, Script: []siprectest.Step{{At: 500 * time.Millisecond, Do: partial(doc)}}})
			row := r.finished(1)[0]
			if !rep.OK() || !slices.Equal(row.Flags, flags) || row.Line != "Council tax" {
				t.Errorf("listed on %q with flags %q; the call: %s", row.Line, row.Flags, rep)
			}
			at := r.clock(row.ID)
			hears(t, r.heard(row.ID).Channels[0], at(rep.MediaAt)+slack, at(rep.ByeAt)-slack, 440, true)
		})
	}
}
