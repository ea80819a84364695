package siprec

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"siprecd/siprec/rsmeta"
)

// identityCase gives fixtures in the order in which they arrive, and what is
// known after the last. "" means that nothing must be known.
type identityCase struct {
	fixtures              string
	caller, called, agent string // value|source
	direction, key        string
	firstLine             string // value|source of Lines[0]
	line                  string // values that must be among the lines
	parties               string // first AoR=labels, blank separated
}

func identityCases() []identityCase {
	return []identityCase{
		{fixtures: "oracle-complete",
			caller: "sip:02079460101@att.example|apkt:callingParty", called: "sip:02088257050@192.0.2.9;user=phone|apkt:request-uri",
			key: "00FA0800012CAB553FA9ED|apkt:ucid", firstLine: "sip:02088257050@192.0.2.9;user=phone|apkt:request-uri",
			line:    "sip:02088255000@contact.example sip:+442079460101@att.example sip:agent17@contact.example",
			parties: "sip:agent17@contact.example=553654188 sip:02079460101@att.example=553654187"},
		{fixtures: "oracle-before-callee",
			caller: "sip:02079460101@att.example|apkt:callingParty", called: "sip:02088257050@192.0.2.9;user=phone|apkt:request-uri",
			key: "00FA0800012CAB553FA9ED|apkt:ucid", firstLine: "sip:02088257050@192.0.2.9;user=phone|apkt:request-uri",
			parties: "sip:02079460101@att.example=553654187"},
		{fixtures: "oracle-before-callee oracle-complete",
			caller: "sip:02079460101@att.example|apkt:callingParty", called: "sip:02088257050@192.0.2.9;user=phone|apkt:request-uri",
			key: "00FA0800012CAB553FA9ED|apkt:ucid", firstLine: "sip:02088257050@192.0.2.9;user=phone|apkt:request-uri",
			parties: "sip:02079460101@att.example=553654187 sip:agent17@contact.example=553654188"},
		{fixtures: "audiocodes-legacy-lf",
			caller: "02079460102@192.0.2.33|participant", called: "02088256000@192.0.2.34|participant",
			key: "FA080001000A5E6F7A8B|ac:AvayaUCID", firstLine: "02088256000@192.0.2.34|participant",
			parties: "02079460102@192.0.2.33=1 02088256000@192.0.2.34=2"},
		{fixtures: "audiocodes-rfc7865",
			caller: "sip:02079460103@pstn.example|participant", called: "sip:02088257733@contact.example|participant",
			key: "YWMtZ3JvdXA=|group", firstLine: "sip:02088257733@contact.example|participant",
			parties: "sip:02079460103@pstn.example=1 sip:02088257733@contact.example=2"},
		{fixtures: "cube-gtd-no-closing",
			caller: "sip:02079460103@pstn.example|participant", called: "sip:02088257733@contact.example|participant",
			key:       "5d2f6a1b0a3c4e5f8a9b0c1d2e3f4a5b;remote=9a8b7c6d5e4f40319a8b7c6d5e4f4031|sipSessionID",
			firstLine: "sip:02088257733@contact.example|participant",
			parties:   "sip:02079460103@pstn.example=1 sip:02088257733@contact.example=2"},
		{fixtures: "cube-initial-inactive",
			caller: "sip:02079460103@pstn.example|participant", called: "sip:02088257733@contact.example|participant",
			key:       "5d2f6a1b0a3c4e5f8a9b0c1d2e3f4a5b;remote=9a8b7c6d5e4f40319a8b7c6d5e4f4031|sipSessionID",
			firstLine: "sip:02088257733@contact.example|participant",
			parties:   "sip:02079460103@pstn.example= sip:02088257733@contact.example="},
		{fixtures: "cube-nbr-plain-sdp",
			caller: "sip:02079460104@192.0.2.12|X-Cisco-Recording-Participant", called: "sip:02088259000@192.0.2.12|X-Cisco-Recording-Participant",
			key:       "1234567890-0987654321-1122334455-5544332211|Cisco-Guid",
			firstLine: "sip:02088259000@192.0.2.12|X-Cisco-Recording-Participant",
			parties:   "sip:02079460104@192.0.2.12= sip:02088259000@192.0.2.12="},
		{fixtures: "cucm-nearend-no-body",
			caller: "02079460105|x-farendaddr", called: "sip:02088256600@192.0.2.13|From", agent: "SEP001122334455|x-nearenddevice",
			key: "25628926-25628927|x-refci", firstLine: "sip:02088256600@192.0.2.13|From",
			parties: "sip:02088256600@192.0.2.13="},
		{fixtures: "cucm-farend-no-body",
			caller: "02079460105|x-farendaddr", called: "sip:02088256600@192.0.2.13|From", agent: "SEP001122334455|x-nearenddevice",
			key: "25628926-25628927|x-refci", firstLine: "sip:02088256600@192.0.2.13|From",
			parties: "02079460105="},
		{fixtures: "cucm-update-farend",
			caller: "02079460106|x-farendaddr", called: "sip:02088256600@192.0.2.13|From", agent: "SEP001122334455|x-nearenddevice",
			key: "25628926-25628927|x-refci", firstLine: "sip:02088256600@192.0.2.13|From",
			parties: "sip:02088256600@192.0.2.13="},
		{fixtures: "sonus-caller-label-2",
			caller: "sip:02079460107@198.51.100.77:5060|callData/fromhdr", called: "sip:02088258161@192.0.2.8:5060|callData/tohdr",
			key: "4711_8820@198.51.100.77|callData/callid", firstLine: "sip:02088258161@192.0.2.8:5060|callData/tohdr",
			parties: "sip:02079460107@198.51.100.77=2 sip:02088258161@192.0.2.8=1"},
		{fixtures: "avaya-initial-dummy",
			caller: "sip:02079460108@contact.example|participant", called: "",
			key: "00010203040506070809|User-to-User", firstLine: "sip:02088258888@contact.example|Diversion",
			parties: "sip:02079460108@contact.example=10"},
		{fixtures: "avaya-initial-dummy avaya-update-complete",
			caller: "sip:02079460108@contact.example|participant", called: "sip:4711@contact.example|participant",
			key: "00010203040506070809|User-to-User", firstLine: "sip:02088258888@contact.example|Diversion",
			parties: "sip:02079460108@contact.example=10 sip:4711@contact.example=20"},
		{fixtures: "metaswitch-terminating",
			caller: "02079460109|callingPartyNumber", called: "02088257171|dialedDigits", agent: "02088257171|recordedParty",
			direction: inbound, key: "bXMtc2Vzcw==|session", firstLine: "02088257171|dialedDigits",
			parties: "02079460109=1 02088257171=1"},
		{fixtures: "metaswitch-originating",
			caller: "02088257171|callingPartyNumber", called: "02079460109|dialedDigits", agent: "02088257171|recordedParty",
			direction: outbound, key: "bXMtc2Vzcw==|session", firstLine: "02088257171|callingPartyNumber",
			parties: "02088257171=1 02079460109=1"},
		{fixtures: "broadworks-queue-number",
			caller: "sip:02079460110@pstn.example;user=phone|callingPartyNumber", called: "sip:4001@bw.example|calledPartyNumber",
			agent: "agent9@bw.example|acdUserId", direction: inbound, key: "8028549:1|extTrackingID",
			firstLine: "+442088256000|acdNumber", line: "sip:+442088255000@bw.example sip:+442088256000@bw.example",
			parties: "sip:02079460110@pstn.example;user=phone=1 sip:4001@bw.example=1"},
		{fixtures: "broadworks-outbound",
			caller: "sip:+442088256999@bw.example|callingPartyNumber", called: "sip:02079460111@bw.example;user=phone|calledPartyNumber",
			agent: "agent9@bw.example|userID", direction: outbound, key: "8028549:1|extTrackingID",
			firstLine: "sip:+442088256999@bw.example|callingPartyNumber",
			parties:   "sip:+442088256999@bw.example=1 02079460111=1"},
		{fixtures: "webex-metadata-first",
			caller: "tel:+442079460112|callingPartyNumber", called: "tel:+442088255333|calledPartyNumber",
			agent: "agent9@bw.example|userID", direction: inbound, key: "8028549:1|extTrackingID",
			firstLine: "tel:+442088255333|calledPartyNumber",
			parties:   "sip:02079460112@pstn.example=1 sip:k3Jx9@calls.webex.example=2"},
		{fixtures: "webex-metadata-first webex-partial-third-party",
			caller: "tel:+442079460112|callingPartyNumber", called: "tel:+442088255333|calledPartyNumber",
			agent: "agent9@bw.example|userID", direction: inbound, key: "8028549:1|extTrackingID",
			firstLine: "tel:+442088255333|calledPartyNumber", line: "02088255334@bw.example",
			parties: "sip:02079460112@pstn.example=1 sip:k3Jx9@calls.webex.example= 02088255334@bw.example=2"},
		{fixtures: "opensips-labels-1-0",
			caller: "sip:02079460113@pstn.example;user=phone|participant", called: "sip:02088255682@contact.example|participant",
			key: "3848276298220188511@pstn.example|sipSessionID", firstLine: "sip:02088255682@contact.example|participant",
			parties: "sip:02079460113@pstn.example;user=phone=1 sip:02088255682@contact.example=0"},
		{fixtures: "jambonz-raw-uuids",
			caller: "02079460114|jb:callingnumber", called: "02088257000|jb:callednumber", direction: inbound,
			key: "11111111-2222-4333-8444-000000000009|jb:callsid", firstLine: "02088257000|jb:callednumber",
			parties: "sip:02079460114@jb.example=1 sip:02088257000@jb.example=2"},
		{fixtures: "netsapiens-1-0",
			caller: "02079460115|callingPartyNumber", called: "02088258000|calledPartyNumber", agent: "1001@ns.example|byUserID",
			direction: inbound, key: "d9836b259df9@ns.example|groupSeq", firstLine: "02088258000|calledPartyNumber",
			parties: "sip:1001w@ns.example=1 sip:02079460115@ns.example=2"},
		{fixtures: "netsapiens-1-1-internal",
			caller: "02088258001|callingParty", called: "02088258002|calledParty", agent: "1001@ns.example|user",
			key: "e9836b259df9|groupSeq", firstLine: "02088258002|calledParty",
			parties: "sip:1001w@ns.example=1 sip:02079460115@ns.example=2"},
		{fixtures: "ff-quoted-boundary-savp",
			caller: "sip:+442079460116|participant", called: "sip:+442088256644@srs.example|participant",
			key: "conv-42|google:call", firstLine: "sip:+442088256644@srs.example|participant",
			parties: "sip:+442079460116= sip:+442088256644@srs.example="},
		{fixtures: "sems-letter-labels",
			caller: "Extension-8825@sems.example|participant", called: "02079460117@sems.example|participant",
			key: "c2Vtcy1n|group", firstLine: "02079460117@sems.example|participant",
			parties: "Extension-8825@sems.example=a_leg 02079460117@sems.example=b_leg"},
		{fixtures: "phrsite-eight-streams",
			caller: "sip:02079460118@esinet.example|participant", called: "sip:02088257829@esinet.example|participant",
			key: "Z3JvdXAtMQ==|group", firstLine: "sip:02088257829@esinet.example|participant",
			parties: "sip:02079460118@esinet.example=1 sip:02088257829@esinet.example=2"},
		{fixtures: "rfc7865-complete rfc8068-partial-hold",
			caller: "sip:02079460103@pstn.example|participant", called: "sip:02088257733@contact.example|participant",
			key:       "ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2|sipSessionID",
			firstLine: "sip:02088257733@contact.example|participant",
			parties:   "sip:02079460103@pstn.example= sip:02088257733@contact.example=2"},
		{fixtures: "rfc7865-complete rfc8068-partial-hold rfc8068-partial-transfer",
			caller: "sip:02079460103@pstn.example|participant", called: "sip:02088257733@contact.example|participant",
			key:       "ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2|sipSessionID",
			firstLine: "sip:02088257733@contact.example|participant", line: "sip:02088257734@contact.example",
			parties: "sip:02079460103@pstn.example= sip:02088257733@contact.example= sip:02088257734@contact.example=2"},
		{fixtures: "generic-sdp-bare", // nothing but the envelope
			caller: "sip:src@192.0.2.41|From", called: "sip:recorder@198.51.100.5|To",
			key: "x-7@h|Call-ID", firstLine: "sip:recorder@198.51.100.5|To"},
	}
}

