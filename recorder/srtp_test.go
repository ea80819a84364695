package recorder_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"siprecd/recorder"
	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
	"siprecd/store"
)

// Flags that media security puts on a recording.
const (
	bareKeys = "media keys sent over unprotected signalling"
	blocked  = "media that could not be decrypted"
)

// suite80 is the suite that every client has.
const suite80 = "AES_CM_128_HMAC_SHA1_80"

// keyedLegs are a caller at 440 Hz and an agent at 1000 Hz, both encrypted.
func keyedLegs(s siprectest.SRTP) []siprectest.Leg {
	return []siprectest.Leg{
		{Audio: audio.Tone(440, -15), SRTP: s, First: 65500}, {Audio: audio.Tone(1000, -15), SRTP: s},
	}
}

// hears wants both parties' tones, and nothing else, in a recording between
// two instants.
func (r *rig) hears(id string, from, to time.Time) {
	r.t.Helper()
	at := r.clock(id)
	for ch, pcm := range r.heard(id).Channels {
		hz := []float64{440, 1000}[ch]
		part := cut(pcm, at(from), at(to))
		if l := level(part, hz); l < -19 || l > -17 {
			r.t.Errorf("channel %d has its %.0f Hz at %.1f dBFS, want -18", ch, hz, l)
		}
		if n := noise(part, hz); n > -40 {
			r.t.Errorf("channel %d has %.1f dBFS beside its tone", ch, n)
		}
	}
}

// lines are listed lines, one for each of several calls at once.
var lines = []struct{ number, name string }{
	{"02088256020", "Building control"}, {"02088255333", "Business waste"}, {"02088257050", "Council tax"},
	{"02088257733", "Customer portal helpline"}, {"02088257170", "Ealing together"}, {"02088259000", "Facilities management"},
	{"02088255588", "Family information service"}, {"02088258825", "Grime busters"}, {"02088257000", "Housing benefits"},
	{"02088256222", "Highways"}, {"02088258888", "Housing demand"}, {"02088255682", "Housing repairs"},
	{"02088258161", "Mobility"}, {"02088256999", "Parks"}, {"02088256644", "Pest control"}, {"02088256600", "Planning"},
}

// together places calls at the same time, each to a line of its own, and tells
// how late the latest packet left, in seconds.
func (r *rig) together(ctx context.Context, calls []siprectest.Options) ([]siprectest.CallReport, float64) {
	out, late := make([]siprectest.CallReport, len(calls)), make([]float64, len(calls))
	var wg sync.WaitGroup
	for i, o := range calls {
		o.To = lines[i].number
		wg.Go(func() { out[i], late[i] = r.place(ctx, o) })
	}
	wg.Wait()
	return out, slices.Max(late)
}

// punctual places calls together on a recorder of their own, and again on
// another one when the machine held their sender up: a backlog comes at once,
// and a recorder is right to be silent for what of it is too late.
func punctual(t *testing.T, calls func() []siprectest.Options) (*rig, []siprectest.CallReport) {
	t.Helper()
	for try := 1; ; try++ {
		r := newRig(t, nil)
		out, late := r.together(t.Context(), calls())
		if late < slack.Seconds() || try == 3 {
			return r, out
		}
		t.Logf("the sender was %.2f s late", late)
	}
}

// of is the finished recording of call i of together.
func (r *rig) of(t *testing.T, i int) (row store.Row) {
	t.Helper()
	await(t, "the recording to be finished", func() bool {
		for _, row = range r.rows() {
			if row.Line == lines[i].name && row.State == store.Finished {
				return true
			}
		}
		return false
	})
	return row
}

// noise is the level of what is in a stretch of PCM beside one frequency, dBFS.
func noise(pcm []int16, hz float64) float64 {
	var worst float64 = -120
	for _, f := range []float64{100, 250, 700, 1500, 2100, 2900, 3300} {
		if f != hz {
			worst = max(worst, level(pcm, f))
		}
	}
	return worst
}

// streams are a recording's streams by the manifest.
func (r *rig) streams(id string) []map[string]any {
	r.t.Helper()
	var m struct {
		Quality []map[string]any `json:"quality"`
	}
	if err := json.Unmarshal(r.sealed(id).ManifestBytes, &m); err != nil {
		r.t.Fatal(err)
	}
	return m.Quality
}

