package interop_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hraban/opus"

	"siprecd/recorder"
)

// offered places a call with the ordinary offer as change has altered it.
// sources[i] is the sender of m-line i.
func offered(change func(s []*source, l []line) []line, judge func(*testing.T, *dialog, kept)) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		s, l := r.two()
		l = change(s, l)
		p := r.dial("tcp")
		d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p), s...).ok().ack().play(700)
		d.bye()
		judge(t, d, r.one())
	}
}

// each line is answered recvonly and both parties are heard.
func bothHeard(t *testing.T, d *dialog, k kept) {
	t.Helper()
	for i, l := range d.lines() {
		if l.kind == "audio" && (l.dir != "recvonly" || l.port == 0) {
			t.Errorf("m-line %d answered %s", i, l.text)
		}
	}
	k.on("Council tax")
	k.sounds("0", "1")
	k.spans(d)
}

// everyLine changes every m-line.
func everyLine(change func(i int, s *source, l *line)) func([]*source, []line) []line {
	return func(s []*source, l []line) []line {
		for i := range l {
			change(i, s[i], &l[i])
		}
		return l
	}
}

func sdpRows() []row {
	static := func(fmts string) func([]*source, []line) []line {
		return everyLine(func(_ int, _ *source, l *line) { l.fmts = fmts })
	}
	rows := []row{
		{numbers: "37", name: "one mixed line is recorded as mono", run: oneMixedLine},
		{numbers: "37 71", name: "Metaswitch's single line", run: captured("metaswitch-terminating", "Registrars", "0", "")},
		{numbers: "38", name: "no direction attribute", run: offered(everyLine(func(_ int, _ *source, l *line) { l.dir = "-" }), bothHeard)},
		{numbers: "39", name: "sendrecv is answered recvonly, and nothing is sent", run: offered(
			everyLine(func(_ int, _ *source, l *line) { l.dir = "sendrecv" }),
			func(t *testing.T, d *dialog, k kept) {
				bothHeard(t, d, k)
				noAudioBack(t, d.sources...)
			})},
		{numbers: "40", name: "odd ports, RTCP elsewhere, mux", run: offered(everyLine(func(_ int, s *source, l *line) {
			s.rebind(func(port int) bool { return port%2 == 1 })
			l.port, l.attrs = s.port, []string{fmt.Sprintf("a=rtcp:%d", s.port+7), "a=rtcp-mux"}
		}), bothHeard)},
		{numbers: "41", name: "c= at the m-lines only", run: addressed(false)},
		{numbers: "41", name: "no c= at all: learnt from the packets", run: addressed(true)},
		{numbers: "41 139", name: "an address of IPv6 alone, and one that is a name", run: otherAddresses},
		{numbers: "42", name: "c=0.0.0.0 first, the address later", run: heldFirst},
		{numbers: "43", name: "G.729 first: one that we play is picked", run: offered(everyLine(func(_ int, _ *source, l *line) {
			l.fmts = "18 0 8"
		}), func(t *testing.T, d *dialog, k kept) {
			bothHeard(t, d, k)
			for _, l := range d.lines() {
				if !slices.Contains(l.fmts, "0") {
					t.Errorf("answered %q", l.fmts)
				}
			}
		})},
		{numbers: "43 R45", name: "no codec that we play: 488, with those that we do", run: noCommonCodec},
		{numbers: "44", name: "static payload types without rtpmap", run: offered(static("0 8"), bothHeard)},
		{numbers: "45", name: "fmtp for a payload type without rtpmap", run: offered(everyLine(func(i int, _ *source, l *line) {
			if i == 1 {
				l.fmts, l.attrs = "18 0 2 100", []string{"a=rtpmap:2 G726-32/8000", "a=rtpmap:100 telephone-event/8000", "a=fmtp:18 annexb=no", "a=fmtp:100 0-15"}
			}
		}), bothHeard)},
		{numbers: "46", name: "each line with its own codecs", run: offered(everyLine(func(i int, s *source, l *line) {
			l.fmts = "0"
			if i == 1 {
				l.fmts = "8"
				s.codec(8, aLaw)
			}
		}), bothHeard)},
		{numbers: "47", name: "Opus first, telephone-event at 48 kHz", run: opusFirst},
		{numbers: "48", name: "G.722 at the right pitch", run: wideband},
		{numbers: "50", name: "comfort noise is no noise", run: comfortNoise},
		{numbers: "51", name: "a packet time that changes in mid-stream", run: changingPtime},
		{numbers: "52", name: "video is answered with a live port and inactive", run: videoBetween(true)},
		{numbers: "52 R7", name: "video is rejected with port 0 where the peer wants that", with: func(s *setup) {
			s.rec.Peer = peerOptions(recorder.PeerOptions{RejectUnwanted: true})
		}, run: videoBetween(false)},
		{numbers: "53 R54", name: "text and MSRP keep their places", run: captured("phrsite-eight-streams", "Housing benefits change of circumstances", "0", "1")},
		{numbers: "53", name: "a line over TCP is answered in its place", run: msrp},
		{numbers: "54", name: "a label missing: by order, flagged", run: labelMissing},
		{numbers: "56", name: "four audio lines are all recorded", run: fourLines},
		{numbers: "57", name: "unknown attributes are ignored, not echoed", run: offered(everyLine(func(_ int, _ *source, l *line) {
			l.attrs = []string{"a=3gOoBTC", "a=X-nat:0", "a=candidate:1 1 UDP 2130706431 192.0.2.7 40000 typ host", "a=ice-ufrag:abcd", "a=mid:0"}
		}), func(t *testing.T, d *dialog, k kept) {
			bothHeard(t, d, k)
			for _, bad := range []string{"3gOoBTC", "X-nat", "candidate", "ice-", "BUNDLE"} {
				if strings.Contains(d.answer.body, bad) {
					t.Errorf("the answer echoes %s", bad)
				}
			}
		})},
	}
	for _, pt := range []byte{96, 97, 100, 101, 108, 126} {
		rows = append(rows, row{numbers: "49", name: fmt.Sprintf("telephone events of payload type %d are no noise", pt), run: events(pt, false)})
	}
	for _, ms := range []int{10, 20, 30, 40, 60} {
		rows = append(rows, row{numbers: "51", name: fmt.Sprintf("ptime %d, maxptime 150", ms), run: offered(
			everyLine(func(_ int, s *source, l *line) {
				s.ptime = time.Duration(ms) * time.Millisecond
				l.attrs = []string{fmt.Sprintf("a=ptime:%d", ms), "a=maxptime:150"}
			}), bothHeard)})
	}
	for _, labels := range [][2]string{{"0", "1"}, {"7", "7"}, {"1677722701", "553654187"}, {"a_leg", "b_leg"},
		{strings.Repeat("x", 64), strings.Repeat("y", 64)}} {
		rows = append(rows, row{numbers: "55 R10 R53", name: "labels " + labels[0][:1] + " and " + labels[1], run: opaqueLabels(labels)})
	}
	return rows
}

