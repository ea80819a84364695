package main

import (
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"siprecd/recorder"
	"siprecd/siprec/siprectest"
)

const (
	rawCrypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4\r\n"
	rawVideo  = "m=video 46002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=sendonly\r\na=label:2\r\n"
)

// TestPeerOptionsTakeEffect calls one server from several addresses, each with
// one option, and from one without any.
func TestPeerOptionsTakeEffect(t *testing.T) {
	t.Parallel()
	s := newServer(t, `sip.peer_options=[
		{peers: [127.0.0.2], unwanted_media: reject},
		{peers: [127.0.0.3], strict: true},
		{peers: [127.0.0.4], unlisted: refuse},
		{peers: [127.0.0.5], srtp: require},
		{peers: [127.0.0.6], srtp: off},
		{peers: [127.0.0.7], snapshot: true},
		{peers: [127.0.0.0/28], srtp: prefer}]`)
	s.start()
	noTag := func(text string) string { return strings.Replace(text, ";+sip.src", "", 1) }
	noRequire := func(text string) string { return strings.Replace(text, "Require: siprec\r\n", "", 1) }
	inside := func(text string) string { return strings.Replace(text, "tcp>;+sip.src", "tcp;+sip.src>", 1) }
	const listed, unlisted = "02088257050", "02079460999"
	plain, keyed := rawSDP("RTP/AVP"), rawSDP("RTP/SAVP", rawCrypto)
	for _, c := range []struct {
		name, from, to, body string
		change               func(string) string
		code                 int
		says                 string // in the response's header
	}{
		{"default takes all", "127.0.0.1", listed, plain, noTag, 200, ""},
		{"default takes the unlisted", "127.0.0.1", unlisted, plain, nil, 200, ""},
		{"default takes keys", "127.0.0.1", listed, keyed, nil, 200, ""},
		{"strict and right", "127.0.0.3", listed, plain, nil, 200, ""},
		{"strict, no tag", "127.0.0.3", listed, plain, noTag, 403, "lacks +sip.src in Contact"},
		{"strict, tag inside the URI", "127.0.0.3", listed, plain, inside, 403, "lacks +sip.src in Contact"},
		{"strict, no Require", "127.0.0.3", listed, plain, noRequire, 403, "lacks siprec in Require"},
		{"refuse unlisted", "127.0.0.4", unlisted, plain, withMetadata, 403, "Line Not Recorded"},
		{"refuse unlisted, but listed", "127.0.0.4", listed, plain, nil, 200, ""},
		{"srtp required, plain", "127.0.0.5", listed, plain, nil, 488, ""},
		{"srtp required, keyed", "127.0.0.5", listed, keyed, nil, 200, ""},
		{"srtp off, keyed", "127.0.0.6", listed, keyed, nil, 488, ""},
		{"srtp off, plain", "127.0.0.6", listed, plain, nil, 200, ""},
	} {
		a := s.dialRaw(c.from).invite(c.to, c.body, c.change)
		if a.code != c.code || !strings.Contains(a.head, c.says) {
			t.Errorf("%s: %d, want %d with %q\n%s", c.name, a.code, c.code, c.says, a.head)
		}
	}
	for from, closed := range map[string]bool{"127.0.0.1": false, "127.0.0.2": true} {
		p := s.dialRaw(from).invite(listed, rawSDP("RTP/AVP", rawVideo), nil).ports()
		if len(p) != 2 || p[0] == 0 || (p[1] == 0) != closed {
			t.Errorf("unwanted video from %s: ports %v", from, p)
		}
	}
	// Whoever opens with partial metadata is asked for the rest, if it answers that.
	partial := func(text string) string {
		return strings.Replace(withMetadata(text), "<datamode>complete", "<datamode>partial ", 1)
	}
	for from, asked := range map[string]bool{"127.0.0.1": false, "127.0.0.7": true} {
		c := s.dialRaw(from)
		a := c.invite(listed, plain, partial)
		if a.code != 200 {
			t.Fatalf("partial metadata: %d\n%s", a.code, a.head)
		}
		c.seq = 0
		c.tell(c.inDialog("ACK", a))
		c.seq = 10
		c.tell(c.inDialog("INFO", a)) // so that there is an end of what is read
		// The answer to INFO may overtake the request, and that to INVITE may come
		// again.
		is, answered := false, false
		for !answered || asked && !is {
			got := c.read()
			answered = answered || got.code == 200 && strings.Contains(got.head, " INFO\n")
			is = is || strings.HasPrefix(got.head, "UPDATE ") && strings.Contains(got.body, "requestsnapshot")
		}
		if is != asked {
			t.Errorf("snapshot asked of %s: %v", from, is)
		}
	}
	if a := s.dialRaw("127.0.0.2").invite(unlisted, rawSDP("RTP/AVP"), withMetadata); a.code != 200 || a.ports()[0] == 0 {
		t.Errorf("audio of an unlisted call was rejected: %d %v", a.code, a.ports())
	}
}