func TestEverySRTPSuiteIsRecorded(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		srtp siprectest.SRTP
		want string
	}{
		{"59: one suite", siprectest.SRTP{Suites: []string{suite80}}, suite80},
		{"AES_32", siprectest.SRTP{Suites: []string{"AES_CM_128_HMAC_SHA1_32"}}, "AES_CM_128_HMAC_SHA1_32"},
		{"AES-256", siprectest.SRTP{Suites: []string{"AES_256_CM_HMAC_SHA1_80"}, Unpadded: true}, "AES_256_CM_HMAC_SHA1_80"},
		{"AES-256_32", siprectest.SRTP{Suites: []string{"AES_256_CM_HMAC_SHA1_32"}}, "AES_256_CM_HMAC_SHA1_32"},
		{"AEAD-128", siprectest.SRTP{Suites: []string{"AEAD_AES_128_GCM"}, Unpadded: true}, "AEAD_AES_128_GCM"},
		{"AEAD-256", siprectest.SRTP{Suites: []string{"AEAD_AES_256_GCM"}}, "AEAD_AES_256_GCM"},
		{"60: twelve suites", siprectest.SRTP{Unpadded: true, Suites: []string{
			"NULL_HMAC_SHA1_80", "NULL_HMAC_SHA1_32", "F8_128_HMAC_SHA1_80", "F8_128_HMAC_SHA1_32",
			"AES_192_CM_HMAC_SHA1_80", "AES_192_CM_HMAC_SHA1_32", "AEAD_AES_256_GCM", "AEAD_AES_128_GCM",
			"AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32", suite80, "AES_CM_128_HMAC_SHA1_32",
		}, Attrs: []string{"fingerprint:sha-256 00:11:22", "setup:actpass"}}, "AEAD_AES_256_GCM"},
		{"61: lifetime and MKI", siprectest.SRTP{Suites: []string{suite80}, Lifetime: "2^31", MKI: []byte{0, 0, 0, 1}}, suite80},
		{"61: plain lifetime", siprectest.SRTP{Suites: []string{suite80}, Lifetime: "1048576"}, suite80},
		{"61: MKI and AEAD", siprectest.SRTP{Suites: []string{"AEAD_AES_128_GCM"}, MKI: []byte{7}}, "AEAD_AES_128_GCM"},
		{"61: RTCP in the clear", siprectest.SRTP{Suites: []string{suite80}, Session: "UNENCRYPTED_SRTCP WSH=64"}, suite80},
		{"58: OSRTP", siprectest.SRTP{Suites: []string{suite80}, Proto: "RTP/AVP"}, suite80},
		{"58: OSRTP declined", siprectest.SRTP{Suites: []string{"F8_128_HMAC_SHA1_80"}, Proto: "RTP/AVP"}, ""},
		{"58: OSRTP with two ways of keying", siprectest.SRTP{Suites: []string{suite80}, Proto: "RTP/AVP",
			Attrs: []string{"fingerprint:sha-256 00:11:22", "setup:actpass"}}, suite80},
		{"SAVPF", siprectest.SRTP{Suites: []string{suite80}, Proto: "RTP/SAVPF"}, suite80},
	}
	r, reports := punctual(t, func() (calls []siprectest.Options) {
		for _, c := range cases {
			calls = append(calls, siprectest.Options{Duration: 2 * time.Second, Legs: keyedLegs(c.srtp)})
		}
		return calls
	})
	if n := r.rec.Status().Warnings[bareKeys]; n != uint64(len(cases)-1) { // but for the one that was declined
		t.Errorf("warnings %v", r.rec.Status().Warnings)
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			rep := reports[i]
			if !rep.OK() || len(rep.Notes) != 0 {
				t.Fatalf("the call went wrong: %s", rep)
			}
			for _, a := range rep.Answer {
				if a.Suite != c.want || a.Fingerprint != "" || a.Setup != "" || a.CryptoTag != slices.Index(c.srtp.Suites, c.want)+1 {
					t.Errorf("answered %+v, want the suite %q and no fingerprint", a, c.want)
				}
			}
			row := r.of(t, i)
			r.hears(row.ID, rep.MediaAt.Add(slack), rep.MediaAt.Add(2*time.Second-slack))
			want := []string{bareKeys}
			if c.want == "" {
				want = nil
			}
			if !slices.Equal(row.Flags, want) {
				t.Errorf("flags %q, want %q", row.Flags, want)
			}
			for _, s := range r.streams(row.ID) {
				if s["lost"] != 0.0 || s["auth_failed"] != nil || c.want != "" && s["security"] != c.want {
					t.Errorf("stream %v", s)
				}
			}
		})
	}
}