// peerOptions treats every client so.
func peerOptions(o recorder.PeerOptions) func(netip.Addr) recorder.PeerOptions {
	return func(netip.Addr) recorder.PeerOptions { return o }
}

func oneMixedLine(t *testing.T, r *rig) {
	s, l := r.some(1)
	a, b := caller(), called()
	b.send = a.send
	p := r.dial("tcp")
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), rfc7865("complete", 1, "", a, b))).text(p), s...).ok().ack().play(600)
	d.bye()
	k := r.one()
	if len(k.audio.Channels) != 1 {
		t.Errorf("%d channels, want 1", len(k.audio.Channels))
	}
	k.sounds("0", "")
	for _, p := range k.d.Parties {
		if p.Channel != "mixed" {
			t.Errorf("party %+v is not in the mixed channel", p)
		}
	}
}

// addressed places a call without a session-level c= line.
func addressed(nowhere bool) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		s, l := r.two()
		for i := range l {
			if !nowhere {
				l[i].addr = "127.0.0.1"
			}
		}
		p := r.dial("tcp")
		d := p.place(p.newInvite(both(describe("", 1, l...), twoParties())).text(p), s...).ok().ack().play(600)
		d.bye()
		bothHeard(t, d, r.one())
	}
}

func heldFirst(t *testing.T, r *rig) {
	s, l := r.two()
	p := r.dial("tcp")
	d := p.place(p.newInvite(both(describe("0.0.0.0", 1, l...), twoParties())).text(p), s...).ok().ack()
	for _, x := range s {
		x.muted = true
	}
	d.play(400)
	for _, x := range s {
		x.muted = false
	}
	ending := time.Now()
	d.reoffer(l...)
	talk := time.Now()
	d.play(400)
	d.bye()
	k := r.one()
	k.spans(d)
	k.heard(d.begun, ending, "", "")
	k.heard(talk, d.over, "0", "1")
	k.hasGap("hold", d.begun, ending)
}

func noCommonCodec(t *testing.T, r *rig) {
	_, l := r.two()
	for i := range l {
		l[i].fmts = "98"
		l[i].attrs = []string{"a=rtpmap:98 ILBC/8000"}
	}
	p := r.dial("tcp")
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p))
	d.is(488)
	w := d.answer.head.Get("Warning")
	for _, want := range []string{"305 ", "PCMU", "PCMA", "opus"} {
		if !strings.Contains(strings.ToLower(w), strings.ToLower(want)) {
			t.Errorf("Warning %q lacks %s", w, want)
		}
	}
	r.none()
}

