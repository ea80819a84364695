package interop_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"siprecd/recorder"
	"siprecd/recorder/web"
	"siprecd/store"
)

const xmlMeta = "application/rs-metadata+xml"

// told plays a file and judges who is said to take part.
func told(file string, want who) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		d := r.fixture(file, 8).ok().ack().play(500)
		d.bye()
		k := r.one()
		want.check(t, k)
	}
}

// who is what the details say of the parties; empty strings are not checked.
type who struct {
	line, caller, called, agent, key, direction string
	left, right                                 string
	parties                                     int
}

func (w who) check(t *testing.T, k kept) {
	t.Helper()
	k.on(w.line)
	k.sounds(w.left, w.right)
	for _, c := range []struct{ what, got, want string }{
		{"caller", k.d.Caller, w.caller}, {"called", k.d.Called, w.called}, {"agent", k.d.Agent, w.agent},
		{"call key", k.d.CallKey, w.key}, {"direction", k.d.Direction, w.direction},
	} {
		if c.want != "" && !strings.Contains(c.got, c.want) {
			t.Errorf("%s %q, want %q", c.what, c.got, c.want)
		}
	}
	if w.parties != 0 && len(k.d.Parties) != w.parties {
		t.Errorf("parties %q, want %d", k.parties(), w.parties)
	}
	if len(k.d.Documents) == 0 || len(k.d.Documents[0].Body) == 0 {
		t.Error("the metadata is not kept as it came")
	}
}

// withMeta places an ordinary call with that metadata and judges it.
func withMeta(meta string, judge func(*testing.T, kept)) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		s, l := r.two()
		p := r.dial("tcp")
		d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), meta)).text(p), s...).ok().ack().play(500)
		d.bye()
		judge(t, r.one())
	}
}

