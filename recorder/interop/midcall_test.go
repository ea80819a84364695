package interop_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"siprecd/recorder"
)

func midcallRows() []row {
	return []row{
		{numbers: "93 R41", name: "the same re-INVITE again changes nothing", run: refresh},
		{numbers: "94 124 R6 R55", name: "inactive with the same o= version, then sendonly: a marked gap", run: holdAndResume(true)},
		{numbers: "94 96", name: "SDP-only re-INVITEs: the metadata stays", run: holdAndResume(false)},
		{numbers: "95 R43", name: "a second re-INVITE before the first's ACK", run: overlapping},
		{numbers: "97 R19 R42", name: "metadata alone by re-INVITE and by UPDATE", run: metadataAlone},
		{numbers: "98 R42", name: "UPDATE with an offer is answered with SDP", run: updateWithOffer},
		{numbers: "98 R42 R43", name: "their offer meets ours: 491", run: glare},
		{numbers: "99", name: "UPDATE of the From header alone: another party", run: farendChange},
		{numbers: "100", name: "another address and another codec go on in the same recording", run: newAddressAndCodec},
		{numbers: "101", name: "a third line, and a second where there was one", run: addedLine},
		{numbers: "102", name: "a line is closed, and its slot used again", run: reusedSlot},
		{numbers: "103", name: "c=0.0.0.0 holds, an address resumes", run: nullAddress},
		{numbers: "104", name: "inactive from the start, then sendonly: recvonly", run: startsInactive},
		{numbers: "105 R5", name: "what we answered inactive we ask for by re-INVITE", run: ourReinvite},
		{numbers: "106", name: "re-INVITE without an offer: we offer what there is", run: offerless},
		{numbers: "107", name: "INFO is taken, NOTIFY and the like are not", run: otherMethods},
		{numbers: "108 R46", name: "100rel demanded: straight to 200; a stray PRACK is unknown", run: reliable},
		{numbers: "109 R19 R47", name: "BYE with metadata, with Require, with a wrong tag", run: byes},
		{numbers: "110 R44", name: "no ACK, but media: the call is kept", run: noAckButMedia},
		{numbers: "110 R40", name: "a session that nobody hears is closed; a hold is kept", with: func(s *setup) {
			s.rec.MediaTimeout = 4 * time.Second
		}, run: lostBye},
		{numbers: "111", name: "CANCEL before and after the answer", run: cancels},
		{numbers: "112", name: "the INVITE again, the ACK lost: one session", run: retransmissions},
		{numbers: "113", name: "after a restart: 481, and the recording is whole", run: restart},
		{numbers: "114", name: "two clients record one call: two recordings, linked", run: twoClients},
		{numbers: "115", name: "a Call-ID used twice is two dialogs", run: sameCallID},
		{numbers: "116 140 R40", name: "no media: told on the status, finished all the same", run: noMedia},
		{numbers: "R39", name: "session timers: refresher, Require, 422", run: sessionTimers},
	}
}

func refresh(t *testing.T, r *rig) {
	s, l := r.two()
	p := r.dial("tcp")
	body := both(describe("127.0.0.1", 1, l...), twoParties())
	d := p.place(p.newInvite(body).text(p), s...).ok().ack()
	first := d.answer.body
	talk := time.Now()
	d.play(300)
	d.offer(mixed, body)
	if d.answer.body != first {
		t.Errorf("the answer changed:\n%s\n%s", first, d.answer.body)
	}
	d.play(300)
	d.bye()
	k := r.one()
	k.heard(talk, talk.Add(250*time.Millisecond), "0", "1")
	if len(k.d.Parties) != 2 || len(k.events("stream")) != 2 || len(k.events("hold")) != 0 {
		t.Errorf("parties %q, history %+v", k.parties(), k.d.History)
	}
	k.spans(d)
}