// opusFirst sends Opus on both lines, as Webex does.
func opusFirst(t *testing.T, r *rig) {
	offered(everyLine(func(_ int, s *source, l *line) {
		l.fmts = "111 107 0 8 101"
		l.attrs = []string{"a=rtpmap:111 opus/48000/2", "a=fmtp:111 useinbandfec=1", "a=rtpmap:107 telephone-event/48000",
			"a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000"}
		s.rate, s.clock = 48000, 48000
		s.codec(111, opusEncoder(t))
	}), func(t *testing.T, d *dialog, k kept) {
		for _, l := range d.lines() {
			if l.fmts[0] != "111" {
				t.Errorf("answered %q", l.fmts)
			}
		}
		bothHeard(t, d, k)
	})(t, r)
}

func opusEncoder(t *testing.T) func([]int16) []byte {
	t.Helper()
	e, err := opus.NewEncoder(48000, 1, opus.AppVoIP)
	if err != nil {
		t.Fatal(err)
	}
	return func(pcm []int16) []byte {
		buf := make([]byte, 1275)
		n, err := e.Encode(pcm, buf)
		if err != nil {
			return nil
		}
		return buf[:n]
	}
}

// wideband sends a tone in G.722, as ffmpeg codes it.
func wideband(t *testing.T, r *rig) {
	offered(everyLine(func(_ int, s *source, l *line) {
		l.fmts, l.attrs = "9 0 8", []string{"a=rtpmap:9 G722/8000"}
		s.rate = 16000
		s.codec(9, ffmpegG722(t, s.hz))
	}), bothHeard)(t, r)
}

// ffmpegG722 is a tone of three seconds, in pieces of the length asked for.
func ffmpegG722(t *testing.T, hz float64) func([]int16) []byte {
	t.Helper()
	coded, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i",
		fmt.Sprintf("sine=frequency=%g:sample_rate=16000:duration=3", hz), "-c:a", "g722", "-f", "g722", "-").Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v", err)
	}
	return func(pcm []int16) []byte {
		n := min(len(pcm)/2, len(coded))
		out := coded[:n]
		coded = coded[n:]
		return out
	}
}

// events sends DTMF between stretches of tone, with every payload type that
// was seen.
func events(pt byte, keep bool) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		s, l := r.two()
		for i := range l {
			l[i].fmts = fmt.Sprintf("0 %d", pt)
			l[i].attrs = []string{fmt.Sprintf("a=rtpmap:%d telephone-event/8000", pt), fmt.Sprintf("a=fmtp:%d 0-%d", pt, 15+pt%2)}
		}
		p := r.dial("tcp")
		d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p), s...).ok().ack()
		if got := d.lines()[0].fmts; len(got) != 2 {
			t.Errorf("events were not accepted: %q", got)
		}
		talk := time.Now()
		d.play(300)
		pressed := time.Now()
		ts := s[0].ts
		for n := range 25 { // half a second of digit 5
			dur := uint16(160 * (n + 1))
			s[0].write(append(rtpHeader(pt, s[0].seq, ts, s[0].ssrc), 5, 10, byte(dur>>8), byte(dur)))
			s[0].seq++
			play(20*time.Millisecond, s[1])
		}
		released := time.Now()
		d.play(300)
		d.bye()
		k := r.one()
		k.heard(talk, pressed, "0", "1")
		k.heard(released, d.over, "0", "1")
		k.quiet(0, pressed, released)
		if kept := len(k.events("dtmf")); kept > 0 != keep {
			t.Errorf("%d digits stand in the history: %+v", kept, k.d.History)
		}
	}
}

func comfortNoise(t *testing.T, r *rig) {
	s, l := r.two()
	for i := range l {
		l[i].fmts = "0 101 13 19"
		l[i].attrs = []string{"a=rtpmap:101 telephone-event/8000", "a=rtpmap:19 CN/8000"}
	}
	p := r.dial("tcp")
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p), s...).ok().ack().play(300)
	quiet := time.Now()
	for n := range 25 {
		pt := byte(13)
		if n%2 == 1 {
			pt = 19
		}
		s[0].write(append(rtpHeader(pt, s[0].seq, s[0].ts+uint32(160*n), s[0].ssrc), 70))
		s[0].seq++
		play(20*time.Millisecond, s[1])
	}
	end := time.Now()
	d.play(200)
	d.bye()
	k := r.one()
	k.quiet(0, quiet, end)
	k.heard(quiet, end, "", "1")
	k.heard(end, d.over, "0", "1")
}

func changingPtime(t *testing.T, r *rig) {
	var talk time.Time
	d, k := r.steady(func(d *dialog) {
		talk = time.Now()
		for _, ms := range []int{20, 10, 60, 30, 40} {
			for _, s := range d.sources {
				s.ptime = time.Duration(ms) * time.Millisecond
			}
			d.play(240)
		}
	})
	k.spans(d)
	for at := k.at(talk) + 0.1; at < k.at(d.over)-0.25; at += 0.15 {
		k.hears(at, at+0.2, "0", "1")
	}
}