func TestSRTPGoesOnAfterAHold(t *testing.T) {
	t.Parallel()
	const mid = 1500 * time.Millisecond
	cases := []struct {
		name string
		do   func(context.Context, *siprectest.Call) error
		then func(context.Context, *siprectest.Call) error
	}{
		{"63, 66: hold and resume", siprectest.Hold, siprectest.Resume},
		{"63: the same offer", siprectest.Refresh, nil},
		{"63: new keys", func(ctx context.Context, c *siprectest.Call) error {
			c.Rekey(0)
			c.Rekey(1)
			return siprectest.Resume(ctx, c)
		}, nil},
		{"offerless re-INVITE", func(ctx context.Context, c *siprectest.Call) error {
			_, err := c.ReInvite(ctx, siprectest.Offer{Empty: true})
			return err
		}, nil},
	}
	var first, last moments // of the first case: the hold and its end
	r, reports := punctual(t, func() (calls []siprectest.Options) {
		for _, c := range cases {
			script := []siprectest.Step{{At: mid, Do: c.do}}
			if c.then != nil {
				script = []siprectest.Step{{At: mid, Do: first.of(c.do)}, {At: mid + time.Second, Do: last.of(c.then)}}
			}
			calls = append(calls, siprectest.Options{Duration: 5 * time.Second, Script: script,
				Legs: keyedLegs(siprectest.SRTP{Suites: []string{"F8_128_HMAC_SHA1_80", suite80}})})
		}
		return calls
	})
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			rep := reports[i]
			if !rep.OK() || len(rep.Notes) != 0 {
				t.Fatalf("the call went wrong: %s", rep)
			}
			row := r.of(t, i)
			begun, over := rep.MediaAt.Add(slack), rep.MediaAt.Add(5*time.Second-slack)
			if c.then == nil {
				r.hears(row.ID, begun, over)
			} else {
				r.hears(row.ID, begun, first.began.Add(-slack))
				r.hears(row.ID, last.done.Add(2*slack), over)
			}
			for _, s := range r.streams(row.ID) {
				if s["lost"] != 0.0 || s["auth_failed"] != nil || s["replays"] != nil {
					t.Errorf("stream %v", s)
				}
			}
			if slices.Contains(row.Flags, blocked) {
				t.Errorf("flags %q", row.Flags)
			}
		})
	}
}

// hostile makes a packet that is not the client's.
func hostile(rng *rand.Rand, i int) []byte {
	b := make([]byte, 172)
	for j := range b {
		b[j] = byte(rng.Uint32())
	}
	switch i % 4 {
	case 0: // RTP of the agreed type
		b[0], b[1] = 0x80, 8
		binary.BigEndian.PutUint16(b[2:], uint16(i))
	case 1: // STUN
		b[0], b[1] = 0, 1
	case 2: // DTLS
		b[0] = 22
	}
	return b
}

func TestJunkAndReplaysLeaveSRTPAlone(t *testing.T) {
	t.Parallel()
	r, reports := punctual(t, junk)
	rep := reports[0]
	if !rep.OK() || len(rep.Notes) != 0 {
		t.Fatalf("the call went wrong: %s", rep)
	}
	row := r.finished(1)[0]
	r.hears(row.ID, rep.MediaAt.Add(slack), rep.MediaAt.Add(4*time.Second-slack))
	var replays, failed, malformed float64
	for i, s := range r.streams(row.ID) {
		n, _ := s["replays"].(float64)
		f, _ := s["auth_failed"].(float64)
		m, _ := s["malformed"].(float64)
		replays, failed, malformed = replays+n, failed+f, malformed+m
		if int(n) < rep.Legs[i].Duplicated {
			t.Errorf("stream %v: %d duplicates were sent", s, rep.Legs[i].Duplicated)
		}
		if s["lost"] != 0.0 || s["duplicate"] != 0.0 {
			t.Errorf("stream %v", s)
		}
	}
	if sum := int(replays+failed+malformed) - rep.Legs[0].Duplicated - rep.Legs[1].Duplicated; sum != 10000 {
		t.Errorf("%d of 10000 junk packets are counted", sum)
	}
	if slices.Contains(row.Flags, blocked) {
		t.Error("the recording is flagged as not decrypted")
	}
}