func metadataRows() []row {
	return []row{
		{numbers: "67 R32", name: "the RFC's complete document", run: told("rfc7865-complete", who{
			line: "Customer portal helpline", caller: "02079460103", called: "02088257733", key: "ab30317f1a784dc48ff824d0d3715d86",
			left: "0", right: "1", parties: 2})},
		{numbers: "68 88 89 R37", name: "Oracle: roles by callingParty, the line by request-uri", run: told("oracle-complete", who{
			line: "Council tax", caller: "02079460101", called: "02088257050", key: "00FA0800012CAB553FA9ED", left: "0", right: "1", parties: 2})},
		{numbers: "69 88", name: "Sonus: prefix, callData, label 2 is the caller", run: told("sonus-caller-label-2", who{
			line: "Mobility", caller: "02079460107", called: "02088258161", key: "4711_8820", left: "1", right: "0", parties: 2})},
		{numbers: "70", name: "BroadWorks: the queue's number is the line, termCall the direction", run: told("broadworks-queue-number", who{
			line: "Street services", caller: "02079460110", agent: "agent9", key: "8028549:1", direction: "inbound", left: "0", parties: 2})},
		{numbers: "70", name: "BroadWorks outbound", run: told("broadworks-outbound", who{
			line: "Parks", direction: "outbound", left: "0"})},
		{numbers: "71", name: "Metaswitch: recordedParty and dialedDigits", run: told("metaswitch-originating", who{
			line: "Registrars", direction: "outbound", left: "0"})},
		{numbers: "72 97", name: "Avaya: a dummy first, the real party by UPDATE", run: avaya},
		{numbers: "73", name: "jambonz: raw UUIDs, extension under the root", run: told("jambonz-raw-uuids", who{
			line: "Housing benefits", caller: "02079460114", called: "02088257000", direction: "inbound",
			key: "11111111-2222-4333-8444-000000000009", left: "0", right: "1", parties: 2})},
		{numbers: "74", name: "OpenSIPS: audio labels missing from the XML", run: captured("opensips-video-labels-missing", "Housing repairs", "0", "2", "channels by order")},
		{numbers: "75", name: "the label in the XML is another than in the SDP: by order", run: withMeta(
			strings.NewReplacer("<label>1<", "<label>Caller_Stream<", "<label>2<", "<label>Callee_Stream<").Replace(twoParties()),
			func(t *testing.T, k kept) {
				k.on("Council tax")
				k.sounds("0", "1")
				k.flagged("channels by order")
			})},
		{numbers: "76 R33", name: "no datamode is complete", run: withMeta(rfc7865("", 2, "", caller(), called()), func(t *testing.T, k kept) {
			k.on("Council tax")
			k.flagged()
			k.sounds("0", "1")
		})},
		{numbers: "76 R22", name: "partial before any complete is accepted, and no snapshot asked of a stranger", run: partialFirst(false)},
		{numbers: "76 R24", name: "a snapshot is asked of a client that is known to give it", with: func(s *setup) {
			s.rec.Peer = peerOptions(recorder.PeerOptions{Snapshot: true})
		}, run: partialFirst(true)},
		{numbers: "77 R36", name: "a partial hold is in the history, and what it does not mention stays", run: partialHold},
		{numbers: "78 83", name: "a party that leaves, or sends no more, ends its channel", run: partyLeaves},
		{numbers: "79 R22", name: "transfer in the session: the channel has another party from then on", run: transfer},
		{numbers: "79", name: "parties that change places change channels from that instant", run: changePlaces},
		{numbers: "80", name: "a new session in the same dialog is a second recording", run: newSession},
		{numbers: "81", name: "two sessions from the start are both found", run: twoSessions},
		{numbers: "82", name: "new ids in mid-call do not make a new call", run: newIDs},
		{numbers: "84", name: "a conference: three parties on one stream", run: conference},
		{numbers: "85 R35", name: "one id for two things: the audio is kept", run: withMeta(
			rfc7865("complete", 2, `<stream stream_id="cDE=" session_id="cDE="><label>9</label></stream>`, caller(), called()),
			func(t *testing.T, k kept) {
				k.on("Council tax")
				k.sounds("0", "1")
			})},
		{numbers: "86 R25", name: "ids that nobody defined are no error", run: withMeta(
			rfc7865("complete", 2, `<participantstreamassoc participant_id="bm9ib2R5"><send>bm93aGVyZQ==</send></participantstreamassoc>`, caller(), called()),
			func(t *testing.T, k kept) {
				k.flagged()
				k.sounds("0", "1")
			})},
		{numbers: "87", name: "NetSapiens: same streams, same group, two calls, linked", run: sameGroup},
		{numbers: "88 R34 R37", name: "times without zone, of 1970: our clock, and theirs kept raw", run: withMeta(
			strings.Replace(twoParties(), "2026-11-02T10:00:00Z", "1970-05-13t10:00:00+0000", 1), func(t *testing.T, k kept) {
				if d := time.Since(k.row.Started); d < 0 || d > time.Minute {
					t.Errorf("started %v", k.row.Started)
				}
				if !strings.Contains(string(k.d.Documents[0].Body), "1970-05-13t10:00:00+0000") {
					t.Error("the client's time is not kept")
				}
				k.flagged()
			})},
		{numbers: "89", name: "unknown and repeated extensions are preserved", run: withMeta(
			rfc7865("complete", 2, `<extensiondata xmlns:v="http:/one.slash/v9"><v:x version="9.9">1</v:x><v:x>2</v:x></extensiondata>`, caller(), called()),
			func(t *testing.T, k kept) {
				k.flagged()
				if !strings.Contains(string(k.d.Documents[0].Body), `<v:x version="9.9">1</v:x><v:x>2</v:x>`) {
					t.Error("the extension is not kept")
				}
			})},
		{numbers: "90", name: "markup in a name is kept raw and shown harmless", run: hostileName},
		{numbers: "91", name: "one UCID in three spellings is one key", run: ucidForms},
		{numbers: "92 R38", name: "nothing is kept that the policy does not ask for", with: func(s *setup) {
			s.policy.KeepMetadata = []string{"called", "history"}
		}, run: leastMetadata},
		{numbers: "R21", name: "metadata without SDP keeps the labels of the last", run: changePlaces},
	}
}

func avaya(t *testing.T, r *rig) {
	d := r.fixture("avaya-initial-dummy", 2).ok().ack()
	talk := time.Now()
	d.play(400)
	before := time.Now()
	text := fixture(t, "avaya-update-complete")
	kind, body := bodyOf(text)
	m := d.ask("UPDATE", kind, body, "User-to-User: "+field(text, "User-to-User"))
	if m.code != 200 || m.body != "" {
		t.Errorf("UPDATE without SDP answered %s %q", m.first, m.body)
	}
	known := time.Now()
	d.play(400)
	d.bye()
	k := r.one()
	k.on("Housing demand")
	k.heard(talk, before, "0", "1")
	k.heard(known, d.over, "0", "1")
	if k.hasText(`"aors":["sip:ASBCE`) || len(k.d.Parties) != 2 {
		t.Errorf("parties %q", k.parties())
	}
	if len(k.d.Documents) != 2 {
		t.Errorf("%d documents, want 2", len(k.d.Documents))
	}
}