// withMetadata makes the body of an INVITE a multipart with metadata whose
// participants are on no listed line.
func withMetadata(text string) string {
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	var keep []string
	for line := range strings.SplitSeq(head, "\r\n") {
		if !strings.HasPrefix(line, "Content-") {
			keep = append(keep, line)
		}
	}
	multi := "--b\r\nContent-Type: application/sdp\r\n\r\n" + body + "\r\n--b\r\nContent-Type: application/rs-metadata+xml\r\n\r\n" +
		`<?xml version="1.0"?><recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode>` +
		`<session session_id="s"/><participant participant_id="p"><nameID aor="sip:02079460123@x"/></participant>` +
		`<participant participant_id="q"><nameID aor="sip:02079460999@x"/></participant>` +
		`<stream stream_id="t" session_id="s"><label>1</label></stream>` +
		`<participantstreamassoc participant_id="p"><send>t</send></participantstreamassoc></recording>` + "\r\n--b--\r\n"
	return strings.Join(keep, "\r\n") + "\r\nContent-Type: multipart/mixed;boundary=b\r\nContent-Length: " + strconv.Itoa(len(multi)) + "\r\n\r\n" + multi
}

// peer is one row of the status' peer table.
func (s *server) peer(addr string) recorder.Peer {
	s.t.Helper()
	st := s.status()
	i := slices.IndexFunc(st.Peers, func(p recorder.Peer) bool { return p.Address == addr })
	if i < 0 {
		s.t.Fatalf("%s is not among the peers: %+v", addr, st.Peers)
	}
	return st.Peers[i]
}

func TestPeerTable(t *testing.T) {
	t.Parallel()
	s := newServer(t, "sip.peers=[127.0.0.0/29]", `sip.peer_options=[{peers: [127.0.0.3], strict: true}]`)
	s.start()
	before := time.Now()
	c := s.dialRaw("127.0.0.2")
	if a := c.options(); a.code != 200 || !strings.Contains(a.head, "Accept:") {
		t.Errorf("OPTIONS: %d\n%s", a.code, a.head)
	}
	if a := c.invite("02088257050", rawSDP("RTP/AVP"), nil); a.code != 200 {
		t.Fatalf("INVITE: %d", a.code)
	}
	p := s.peer("127.0.0.2")
	if p.LastOptions.Before(before) || p.LastInvite.Before(p.LastOptions) || p.Live != 1 || p.Calls != 1 ||
		p.Transport != "tcp" || p.Refused != nil || p.Refusals != 0 {
		t.Errorf("%+v", p)
	}
	if a := s.dialRaw("127.0.0.3").invite("02088257050", rawSDP("RTP/AVP 8\r\na=x:1\r\nm=audio 0 RTP/AVP"),
		func(s string) string { return strings.Replace(s, "Require: siprec\r\n", "", 1) }); a.code != 403 {
		t.Fatalf("strict: %d", a.code)
	}
	p = s.peer("127.0.0.3")
	if r := p.Refused; r == nil || r.Code != 403 || r.Method != "INVITE" || !strings.Contains(r.Reason, "lacks siprec in Require") ||
		r.At.Before(before) || p.Refusals != 1 || p.Calls != 0 || !slices.Equal(p.Options, []string{"strict"}) {
		t.Errorf("%+v %+v", p, p.Refused)
	}
	for range 3 { // strangers are counted and get nothing
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 77)}}
		conn, err := d.DialContext(t.Context(), "tcp", s.tcp)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	await(t, "three strangers", 5*time.Second, func() bool { return s.status().Strangers.Count == 3 })
	if st := s.status(); st.Strangers.Last != "127.0.0.77" || len(st.Peers) != 2 {
		t.Errorf("%+v, %d peers", st.Strangers, len(st.Peers))
	}
	page := string(tool(t, "curl", "-s", "-H", "Accept: text/html", "http://"+s.http+"/status"))
	for _, want := range []string{"127.0.0.2", "INVITE: 403 Not A Recording Session", "127.0.0.77", ">strict<"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	metrics := string(tool(t, "curl", "-s", "http://"+s.http+"/metrics"))
	for _, want := range []string{`srs_peer_calls_active{peer="127.0.0.2"} 1`, `srs_peer_refused_total{peer="127.0.0.3"} 1`,
		`srs_peer_last_options_timestamp_seconds{peer="127.0.0.2"}`, "srs_strangers_refused_total 3"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics do not hold %q", want)
		}
	}
	for _, text := range []string{page, metrics} {
		if strings.Contains(text, "2088257050") || strings.Contains(text, "2079460123") {
			t.Error("a number is shown")
		}
	}
}