// junk is a call among whose packets are many that are not its own.
func junk() []siprectest.Options {
	legs := keyedLegs(siprectest.SRTP{Suites: []string{suite80}})
	legs[0].Duplicate, legs[1].Duplicate = 0.3, 0.3
	rng := rand.New(rand.NewPCG(7, 7))
	return []siprectest.Options{{Duration: 4 * time.Second, Legs: legs, Script: []siprectest.Step{
		{At: time.Second, Do: func(ctx context.Context, c *siprectest.Call) error {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for i := range 10000 {
				if err := c.SendRTP(i%2, hostile(rng, i)); err != nil {
					return err
				}
				if i%50 == 0 {
					<-tick.C
				}
			}
			return nil
		}},
	}}}
}

func TestWhatCannotBeDecryptedIsSilentAndAlarmed(t *testing.T) {
	t.Parallel()
	names := []string{"wrong key", "plain RTP", "wrong key, AEAD", "DTLS, another certificate"}
	r := newRig(t, nil)
	var calls []siprectest.Options
	for _, s := range []siprectest.SRTP{
		{Suites: []string{suite80}, WrongKey: true}, {Suites: []string{suite80}, Plain: true},
		{Suites: []string{"AEAD_AES_256_GCM"}, WrongKey: true}, {DTLS: "active", WrongKey: true},
	} {
		calls = append(calls, siprectest.Options{Duration: time.Minute, Legs: keyedLegs(s)})
	}
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	done := make(chan []siprectest.CallReport, 1)
	go func() {
		reports, _ := r.together(ctx, calls)
		done <- reports
	}()
	await(t, "the status to tell", func() bool {
		said := strings.Join(r.rec.Status().Problems, " ")
		return strings.Count(said, "cannot be decrypted") == 2*len(calls)
	})
	hangUp()
	reports := <-done
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			if rep := reports[i]; rep.ByeCode != 200 {
				t.Fatalf("the call went wrong: %s", rep)
			}
			row := r.of(t, i)
			if !slices.Contains(row.Flags, blocked) {
				t.Errorf("flags %q", row.Flags)
			}
			for ch, pcm := range r.heard(row.ID).Channels {
				for _, v := range pcm {
					if v > 8 || v < -8 {
						t.Fatalf("channel %d is not silent: %d", ch, v)
					}
				}
			}
		})
	}
}

func TestDTLS(t *testing.T) {
	t.Parallel()
	var hold, resume moments
	cases := []struct {
		setup, proto, want string
		script             []siprectest.Step
	}{
		{setup: "active", want: "passive"},
		{setup: "passive", want: "active"},
		{setup: "actpass", want: "active", script: []siprectest.Step{
			{At: 4 * time.Second, Do: hold.of(siprectest.Hold)}, {At: 4500 * time.Millisecond, Do: resume.of(siprectest.Resume)}}},
		{setup: "actpass", proto: "UDP/TLS/RTP/SAVPF", want: "active"},
		{setup: "actpass", proto: "RTP/AVP", want: "active"},
	}
	r, reports := punctual(t, func() (calls []siprectest.Options) {
		for _, c := range cases {
			calls = append(calls, siprectest.Options{Duration: 7 * time.Second, Script: c.script,
				Legs: keyedLegs(siprectest.SRTP{DTLS: c.setup, Proto: c.proto})})
		}
		return calls
	})
	for i, c := range cases {
		t.Run(c.setup+" "+c.proto, func(t *testing.T) {
			rep := reports[i]
			if !rep.OK() || len(rep.Notes) != 0 {
				t.Fatalf("the call went wrong: %s", rep)
			}
			for _, a := range rep.Answer {
				if a.Setup != c.want || !strings.HasPrefix(a.Fingerprint, "sha-256 ") || a.Suite != "" {
					t.Errorf("answered %+v", a)
				}
			}
			row := r.of(t, i)
			shaken, over := rep.MediaAt.Add(3*time.Second), rep.MediaAt.Add(7*time.Second-slack)
			if c.script == nil {
				r.hears(row.ID, shaken, over)
			} else {
				r.hears(row.ID, shaken, hold.began.Add(-slack))
				r.hears(row.ID, resume.done.Add(2*slack), over)
			}
			if len(row.Flags) != 0 {
				t.Errorf("flags %q", row.Flags)
			}
			for _, s := range r.streams(row.ID) {
				if s["security"] != suite80 || s["auth_failed"] != nil {
					t.Errorf("stream %v", s)
				}
			}
		})
	}
}