// holdAndResume holds for half a second, with or without metadata, and with
// an o= line that never changes.
func holdAndResume(withMeta bool) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		d, l := r.basic()
		send := func(dir string) {
			for i := range l {
				l[i].dir = dir
			}
			sdp := describe("127.0.0.1", 1, l...)
			if withMeta {
				d.offer(mixed, both(sdp, twoParties()))
			} else {
				d.offer("application/sdp", sdp)
			}
		}
		ports := []int{d.lines()[0].port, d.lines()[1].port}
		talk := time.Now()
		d.play(300)
		held := time.Now()
		send("inactive")
		silent := time.Now()
		for _, a := range d.lines() {
			if a.dir != "inactive" || a.port == 0 {
				t.Errorf("inactive answered %s", a.text)
			}
		}
		pause(500 * time.Millisecond)
		ending := time.Now()
		send("sendonly")
		for i, a := range d.lines() {
			if a.dir != "recvonly" || a.port != ports[i] {
				t.Errorf("resume answered %s", a.text)
			}
		}
		resumed := time.Now()
		d.play(300)
		d.bye()
		k := r.one()
		k.heard(talk, held, "0", "1")
		k.heard(held, resumed, "", "")
		k.heard(resumed, d.over, "0", "1")
		k.hasGap("hold", silent, ending)
		k.hasEvent("hold", "")
		k.hasEvent("resume", "")
		k.spans(d)
		k.on("Council tax")
		k.flagged()
		if len(k.d.Parties) != 2 {
			t.Errorf("parties %q", k.parties())
		}
	}
}

func overlapping(t *testing.T, r *rig) {
	d, l := r.basic()
	d.play(200)
	for range 2 { // pause and resume, each two offers of which one is acknowledged
		for i := range l {
			l[i].dir = map[string]string{"": "inactive", "inactive": ""}[l[i].dir]
		}
		body := describe("127.0.0.1", 1, l...)
		d.cseq += 2
		d.p.send(d.inDialog("INVITE", d.cseq-1, "application/sdp", body) + d.inDialog("INVITE", d.cseq, "application/sdp", body))
		for _, n := range []int{d.cseq - 1, d.cseq} {
			if m := d.p.final(d.callID, fmt.Sprintf("%d INVITE", n)); m.code != 200 {
				t.Errorf("answered %s", m.first)
			} else {
				d.answer = m
			}
		}
		d.ack()
	}
	d.aim()
	resumed := time.Now()
	d.play(800) // longer than T1: the missing ACK must not matter
	if n := d.p.count(func(m message) bool { return m.code == 0 && m.method() == "BYE" }); n != 0 {
		t.Error("the recorder hung up")
	}
	first := d.cseq - 3
	if n := d.p.count(func(m message) bool { return m.code == 200 && m.cseq() == fmt.Sprintf("%d INVITE", first) }); n > 1 {
		t.Errorf("the first 200 came %d times after the client had gone on", n)
	}
	d.bye()
	r.one().heard(resumed, d.over, "0", "1")
}

func metadataAlone(t *testing.T, r *rig) {
	d, _ := r.basic()
	d.play(200)
	meta := strings.Replace(twoParties(), "Council Tax", "Desk Nine", 1)
	if m := d.ask("UPDATE", xmlMeta, meta); m.code != 200 || m.body != "" {
		t.Errorf("UPDATE answered %s %q", m.first, m.body)
	}
	m := d.ask("INVITE", xmlMeta, meta)
	if m.code != 200 || len(lines(m.body)) != 2 {
		t.Errorf("re-INVITE answered %s %q", m.first, m.body)
	}
	var l []line
	for i, s := range d.sources {
		l = append(l, line{port: s.port, label: fmt.Sprint(i + 1)})
	}
	d.ack(describe("127.0.0.1", 2, l...))
	talk := time.Now()
	d.play(300)
	d.bye()
	k := r.one()
	k.heard(talk, d.over, "0", "1")
	if len(k.d.Documents) != 2 || !strings.Contains(strings.Join(k.parties(), " "), "Desk Nine") {
		t.Errorf("%d documents, parties %q", len(k.d.Documents), k.parties())
	}
}

func updateWithOffer(t *testing.T, r *rig) {
	d, l := r.basic()
	d.play(200)
	l[0].dir, l[1].dir = "inactive", "inactive"
	m := d.ask("UPDATE", "application/sdp", describe("127.0.0.1", 2, l...))
	if a := lines(m.body); m.code != 200 || len(a) != 2 || a[0].dir != "inactive" {
		t.Errorf("UPDATE answered %s %q", m.first, m.body)
	}
	if !strings.Contains(m.head.Get("Contact"), "+sip.srs") {
		t.Errorf("Contact %q", m.head.Get("Contact"))
	}
	held := time.Now()
	pause(400 * time.Millisecond)
	d.bye()
	r.one().hasGap("hold", held, d.over)
}