func TestIdentify(t *testing.T) {
	for _, c := range identityCases() {
		t.Run(strings.ReplaceAll(c.fixtures, " ", "+"), func(t *testing.T) {
			st, f := &rsmeta.State{}, fixture{}
			for _, name := range strings.Fields(c.fixtures) {
				f = readFixture(t, name)
				f.read(t, st)
			}
			id := identify(f.headers, st)
			check := func(what, got, want string) {
				t.Helper()
				if got != want {
					t.Errorf("%s\n got %s\nwant %s", what, got, want)
				}
			}
			check("caller", show(id.Caller), c.caller)
			check("called", show(id.Called), c.called)
			check("agent", show(id.Agent), c.agent)
			check("key", show(id.CallKey), c.key)
			check("direction", id.Direction, c.direction)
			check("first line", show(id.Lines[0]), c.firstLine)
			for _, want := range strings.Fields(c.line) {
				if !slices.ContainsFunc(id.Lines, func(l Candidate) bool { return l.Value == want }) {
					t.Errorf("no line candidate %s in %v", want, id.Lines)
				}
			}
			var parties []string
			for _, p := range id.Parties {
				parties = append(parties, p.AoRs[0]+"="+strings.Join(p.Labels, ","))
			}
			check("parties", strings.Join(parties, " "), c.parties)
		})
	}
}