// The next call of a session (RFC 8068) is opened with what was agreed for the
// first: its client has counted a rollover by then, and shakes hands no more.
func TestEncryptedNextCallInTheSameSession(t *testing.T) {
	t.Parallel()
	next := func(x ids) string {
		return fmt.Sprintf(`<session session_id=%q><stop-time>2026-11-02T10:01:00Z</stop-time></session>`, x.session) +
			`<session session_id="cs-2nd-call"><start-time>2026-11-02T10:01:01Z</start-time></session>` +
			participant("p8", "sip:02079460199@example.org") + inSession("p8", "cs-2nd-call", "") +
			participant("p9", "sip:02088256644@example.org") + inSession("p9", "cs-2nd-call", "") +
			streamOf("s8", "cs-2nd-call", "1") + streamOf("s9", "cs-2nd-call", "2") + sends("p8", "s8") + sends("p9", "s9")
	}
	const pests = "Pest control"
	for name, how := range map[string]siprectest.SRTP{"SDES": {Suites: []string{suite80}}, "DTLS": {DTLS: "actpass"}} {
		t.Run(name, func(t *testing.T) {
			var step moments
			r, reports := punctual(t, func() []siprectest.Options {
				return []siprectest.Options{{Duration: 6 * time.Second, Legs: keyedLegs(how),
					Script: []siprectest.Step{{At: 3 * time.Second, Do: step.of(partial(next))}}}}
			})
			rep := reports[0]
			if !rep.OK() || len(rep.Notes) != 0 {
				t.Fatalf("the call went wrong: %s", rep)
			}
			rows := r.finished(2) // newest first
			if rows[0].Line != pests || rows[1].Cause != "next call" {
				t.Fatalf("listed %+v", rows)
			}
			r.hears(rows[0].ID, step.done.Add(2*slack), rep.ByeAt.Add(-slack))
			for _, s := range r.streams(rows[0].ID) {
				if s["security"] != suite80 || s["auth_failed"] != nil || s["replays"] != nil {
					t.Errorf("stream %v", s)
				}
			}
		})
	}
}

func TestSRTPPolicy(t *testing.T) {
	t.Parallel()
	plain := siprectest.SRTP{}
	savp := siprectest.SRTP{Suites: []string{suite80}}
	osrtp := siprectest.SRTP{Suites: []string{suite80}, Proto: "RTP/AVP"}
	odd := siprectest.SRTP{Suites: []string{"F8_128_HMAC_SHA1_80", "NULL_HMAC_SHA1_80"}}
	wanted := siprectest.SRTP{Suites: []string{suite80}, Session: "FEC_ORDER=FEC_SRTP"}
	handshake := siprectest.SRTP{DTLS: "actpass"}
	rigs := map[recorder.SRTP]*rig{}
	for _, p := range []recorder.SRTP{recorder.SRTPOff, recorder.SRTPPrefer, recorder.SRTPRequire} {
		rigs[p] = newRig(t, func(cfg *recorder.Config) {
			cfg.Peer = func(netip.Addr) recorder.PeerOptions { return recorder.PeerOptions{SRTP: p} }
		})
	}
	for _, c := range []struct {
		name   string
		policy recorder.SRTP
		srtp   siprectest.SRTP
		code   int
		suite  string // of the answer
	}{
		{"off, plain", recorder.SRTPOff, plain, 200, ""},
		{"off, SAVP", recorder.SRTPOff, savp, 488, ""},
		{"off, DTLS", recorder.SRTPOff, handshake, 488, ""},
		{"off, OSRTP", recorder.SRTPOff, osrtp, 200, ""},
		{"prefer, plain", recorder.SRTPPrefer, plain, 200, ""},
		{"prefer, SAVP", recorder.SRTPPrefer, savp, 200, suite80},
		{"prefer, 62: no usable suite", recorder.SRTPPrefer, odd, 488, ""},
		{"prefer, 61: an unknown mandatory parameter", recorder.SRTPPrefer, wanted, 488, ""},
		{"require, plain", recorder.SRTPRequire, plain, 488, ""},
		{"require, R51: OSRTP", recorder.SRTPRequire, osrtp, 488, ""},
		{"require, SAVP", recorder.SRTPRequire, savp, 200, suite80},
		{"require, DTLS", recorder.SRTPRequire, handshake, 200, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rigs[c.policy]
			before := len(r.rows())
			rep := r.call(siprectest.Options{Legs: keyedLegs(c.srtp), Duration: 100 * time.Millisecond})
			if rep.Code != c.code {
				t.Fatalf("answered %d, want %d: %s", rep.Code, c.code, rep)
			}
			if n := len(r.rows()) - before; n != 1 && c.code == 200 || n != 0 && c.code != 200 {
				t.Errorf("%d recordings more", n)
			}
			if c.code != 200 {
				return
			}
			for _, a := range rep.Answer {
				if a.Suite != c.suite || a.Port == 0 {
					t.Errorf("answered %+v", a)
				}
			}
		})
	}
}