// inactiveCall opens a call whose lines are inactive, as a client that
// knows what to answer when it is asked.
func inactiveCall(r *rig) (*dialog, []line) {
	r.t.Helper()
	s, l := r.two()
	for i := range l {
		l[i].dir = "inactive"
	}
	p := r.dial("tcp")
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p), s...).ok()
	return d, l
}

// laterListed opens a call whose metadata names no listed line, so that its
// media is not wanted, and then tells the line by metadata alone.
func laterListed(r *rig, reply func([]line) func(message) string) (*dialog, []line) {
	r.t.Helper()
	s, l := r.two()
	p := r.dial("tcp")
	p.reply = reply(l)
	unlisted := strings.Replace(twoParties(), councilAoR, "sip:02079461111@contact.example", 1)
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), unlisted)).text(p), s...).ok().ack()
	for _, a := range d.lines() {
		if a.dir != "inactive" {
			r.t.Fatalf("answered %s", a.text)
		}
	}
	if m := d.ask("UPDATE", xmlMeta, twoParties()); m.code != 200 {
		r.t.Fatalf("UPDATE answered %s", m.first)
	}
	return d, l
}

func ourReinvite(t *testing.T, r *rig) {
	d, l := laterListed(r, reinviteReply)
	m := d.p.asked("INVITE")
	d.answer.body = m.body
	for i, a := range lines(m.body) {
		if a.dir != "recvonly" || a.port == 0 || a.label != l[i].label {
			t.Errorf("offered %s", a.text)
		}
	}
	if len(lines(m.body)) != 2 || !strings.Contains(m.head.Get("Contact"), "+sip.srs") {
		t.Errorf("Contact %q, body %s", m.head.Get("Contact"), m.body)
	}
	d.p.asked("ACK")
	d.aim()
	talk := time.Now()
	d.play(400)
	d.bye()
	r.one().heard(talk, d.over, "0", "1")
}

// reinviteReply answers the recorder's re-INVITE with the lines sendonly.
func reinviteReply(l []line) func(message) string {
	own := slices.Clone(l)
	for i := range own {
		own[i].dir = "sendonly"
	}
	return func(m message) string {
		if m.method() == "INVITE" {
			return respond(m, "200 OK", describe("127.0.0.1", 2, own...))
		}
		return respond(m, "200 OK", "")
	}
}

func glare(t *testing.T, r *rig) {
	d, l := laterListed(r, func([]line) func(message) string {
		return func(m message) string { // ours is left waiting
			if m.method() == "INVITE" {
				return ""
			}
			return respond(m, "200 OK", "")
		}
	})
	p := d.p
	ours := p.asked("INVITE")
	for _, method := range []string{"INVITE", "UPDATE"} {
		m := d.ask(method, "application/sdp", describe("127.0.0.1", 2, l...))
		if m.code != 491 {
			t.Errorf("%s answered %s, want 491", method, m.first)
		}
		if method == "INVITE" {
			d.ack()
		}
	}
	p.mu.Lock()
	p.reply = reinviteReply(l)
	p.mu.Unlock()
	at := time.Now()
	p.send(respond(ours, "491 Request Pending", ""))
	again := p.await("our offer again", func(m message) bool {
		return m.code == 0 && m.method() == "INVITE" && m.cseq() != ours.cseq()
	})
	if d := again.at.Sub(at); d > 8*time.Second { // 0 to 2 s: the Call-ID is not ours
		t.Errorf("ours came again after %v", d)
	}
	p.await("its ACK", func(m message) bool {
		return m.code == 0 && m.method() == "ACK" && strings.Fields(m.cseq())[0] == strings.Fields(again.cseq())[0]
	})
	d.answer.body = again.body
	d.aim()
	talk := time.Now()
	d.play(300)
	d.bye()
	r.one().heard(talk, d.over, "0", "1")
}