func partialFirst(known bool) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		s, l := r.two()
		p := r.dial("tcp")
		d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), rfc7865("partial", 2, "", caller(), called()))).text(p), s...).ok().ack().play(500)
		isSnapshot := func(m message) bool {
			return m.code == 0 && m.method() == "UPDATE" && strings.Contains(m.body, "requestsnapshot") &&
				m.head.Get("Content-Disposition") == "recording-session"
		}
		if known {
			p.await("a request for a snapshot", isSnapshot)
		}
		d.bye()
		if n := p.count(isSnapshot); !known && n > 0 {
			t.Errorf("%d snapshots were asked for", n)
		}
		k := r.one()
		k.on("Council tax")
		k.sounds("0", "1")
	}
}

func partialHold(t *testing.T, r *rig) {
	d, _ := r.basic()
	talk := time.Now()
	d.play(300)
	a, b := party{id: "cDE=", recv: "c3Rt2"}, party{id: "cDI=", send: "c3Rt2"} // the caller sends no more
	if m := d.ask("UPDATE", xmlMeta, rfc7865("partial", 0, "", a, b)); m.code != 200 || m.body != "" {
		t.Errorf("UPDATE answered %s %q", m.first, m.body)
	}
	held := time.Now()
	d.sources[0].muted = true
	d.play(400)
	d.sources[0].muted = false
	ending := time.Now()
	a.send = "c3Rt1"
	b.recv = "c3Rt1"
	d.ask("UPDATE", xmlMeta, rfc7865("partial", 0, "", a, b))
	resumed := time.Now()
	d.play(300)
	d.bye()
	k := r.one()
	k.heard(talk, held, "0", "1")
	k.heard(held, ending, "", "1")
	k.heard(resumed, d.over, "0", "1")
	k.hasEvent("hold", "1")
	k.hasEvent("resume", "1")
	k.hasGap("hold", held, ending)
	if len(k.d.Parties) != 2 || !strings.HasSuffix(k.parties()[0], "left") || !strings.HasPrefix(k.parties()[0], "Ann Resident|") {
		t.Errorf("parties %q", k.parties())
	}
}

func partyLeaves(t *testing.T, r *rig) {
	d, _ := r.basic()
	d.play(300)
	meta := rfc7865("partial", 0, `<participantsessionassoc participant_id="cDI=" session_id="c2Vz"><disassociate-time>2026-11-02T10:05:00Z</disassociate-time></participantsessionassoc>`,
		party{id: "cDI="})
	if m := d.ask("UPDATE", xmlMeta, meta); m.code != 200 {
		t.Errorf("UPDATE answered %s", m.first)
	}
	d.sources[1].muted = true
	left := time.Now()
	d.play(300)
	d.bye()
	k := r.one()
	k.heard(left, d.over, "0", "")
	k.hasEvent("party", "left")
	for _, p := range k.d.Parties {
		if slices.Contains(p.AoRs, councilAoR) && p.Left.IsZero() {
			t.Error("the party has no end")
		}
	}
}

func transfer(t *testing.T, r *rig) {
	d := r.fixture("rfc7865-complete", 2).ok().ack()
	talk := time.Now()
	d.play(400)
	kind, body := bodyOf(fixture(t, "rfc8068-partial-transfer"))
	before := time.Now()
	if m := d.ask("UPDATE", kind, body); m.code != 200 {
		t.Errorf("UPDATE answered %s", m.first)
	}
	moved := time.Now()
	d.play(400)
	d.bye()
	k := r.one()
	k.heard(talk, before, "0", "1")
	k.heard(moved, d.over, "0", "1")
	k.on("Customer portal helpline")
	if len(k.d.Parties) != 3 {
		t.Errorf("parties %q", k.parties())
	}
	k.hasEvent("party", "joined")
	k.hasEvent("party", "left")
	for _, e := range k.events("party") {
		if e.Party == "sip:02088257734@contact.example" && (e.Channel != "right" || e.At.Sub(moved).Abs() > 300*time.Millisecond) {
			t.Errorf("the new party: %+v", e)
		}
	}
}