// TestUnlistedEncryptedCallIsAnswered: the caller of an unrecorded line does
// not suffer either when the client encrypts.
func TestUnlistedEncryptedCallIsAnswered(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	rep := r.call(siprectest.Options{To: "02088250000", Legs: keyedLegs(siprectest.SRTP{Suites: []string{suite80}})})
	if !rep.OK() || rep.Answer[0].Port == 0 || rep.Answer[0].Direction != "inactive" || rep.Answer[0].Suite != suite80 {
		t.Errorf("%s, answered %+v", rep, rep.Answer)
	}
	if n := len(r.rows()); n != 0 {
		t.Errorf("%d recordings", n)
	}
}

// TestKeysAreNowhere looks for a call's keys in all that it leaves behind.
func TestKeysAreNowhere(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	var offers bytes.Buffer
	keep := func(_ context.Context, c *siprectest.Call) error { offers.Write(c.SDP()); return nil }
	rep := r.call(siprectest.Options{Duration: 2 * time.Second, Legs: keyedLegs(siprectest.SRTP{Suites: []string{suite80, "AEAD_AES_256_GCM"}, Unpadded: true}),
		Script: []siprectest.Step{
			{At: 100 * time.Millisecond, Do: keep},
			{At: 200 * time.Millisecond, Do: func(ctx context.Context, c *siprectest.Call) error {
				c.Rekey(0)
				return siprectest.Resume(ctx, c)
			}},
			{At: 500 * time.Millisecond, Do: keep},
			{At: 600 * time.Millisecond, Do: func(context.Context, *siprectest.Call) error {
				b, err := json.Marshal(r.rec.Status())
				if err == nil {
					err = os.WriteFile(filepath.Join(r.dir, "status.json"), b, 0o600)
				}
				return err
			}},
		}})
	if !rep.OK() || len(rep.Notes) != 0 {
		t.Fatalf("the call went wrong: %s", rep)
	}
	row := r.finished(1)[0]
	var keys []string
	for _, m := range regexp.MustCompile(`inline:([A-Za-z0-9+/]+)`).FindAllStringSubmatch(offers.String(), -1) {
		keys = append(keys, m[1])
	}
	if len(keys) < 4 {
		t.Fatalf("only %d keys in the offers", len(keys))
	}
	keys = append(keys, "inline:")
	places := map[string][]byte{"log": r.log.bytes(), "report": []byte(rep.String())}
	d, err := json.Marshal(r.details(row.ID))
	if err != nil {
		t.Fatal(err)
	}
	places["details"], places["manifest"] = d, r.sealed(row.ID).ManifestBytes
	for _, tr := range r.rec.Trace(recorder.TraceQuery{Last: true}) {
		for _, m := range tr.Dialog.Messages {
			places["trace"] = append(places["trace"], bytes.ReplaceAll(m.Raw, []byte("inline:"), nil)...)
		}
	}
	if len(places["trace"]) == 0 {
		t.Error("nothing was traced")
	}
	for name := range files(t, r.dir) {
		b, err := os.ReadFile(filepath.Join(r.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was temporary
		}
		if err != nil {
			t.Fatal(err)
		}
		places[name] = b
	}
	for name, b := range places {
		for _, k := range keys {
			if bytes.Contains(b, []byte(k)) {
				t.Errorf("%q of the call's keys is in %s", k, name)
			}
		}
	}
}