func farendChange(t *testing.T, r *rig) {
	s, _ := r.some(1)
	p := r.dial("tcp")
	text := fixture(t, "cucm-farend-no-body")
	d := p.place(text, s...).ok().ack(describe("127.0.0.1", 1, line{port: s[0].port, label: "-", fmts: "0 101"})).play(300)
	from := field(text, "From")
	old := regexp.MustCompile(`x-farendaddr=[^;>]+`)
	if !old.MatchString(from) {
		t.Fatalf("From %q", from)
	}
	for range 2 {
		m := d.ask("UPDATE", "", "", "From: "+old.ReplaceAllString(from, "x-farendaddr=02079460888"))
		if m.code != 200 || m.body != "" {
			t.Errorf("UPDATE answered %s", m.first)
		}
	}
	d.play(200)
	d.bye()
	k := r.one()
	if !strings.Contains(strings.Join(k.parties(), " ")+k.d.Caller, "02079460888") {
		t.Errorf("caller %q, parties %q", k.d.Caller, k.parties())
	}
	if !k.hasText("02079460105") {
		t.Error("the first party is forgotten")
	}
}

func newAddressAndCodec(t *testing.T, r *rig) {
	d, l := r.basic()
	talk := time.Now()
	d.play(300)
	moved := time.Now()
	for i, s := range d.sources {
		s.rebind(func(int) bool { return true })
		s.ssrc += 77
		s.ts += 1 << 20
		s.seq += 999
		l[i].port, l[i].fmts = s.port, "8 101"
		l[i].attrs = []string{"a=rtpmap:101 telephone-event/8000"}
		s.codec(8, aLaw)
	}
	d.reoffer(l...)
	pcma := time.Now()
	d.play(300)
	for i, s := range d.sources {
		l[i].fmts, l[i].attrs = "111", []string{"a=rtpmap:111 opus/48000/2"}
		s.rate, s.clock, s.phase = 48000, 48000, 0
		s.codec(111, opusEncoder(t))
	}
	toOpus := time.Now()
	d.reoffer(l...)
	inOpus := time.Now()
	d.play(400)
	d.bye()
	k := r.one()
	k.heard(talk, moved, "0", "1")
	k.heard(pcma.Add(60*time.Millisecond), toOpus, "0", "1")
	k.heard(inOpus.Add(100*time.Millisecond), d.over, "0", "1")
	k.spans(d)
}

func addedLine(t *testing.T, r *rig) {
	s, l := r.some(3)
	p := r.dial("tcp")
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l[0]), rfc7865("complete", 1, "", caller(), party{id: "cDI=", name: "Council Tax", aor: councilAoR}))).text(p), s...).ok().ack()
	port := d.lines()[0].port
	talk := time.Now()
	d.play(300)
	second := time.Now()
	d.version++
	d.offer(mixed, both(describe("127.0.0.1", 2, l[:2]...), twoParties()))
	both2 := time.Now()
	d.play(300)
	third := time.Now()
	x := party{id: "cDM=", name: "Third", aor: "sip:02079460777@pstn.example", send: "c3Rt3"}
	d.offer(mixed, both(describe("127.0.0.1", 3, l...), rfc7865("complete", 3, "", caller(), called(), x)))
	all := time.Now()
	d.play(300)
	if got := d.lines(); len(got) != 3 || got[0].port != port {
		t.Errorf("answered %s", d.answer.body)
	}
	d.bye()
	k := r.one()
	if len(k.audio.Channels) != 2 {
		t.Fatalf("%d channels: what comes second has no place", len(k.audio.Channels))
	}
	k.heard(talk, second, "0", "")
	k.heard(both2, third, "0", "1")
	k.heard(all, d.over, "02", "1")
}

func reusedSlot(t *testing.T, r *rig) {
	d, l := r.basic()
	d.play(200)
	port := l[1].port
	l[1].port = 0
	d.reoffer(l...)
	if got := d.lines(); len(got) != 2 || got[1].port != 0 {
		t.Errorf("answered %s", d.answer.body)
	}
	closed := time.Now()
	d.play(300)
	l[1].port = port
	l[1].label = "9"
	again := time.Now()
	meta := strings.Replace(twoParties(), "<label>2<", "<label>9<", 1)
	d.offer(mixed, both(describe("127.0.0.1", 3, l...), meta))
	reopened := time.Now()
	d.play(300)
	d.bye()
	k := r.one()
	k.heard(closed, again, "0", "")
	k.heard(reopened, d.over, "0", "1")
	if n := len(k.events("stream")); n != 4 {
		t.Errorf("%d stream events: %+v", n, k.events("stream"))
	}
}