// changePlaces swaps the streams of the two parties by metadata alone.
func changePlaces(t *testing.T, r *rig) {
	d, _ := r.basic()
	talk := time.Now()
	d.play(400)
	a, b := caller(), called()
	a.send, b.send = b.send, a.send
	a.recv, b.recv = b.recv, a.recv
	swapped := time.Now()
	d.ask("UPDATE", xmlMeta, rfc7865("complete", 2, "", a, b))
	after := time.Now()
	d.play(500)
	d.bye()
	k := r.one()
	k.heard(talk, swapped.Add(-30*time.Millisecond), "0", "1")
	k.heard(after.Add(50*time.Millisecond), d.over, "1", "0")
	k.hasEvent("channel", "")
}

func newSession(t *testing.T, r *rig) {
	d, _ := r.basic()
	talk := time.Now()
	d.play(400)
	stopped := time.Now()
	d.ask("UPDATE", xmlMeta, rfc7865("partial", 0, `<session session_id="c2Vz"><stop-time>2026-11-02T10:05:00Z</stop-time></session>`))
	second := strings.NewReplacer("c2Vz", "c2VzMg==", residentAoR, "sip:02079460555@pstn.example", "Ann Resident", "Bob Resident",
		councilAoR, "sip:02088256999@contact.example", "Council Tax", "Parks").Replace(twoParties())
	d.ask("UPDATE", xmlMeta, second)
	next := time.Now()
	d.play(400)
	d.bye()
	ks := r.finished(2)
	ks[0].on("Council tax")
	ks[1].on("Parks")
	ks[0].heard(talk, stopped, "0", "1")
	ks[1].heard(next, d.over, "0", "1")
	for i, name := range []string{"Ann Resident", "Bob Resident"} {
		if !strings.HasPrefix(strings.Join(ks[i].parties(), " "), name) {
			t.Errorf("recording %d has the parties %q", i, ks[i].parties())
		}
	}
	if ks[0].d.CallID != ks[1].d.CallID {
		t.Error("the two are not of one dialog")
	}
}

func twoSessions(t *testing.T, r *rig) {
	s, l := r.some(2)
	extra := `<session session_id="c2VzMg=="/><participant participant_id="cDM="><nameID aor="sip:02079460777@pstn.example"><name>Third</name></nameID></participant>` +
		`<participantsessionassoc participant_id="cDM=" session_id="c2VzMg=="/>`
	p := r.dial("tcp")
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), rfc7865("complete", 2, extra, caller(), called()))).text(p), s...).ok().ack().play(400)
	d.bye()
	k := r.one()
	k.sounds("0", "1")
	for _, n := range []string{"02079460777", "02079460123", "02088257050"} {
		if !slices.ContainsFunc(k.d.Numbers, func(s string) bool { return strings.HasSuffix(s, n[1:]) }) {
			t.Errorf("numbers %q lack %s", k.d.Numbers, n)
		}
	}
}

func newIDs(t *testing.T, r *rig) {
	d, _ := r.basic()
	d.play(300)
	meta := strings.NewReplacer("cDE=", "bmV3MQ==", "cDI=", "bmV3Mg==", "c3Rt1", "bmV3c3Rt1", "c3Rt2", "bmV3c3Rt2", "c2Vz\"", "bmV3\"").Replace(twoParties())
	if m := d.ask("UPDATE", xmlMeta, meta); m.code != 200 {
		t.Errorf("UPDATE answered %s", m.first)
	}
	renamed := time.Now()
	d.play(300)
	d.bye()
	k := r.one()
	k.on("Council tax")
	k.heard(renamed, d.over, "0", "1")
	if len(k.d.Parties) != 2 {
		t.Errorf("parties %q", k.parties())
	}
}

func conference(t *testing.T, r *rig) {
	d, _ := r.basic()
	d.play(300)
	c := party{id: "cDM=", name: "Third", aor: "4001", send: "c3Rt1"}
	d.ask("UPDATE", xmlMeta, rfc7865("partial", 0, "", c))
	joined := time.Now()
	d.play(300)
	d.bye()
	k := r.one()
	k.heard(joined, d.over, "0", "1")
	if len(k.d.Parties) != 3 {
		t.Fatalf("parties %q", k.parties())
	}
	if got := k.parties()[2]; got != "Third|4001|left" {
		t.Errorf("the third party is %q", got)
	}
	// All three on one stream from the start.
	s, l := r.some(1)
	a, b := caller(), called()
	b.send = a.send
	p := r.dial("tcp")
	e := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), rfc7865("complete", 1, "", a, b, c))).text(p), s...).ok().ack().play(300)
	e.bye()
	k = r.finished(2)[1]
	k.sounds("0", "")
	for _, p := range k.d.Parties {
		if p.Channel != "mixed" {
			t.Errorf("party %+v", p)
		}
	}
}