func TestTraceShowsACall(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	r := s.call(siprectest.Options{Target: "tcp://" + s.tcp, To: "02088257050", From: "02079460123", Duration: 2 * time.Second,
		Script: []siprectest.Step{{At: 500 * time.Millisecond, Do: siprectest.Hold}, {At: 1200 * time.Millisecond, Do: siprectest.Resume}}})
	if !r.OK() {
		t.Fatalf("%+v", r)
	}
	id := s.finished(1)[0].ID
	for _, args := range [][]string{{id}, {id[:18]}, {r.CallID}, {"--last"}} {
		said := s.run("trace", args...)
		for _, want := range []string{"recording " + id + ", Council tax", "Call-ID " + r.CallID, "── INVITE ─", "◄── 100 Trying ─", "◄── 200 OK ─", "── ACK ─", "── BYE ─",
			"audio RTP/AVP 127.0.0.1:", "PCMA", "sendonly, label 1", "inactive", "recvonly", "metadata, complete", "sends 1",
			"media: first packet of 1, left", "media: first packet of 2, right", "hold:", "resume:", "gap:", "ended: bye"} {
			if !strings.Contains(said, want) {
				t.Errorf("trace %v: no %q in\n%s", args, want, said)
			}
		}
	}
	if raw := s.run("trace", id, "--raw"); !strings.Contains(raw, "INVITE sip:02088257050@") || !strings.Contains(raw, "<recording") {
		t.Errorf("raw:\n%s", raw)
	}
	pcap := filepath.Join(t.TempDir(), "call.pcap")
	s.run("trace", id, "--pcap", pcap)
	out := string(tool(t, "tcpdump", "-nn", "-vv", "-A", "-r", pcap))
	if !strings.Contains(out, "> "+strings.Replace(s.tcp, ":", ".", 1)+": [udp sum ok] ") || strings.Count(out, "INVITE sip:") < 3 || strings.Contains(out, "bad udp cksum") || strings.Contains(out, "bad cksum") {
		t.Errorf("tcpdump:\n%s", out)
	}
	// Not on the network, and not for those who ask for nothing.
	if code := s.get("/trace?last"); code != 404 {
		t.Errorf("/trace over TCP: %d", code)
	}
	if code, said := s.refused("trace", "nobody"); code != 1 || !strings.Contains(said, "no such call") {
		t.Errorf("unknown call: %d %s", code, said)
	}
	if code, _ := s.refused("trace"); code != 2 {
		t.Errorf("no call named: %d", code)
	}
}

func TestTraceShowsRefusalsAndHidesKeys(t *testing.T) {
	t.Parallel()
	s := newServer(t, "sip.srtp=off")
	s.start()
	c := s.dialRaw("127.0.0.1")
	if a := c.invite("02088257050", rawSDP("RTP/SAVP", rawCrypto), nil); a.code != 488 {
		t.Fatalf("%d\n%s", a.code, a.head)
	}
	if a := c.options(); a.code != 200 {
		t.Fatal(a.code)
	}
	said := s.run("trace", "--refused") + s.run("trace", "--refused", "--raw")
	for _, want := range []string{"not recorded, refused", "◄── 488 ", "SDES keys", "inline:xxxxxxxx", "warning:"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	if strings.Contains(said, "WVNfX19z") || strings.Contains(said, "OPTIONS sip:") {
		t.Errorf("a key or a keep-alive is shown:\n%s", said)
	}
	pcap := filepath.Join(t.TempDir(), "refused.pcap")
	s.run("trace", "--refused", "--pcap", pcap)
	if out, err := exec.Command("grep", "-c", "WVNfX19z", pcap).Output(); err == nil {
		t.Errorf("the capture holds a key, %s", out)
	}
	if strings.Contains(s.log.String(), "WVNfX19z") {
		t.Error("the log holds a key")
	}
}