func nullAddress(t *testing.T, r *rig) {
	d, l := r.basic()
	talk := time.Now()
	d.play(300)
	held := time.Now()
	for i := range l {
		l[i].dir = "-"
	}
	d.offer("application/sdp", describe("0.0.0.0", 2, l...))
	silent := time.Now()
	pause(400 * time.Millisecond)
	ending := time.Now()
	d.offer("application/sdp", describe("127.0.0.1", 3, l...))
	resumed := time.Now()
	d.play(300)
	d.bye()
	k := r.one()
	k.heard(talk, held, "0", "1")
	k.heard(held, resumed, "", "")
	k.heard(resumed, d.over, "0", "1")
	k.hasGap("hold", silent, ending)
	k.hasEvent("hold", "")
	k.hasEvent("resume", "")
}

func startsInactive(t *testing.T, r *rig) {
	d, l := inactiveCall(r)
	d.ack()
	pause(200 * time.Millisecond)
	l[0].dir, l[1].dir = "sendonly", "sendonly"
	d.reoffer(l...)
	for _, a := range d.lines() {
		if a.dir != "recvonly" {
			t.Errorf("answered %s", a.text)
		}
	}
	talk := time.Now()
	d.play(400)
	d.bye()
	k := r.one()
	k.heard(talk, d.over, "0", "1")
	k.spans(d)
}

func offerless(t *testing.T, r *rig) {
	d, l := r.basic()
	ports := d.lines()
	d.play(200)
	m := d.ask("INVITE", "", "")
	got := lines(m.body)
	if m.code != 200 || len(got) != 2 {
		t.Fatalf("answered %s %q", m.first, m.body)
	}
	for i, a := range got {
		if a.dir != "recvonly" || a.port != ports[i].port {
			t.Errorf("offered %s", a.text)
		}
	}
	d.ack(describe("127.0.0.1", 2, l...))
	talk := time.Now()
	d.play(300)
	d.bye()
	r.one().heard(talk, d.over, "0", "1")
}

func otherMethods(t *testing.T, r *rig) {
	d, _ := r.basic()
	if m := d.ask("INFO", "application/media_control+xml", "<media_control><picture_fast_update/></media_control>"); m.code != 200 {
		t.Errorf("INFO answered %s", m.first)
	}
	if m := d.ask("INFO", "", "", "X-AC-Action: pause"); m.code != 200 {
		t.Errorf("INFO answered %s", m.first)
	}
	for _, method := range []string{"NOTIFY", "REFER", "SUBSCRIBE", "MESSAGE"} {
		m := d.ask(method, "", "", "Event: refer")
		if m.code != 405 && m.code != 481 || m.code == 405 && !strings.Contains(m.head.Get("Allow"), "UPDATE") {
			t.Errorf("%s answered %s, Allow %q", method, m.first, m.head.Get("Allow"))
		}
	}
	d.play(200)
	d.bye()
	r.one()
}

func reliable(t *testing.T, r *rig) {
	s, l := r.two()
	p := r.dial("tcp")
	i := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties()))
	i.head = []string{"Require: siprec, 100rel"}
	d := p.place(i.text(p), s...).ok()
	if n := p.count(func(m message) bool { return m.code > 100 && m.code < 200 }); n != 0 {
		t.Errorf("%d provisional responses", n)
	}
	d.ack()
	if m := d.ask("PRACK", "", "", "RAck: 1 1 INVITE"); m.code != 481 {
		t.Errorf("PRACK answered %s", m.first)
	}
	d.play(200)
	d.bye()
	r.one()
}

func byes(t *testing.T, r *rig) {
	d, _ := r.basic()
	talk := time.Now()
	d.play(250)
	good := d.to
	d.to = strings.SplitN(good, ";tag=", 2)[0] + ";tag=nobody"
	if m := d.ask("BYE", "", ""); m.code != 481 {
		t.Errorf("BYE with a wrong tag answered %s", m.first)
	}
	d.to = good
	d.over = time.Now()
	meta := strings.Replace(twoParties(), "Council Tax", "Last Word", 1)
	if m := d.ask("BYE", xmlMeta, meta, "Require: siprec", `Reason: Q.850;cause=16;text="Terminated"`); m.code != 200 {
		t.Errorf("BYE answered %s", m.first)
	}
	k := r.one()
	k.heard(talk, d.over, "0", "1")
	if !strings.Contains(strings.Join(k.parties(), " "), "Last Word") {
		t.Errorf("the BYE's metadata is lost: %q", k.parties())
	}
	if !strings.Contains(k.row.Cause, "16") && !k.hasText("cause=16") {
		t.Errorf("the Reason is lost: cause %q, history %+v", k.row.Cause, k.d.History)
	}
}