func show(c Candidate) string {
	if c == (Candidate{}) {
		return ""
	}
	return c.Value + "|" + c.Source
}

func TestIdentifyCleansWhatItShows(t *testing.T) {
	f := readFixture(t, "generic-hostile-name")
	st := &rsmeta.State{}
	_, b := f.read(t, st)
	f.headers.Fields["Diversion"] = []string{"<sip:0208\x85825\u202e7050@x" + strings.Repeat("é", 300) + ">"}
	id := identify(f.headers, st)
	if got, want := id.Parties[0].Name, "<script>x</script>Evil: 1gnp"; got != want {
		t.Errorf("name %q, want %q", got, want)
	}
	if got := id.Lines[0].Value; !strings.HasPrefix(got, "sip:02088257050@x") || utf8.RuneCountInString(got) != maxDisplay {
		t.Errorf("line %q", got)
	}
	if !strings.Contains(string(b.Metadata), "&#x202e;") {
		t.Error("the raw metadata was changed")
	}
}

func TestIdentifyWithoutAnything(t *testing.T) {
	if id := identify(Headers{}, nil); len(id.Lines) != 0 || id.Caller != (Candidate{}) || len(id.Parties) != 0 {
		t.Errorf("%+v", id)
	}
}

func TestIdentifyReadsHeadersInAnyCase(t *testing.T) {
	for _, name := range []string{"From", "from", "FROM", "f"} {
		h := Headers{Fields: map[string][]string{name: {`"A, B" <sip:02079460119@h>;tag=1`}}}
		if got := identify(h, nil).Caller.Value; got != "sip:02079460119@h" {
			t.Errorf("%s: caller %q", name, got)
		}
	}
}