func videoBetween(inactive bool) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		s, l := r.two()
		video := line{kind: "video", port: 41000, fmts: "96", attrs: []string{"a=rtpmap:96 H264/90000"}, label: "3"}
		p := r.dial("tcp")
		d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l[0], video, l[1], video), twoParties())).text(p), s[0], nil, s[1], nil).ok().ack().play(600)
		d.bye()
		got := d.lines()
		if len(got) != 4 {
			t.Fatalf("%d m-lines", len(got))
		}
		for i, l := range got {
			want := map[bool]string{true: "audio", false: "video"}[i%2 == 0]
			if l.kind != want || want == "video" && (inactive != (l.port != 0) || inactive && l.dir != "inactive") {
				t.Errorf("m-line %d answered %s", i, l.text)
			}
		}
		r.one().sounds("0", "1")
	}
}

func msrp(t *testing.T, r *rig) {
	s, l := r.two()
	chat := line{kind: "message", port: 2855, proto: "TCP/MSRP", fmts: "*", label: "7", attrs: []string{"a=accept-types:text/plain", "a=path:msrp://192.0.2.1:2855/x;tcp"}}
	text := line{kind: "text", port: 41002, fmts: "98", label: "5", attrs: []string{"a=rtpmap:98 t140/1000"}}
	p := r.dial("tcp")
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, text, l[0], chat, l[1]), twoParties())).text(p), nil, s[0], nil, s[1]).ok().ack().play(500)
	d.bye()
	got := d.lines()
	kinds := ""
	for _, l := range got {
		kinds += l.kind + " "
		if l.kind != "audio" && l.dir != "inactive" && l.port != 0 {
			t.Errorf("answered %s", l.text)
		}
	}
	if kinds != "text audio message audio " {
		t.Errorf("answered %s", kinds)
	}
	r.one().sounds("0", "1")
}

func labelMissing(t *testing.T, r *rig) {
	for _, labels := range [][2]string{{"-", "-"}, {"-", "2"}} {
		s, l := r.two()
		l[0].label, l[1].label = labels[0], labels[1]
		p := r.dial("tcp")
		d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p), s...).ok().ack().play(500)
		d.bye()
	}
	for _, k := range r.finished(2) {
		k.on("Council tax")
		k.sounds("0", "1")
		k.hasFlag("channels by order")
		k.hasFlag("stream without label")
	}
}

func opaqueLabels(labels [2]string) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		s, l := r.two()
		l[0].label, l[1].label = labels[0], labels[1]
		meta := strings.NewReplacer("<label>1</label>", "<label>"+labels[0]+"</label>", "<label>2</label>", "<label>"+labels[1]+"</label>").Replace(twoParties())
		p := r.dial("tcp")
		d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), meta)).text(p), s...).ok().ack().play(500)
		d.bye()
		for i, l := range d.lines() {
			if l.label != labels[i] {
				t.Errorf("label %d came back as %q", i, l.label)
			}
		}
		k := r.one()
		if labels[0] != labels[1] {
			k.sounds("0", "1")
			k.flagged()
			return
		}
		// One label for both lines tells nobody apart; both are still heard.
		if got := k.tones(0, 0, k.seconds(), share/4) + k.tones(1, 0, k.seconds(), share/4); got != "01" {
			t.Errorf("heard %q", got)
		}
	}
}

func fourLines(t *testing.T, r *rig) {
	s, l := r.some(4)
	a, b := caller(), called()
	b.send = "c3Rt2 c3Rt4"
	c := party{id: "cDM=", name: "Third", aor: "sip:02079460999@pstn.example", send: "c3Rt3"}
	p := r.dial("tcp")
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), rfc7865("complete", 4, "", a, b, c))).text(p), s...).ok().ack().play(600)
	d.bye()
	k := r.one()
	k.flagged()
	k.sounds("02", "13")
	if len(k.d.Parties) != 3 {
		t.Errorf("parties %q", k.parties())
	}
}

func otherAddresses(t *testing.T, r *rig) {
	for _, c := range []string{"c=IN IP6 2001:db8::17", "c=IN IP4 media.sbc.example"} {
		s, l := r.two()
		p := r.dial("tcp")
		sdp := strings.Replace(describe("127.0.0.1", 1, l...), "c=IN IP4 127.0.0.1", c, 1)
		d := p.place(p.newInvite(both(sdp, twoParties())).text(p), s...).ok().ack()
		talk := time.Now()
		d.play(400)
		d.bye()
		ks := r.finished(len(r.rows()))
		ks[len(ks)-1].heard(talk, d.over, "0", "1")
	}
}