func noAckButMedia(t *testing.T, r *rig) {
	s, l := r.two()
	p := r.dial("udp")
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p), s...).ok()
	d.play(1200)
	await(t, "the 200 again, until the ACK", func() bool {
		return p.count(func(m message) bool { return m.code == 200 && m.cseq() == "1 INVITE" }) >= 2
	})
	d.ack()
	d.bye()
	k := r.one()
	k.sounds("0", "1")
}

// lostBye lets a client vanish, and another hold.
func lostBye(t *testing.T, r *rig) {
	held, l := r.basic()
	gone, _ := r.basic()
	play(300*time.Millisecond, append(held.sources, gone.sources...)...)
	silent := time.Now()
	for i := range l {
		l[i].dir = "inactive"
	}
	held.reoffer(l...)
	_ = gone.p.conn.Close()
	k := r.one() // the other is live
	if k.d.CallID != gone.callID || !strings.Contains(k.row.Cause, "media") {
		t.Errorf("closed for %q", k.row.Cause)
	}
	if d := k.row.Ended.Sub(silent); d < time.Second || d > 15*time.Second {
		t.Errorf("closed after %v", d)
	}
	if n := len(r.rec.Status().Calls); n != 1 {
		t.Errorf("%d calls live, want the one on hold", n)
	}
	pause(2500 * time.Millisecond)
	held.bye()
	r.finished(2)
}

func cancels(t *testing.T, r *rig) {
	p := r.dial("udp")
	_, l := r.two()
	i := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties()))
	text := i.text(p)
	head, _, _ := strings.Cut(text, "\r\n\r\n")
	var keep []string
	for _, h := range strings.Split(head, "\r\n")[1:] {
		name, _, _ := strings.Cut(h, ":")
		if slices.Contains([]string{"Via", "Max-Forwards", "From", "To", "Call-ID"}, name) {
			keep = append(keep, h)
		}
	}
	cancel := request("CANCEL "+i.uri, append(keep, "CSeq: 1 CANCEL"), "")
	p.send(text)
	p.send(cancel)
	if m := p.final(i.callID, "1 CANCEL"); m.code != 200 && m.code != 481 {
		t.Errorf("CANCEL answered %s", m.first)
	}
	m := p.final(i.callID, "1 INVITE")
	d := &dialog{p: p, callID: i.callID, from: i.from, to: m.head.Get("To"), cseq: 1}
	d.ack()
	switch m.code {
	case 200: // the answer was quicker: the client ends it
		d.target = strings.Trim(regexp.MustCompile(`<[^>]*>`).FindString(m.head.Get("Contact")), "<>")
		d.bye()
	case 487:
	default:
		t.Errorf("answered %s", m.first)
	}
	await(t, "the session to be gone", func() bool {
		st := r.rec.Status()
		return len(st.Calls) == 0 && st.Discarded == 0
	})
	alive(t, r)
}

func retransmissions(t *testing.T, r *rig) {
	s, l := r.two()
	p := r.dial("udp")
	text := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p)
	for range 4 {
		p.send(text)
	}
	d := p.place(text, s...).ok()
	talk := time.Now()
	d.play(700) // the first ACK is lost
	p.send(text)
	d.ack().play(200)
	await(t, "the 200 again", func() bool {
		return p.count(func(m message) bool { return m.code == 200 && m.cseq() == "1 INVITE" }) > 1
	})
	d.bye()
	r.one().heard(talk, d.over, "0", "1")
}

func restart(t *testing.T, r *rig) {
	d, _ := r.basic()
	d.play(500)
	r.stop()
	again := newRig(t, func(s *setup) { s.dir = r.dir })
	p := again.dial("tcp")
	d.p = p
	for _, method := range []string{"INVITE", "UPDATE", "BYE"} {
		if m := d.ask(method, "", ""); m.code != 481 {
			t.Errorf("%s answered %s, want 481", method, m.first)
		}
	}
	s, l := again.two()
	i := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties()))
	i.callID = d.callID
	e := p.place(i.text(p), s...).ok().ack().play(300)
	e.bye()
	ks := again.finished(2)
	for _, k := range ks {
		k.on("Council tax")
		k.sounds("0", "1")
	}
}