func TestUCIDFormsAreEqual(t *testing.T) {
	for _, in := range []string{"00fa08;encoding=hex", "00FA08", " 00fa08 ;encoding=hex,04C8;encoding=hex", `"00Fa08";purpose=x`} {
		h := Headers{Fields: map[string][]string{"user-to-user": {in}}}
		if got := identify(h, nil).CallKey; got != (Candidate{"00FA08", "User-to-User"}) {
			t.Errorf("%s: %v", in, got)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`<sip:1@h>;tag=x`, "[sip:1@h]"},
		{`"a, <b>" <sip:1@h;user=phone>;x=y, <tel:7050;phone-context=+4420>`, "[sip:1@h tel:7050;phone-context=+4420]"},
		{`sip:1@h;tag=x`, "[sip:1@h]"},
		{`"unclosed <sip:1@h`, `["unclosed <sip:1@h]`},
		{``, "[]"},
	} {
		if got := fmt.Sprint(addresses(c.in)); got != c.want {
			t.Errorf("%s: %s, want %s", c.in, got, c.want)
		}
	}
}

// TestIdentifyIsCheap: metadata of full size must not hold up the answer.
func TestIdentifyIsCheap(t *testing.T) {
	st := &rsmeta.State{}
	d := &rsmeta.Document{}
	for i := range rsmeta.MaxElements {
		id := fmt.Sprint("p", i)
		d.Participants = append(d.Participants, rsmeta.Participant{ID: id, AoRs: []string{id}, Sends: []string{id}, StreamsStated: true})
		d.Streams = append(d.Streams, rsmeta.Stream{ID: id, Label: id})
		d.Extensions = append(d.Extensions, rsmeta.Extension{Owner: "participant", ID: id, Path: "callingParty", Value: "true"})
	}
	st.Apply(d)
	var id Identity
	took := time.Hour
	for range 3 { // the least: another process may have had the machine
		start := time.Now()
		id = identify(Headers{Fields: map[string][]string{"Diversion": {strings.Repeat("<sip:1@h>,", 6000)}}}, st)
		took = min(took, time.Since(start))
	}
	t.Log(took)
	if took > time.Second || len(id.Lines) > maxLines { // busy machines and the race detector included
		t.Errorf("%v, %d lines", took, len(id.Lines))
	}
}