func sameGroup(t *testing.T, r *rig) {
	for i := range 2 {
		s, _ := r.two()
		p := r.dial("tcp")
		text := fixture(t, "netsapiens-1-0")
		if i == 1 {
			text = strings.NewReplacer("ns-1@", "ns-2@", "tag=ns1", "tag=ns2", "z9hG4bKns1", "z9hG4bKns2",
				"<groupSeq>1<", "<groupSeq>2<", "20261102172939050790", "20261102172939050791").Replace(text)
		}
		d := p.place(text, s...).ok().ack().play(300)
		d.bye()
	}
	ks := r.finished(2)
	for _, k := range ks {
		k.on("Social services")
		k.sounds("1", "0")
	}
	if ks[0].d.CallKey == "" || ks[0].d.CallKey != ks[1].d.CallKey {
		t.Errorf("call keys %q and %q", ks[0].d.CallKey, ks[1].d.CallKey)
	}
	if !slices.ContainsFunc(ks[1].d.Links, func(l store.Link) bool { return l.ID == ks[0].row.ID }) {
		t.Errorf("the second is not linked to the first: %v", ks[1].d.Links)
	}
}

const markup = `<script>alert(1)</script>"'&`

func hostileName(t *testing.T, r *rig) {
	meta := strings.Replace(twoParties(), "Ann Resident", strings.NewReplacer("<", "&lt;", ">", "&gt;", "&", "&amp;", `"`, "&quot;").Replace(markup), 1)
	s, l := r.two()
	p := r.dial("tcp")
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), meta)).text(p), s...).ok().ack().play(300)
	page := fetch(t, r, "/status", "text/html")
	d.bye()
	k := r.one()
	if got := k.d.Parties[0].Name; got != markup {
		t.Errorf("the name is kept as %q", got)
	}
	if strings.Contains(page, "<script>alert") {
		t.Error("the page runs it")
	}
	if !strings.Contains(page, "Council tax") {
		t.Error("the page does not show the call")
	}
}

// fetch gets a page of the recorder's own HTTP server.
func fetch(t *testing.T, r *rig, path, accept string) string {
	t.Helper()
	h := httptest.NewServer(web.New(web.Options{Source: r.rec}).Handler())
	defer h.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func ucidForms(t *testing.T, r *rig) {
	for _, h := range []string{
		"User-to-User: 00fa08000c1b2a;encoding=hex", "User-to-User: 00FA08000C1B2A", "User-to-User: 00fa08000c1b2a;encoding=hex,0455",
	} {
		s, l := r.two()
		p := r.dial("tcp")
		i := p.newInvite(both(describe("127.0.0.1", 1, l...), strings.Replace(twoParties(), "<sipSessionID>a1b2c3d4e5f6;remote=f6e5d4c3b2a1</sipSessionID>", "", 1)))
		i.head = append(i.head, h)
		d := p.place(i.text(p), s...).ok().ack().play(200)
		d.bye()
	}
	for _, k := range r.finished(3) {
		if k.d.CallKey != "00FA08000C1B2A" {
			t.Errorf("call key %q", k.d.CallKey)
		}
	}
}

func leastMetadata(t *testing.T, r *rig) {
	d, _ := r.basic()
	d.play(300)
	d.bye()
	k := r.one()
	k.on("Council tax")
	if k.d.Called != councilAoR || len(k.d.History) == 0 {
		t.Errorf("called %q, history %+v", k.d.Called, k.d.History)
	}
	for _, gone := range []string{"02079460123", "2079460123", "Ann Resident", "Council Tax", "a1b2c3d4e5f6", d.callID} {
		if k.hasText(gone) {
			t.Errorf("%q is kept", gone)
		}
	}
	if len(k.d.Documents) != 0 || len(k.d.Parties) != 0 {
		t.Errorf("%d documents, %d parties", len(k.d.Documents), len(k.d.Parties))
	}
}