func twoClients(t *testing.T, r *rig) {
	var ds []*dialog
	for range 2 {
		d, _ := r.basic()
		ds = append(ds, d)
	}
	talk := time.Now()
	play(400*time.Millisecond, append(ds[0].sources, ds[1].sources...)...)
	end := time.Now()
	for _, d := range ds {
		d.bye()
	}
	ks := r.finished(2)
	for _, k := range ks {
		k.heard(talk, end, "0", "1")
	}
	if ks[0].d.CallKey != ks[1].d.CallKey || ks[0].d.CallKey == "" {
		t.Errorf("keys %q and %q", ks[0].d.CallKey, ks[1].d.CallKey)
	}
	if len(ks[0].d.Links)+len(ks[1].d.Links) == 0 {
		t.Error("they are not linked")
	}
}

func noMedia(t *testing.T, r *rig) {
	d, _ := r.basic()
	d.sources[1].muted = true
	d.play(300)
	var st recorder.Status
	await(t, "the packets to be counted", func() bool {
		st = r.rec.Status()
		return len(st.Calls) == 1 && len(st.Calls[0].Legs) == 2 && st.Calls[0].Legs[0].Packets > 5
	})
	c := st.Calls[0]
	if c.Line != "Council tax" || c.Legs[0].Label != "1" || c.Legs[1].Packets != 0 || c.Legs[1].Hold {
		t.Errorf("status %+v", c)
	}
	// Ten seconds without a packet are told as a problem.
	await11 := awaitFor(11*time.Second, func() bool { return len(r.rec.Status().Problems) > 0 })
	st = r.rec.Status()
	if !await11 || st.OK || !strings.Contains(st.Sentence, "o media") {
		t.Errorf("ok %v, %q, problems %q", st.OK, st.Sentence, st.Problems)
	}
	d.bye()
	k := r.one()
	k.spans(d)
	k.hasGap("no media", d.begun, d.over)
}

func sameCallID(t *testing.T, r *rig) {
	var ds []*dialog
	p := r.dial("tcp")
	for range 2 {
		s, l := r.two()
		i := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties()))
		i.callID = "same@127.0.0.1"
		i.cseq = 1 + len(ds)
		ds = append(ds, p.place(i.text(p), s...).ok().ack())
	}
	if ds[0].to == ds[1].to {
		t.Error("both dialogs have one tag")
	}
	talk := time.Now()
	play(300*time.Millisecond, append(ds[0].sources, ds[1].sources...)...)
	end := time.Now()
	ds[1].cseq = 20
	ds[1].bye()
	await(t, "one call to be left", func() bool { return len(r.rec.Status().Calls) == 1 })
	ds[0].cseq = 30
	ds[0].bye()
	for _, k := range r.finished(2) {
		k.heard(talk, end, "0", "1")
	}
}

func sessionTimers(t *testing.T, r *rig) {
	for _, c := range []struct {
		head            []string
		code            int
		expires, demand string
	}{
		{[]string{"Supported: timer", "Session-Expires: 1800"}, 200, "1800;refresher=uac", "timer"},
		{[]string{"Supported: timer", "Session-Expires: 1800;refresher=uac"}, 200, "1800;refresher=uac", "timer"},
		{[]string{"Supported: timer", "Session-Expires: 1800;refresher=uas"}, 200, "1800;refresher=uas", ""},
		{[]string{"Session-Expires: 1800"}, 200, "1800;refresher=uas", ""},
		{[]string{"Supported: timer", "Session-Expires: 60"}, 422, "", ""},
		{nil, 200, "", ""},
	} {
		_, l := r.two()
		p := r.dial("tcp")
		i := p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties()))
		i.head = append(i.head, c.head...)
		d := p.place(i.text(p))
		h := d.answer.head
		if d.answer.code != c.code || h.Get("Session-Expires") != c.expires || h.Get("Require") != c.demand {
			t.Errorf("%q answered %s, Session-Expires %q, Require %q", c.head, d.answer.first, h.Get("Session-Expires"), h.Get("Require"))
		}
		if c.code == 422 && h.Get("Min-Se") != "90" {
			t.Errorf("Min-SE %q", h.Get("Min-Se"))
		}
		if d.answer.code == 200 {
			d.ack().bye()
		}
	}
}
