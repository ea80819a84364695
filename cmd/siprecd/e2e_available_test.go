package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"siprecd/siprec/siprectest"
)

// The numbers in the names of these tests are those of the interoperability
// cases that they show on the whole program.

// inDialog is a request within the dialog that an INVITE's answer opened.
func (c *rawClient) inDialog(method string, answer rawAnswer) string {
	c.seq++
	to := ""
	for line := range strings.Lines(answer.head) {
		if strings.HasPrefix(line, "To: ") {
			to = strings.TrimSpace(line)
		}
	}
	return fmt.Sprintf("%s sip:srs@%s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bK%s%s%d\r\nMax-Forwards: 70\r\n"+
		"From: <sip:02079460123@src.example>;tag=raw1\r\n%s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContent-Length: 0\r\n\r\n",
		method, c.conn.RemoteAddr(), c.conn.LocalAddr(), method, c.id, c.seq, to, c.id, c.seq, method)
}

func TestCase130OptionsTellWhatInviteWould(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	c := s.dialRaw("127.0.0.1")
	c.options()
	var took []time.Duration
	for range 20 {
		began := time.Now()
		a := c.options()
		took = append(took, time.Since(began))
		if a.code != 200 || !strings.Contains(a.head, "Allow: INVITE") || !strings.Contains(a.head, "Accept: application/sdp") {
			t.Fatalf("%d\n%s", a.code, a.head)
		}
	}
	slices.Sort(took)
	if each := took[len(took)/4]; each > 50*time.Millisecond { // a busy machine delays the others
		t.Errorf("OPTIONS takes %v", each)
	}
	s.kill(syscall.SIGTERM)
	s.sets = append(s.sets, "store.reserve=900TB") // more than any disk has: nothing can be taken
	s.launch()
	await(t, "the server to answer", 20*time.Second, func() bool { return s.get("/livez") == 200 })
	c = s.dialRaw("127.0.0.1")
	for what, a := range map[string]rawAnswer{"OPTIONS": c.options(), "INVITE": c.invite("02088257050", rawSDP("RTP/AVP"), nil)} {
		if a.code != 503 || !strings.Contains(a.head, "Retry-After:") {
			t.Errorf("%s of a full recorder: %d\n%s", what, a.code, a.head)
		}
	}
	if r := s.peer("127.0.0.1").Refused; r == nil || r.Code != 503 {
		t.Errorf("last refusal: %+v", r)
	}
}

func TestCase134ByeOnANewConnection(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	c := s.dialRaw("127.0.0.1")
	a := c.invite("02088257050", rawSDP("RTP/AVP"), nil)
	if a.code != 200 {
		t.Fatalf("%d\n%s", a.code, a.head)
	}
	c.seq = 0
	c.tell(c.inDialog("ACK", a))
	c.conn.Close()
	again := s.dialRaw("127.0.0.1")
	again.id, again.seq = c.id, c.seq
	if bye := again.send(again.inDialog("BYE", a)); bye.code != 200 {
		t.Fatalf("BYE: %d\n%s", bye.code, bye.head)
	}
	if row := s.finished(1)[0]; row.Interrupted {
		t.Errorf("%+v", row)
	}
	if said := s.run("trace", "--last"); !strings.Contains(said, "── BYE ─") || !strings.Contains(said, "ended") {
		t.Errorf("the trace lacks what came on the new connection:\n%s", said)
	}
}

func TestCase137FloodIsRefusedAndLiveCallsGoOn(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	low := mediaPorts(t)
	s.sets = append(s.sets, fmt.Sprintf("media.ports=%d-%d", low, low+9)) // five streams
	s.start()
	var live siprectest.CallReport
	var wg sync.WaitGroup
	wg.Go(func() {
		live = s.call(siprectest.Options{Target: "tcp://" + s.tcp, To: "02088257050", Duration: 3 * time.Second})
	})
	await(t, "the first call", 5*time.Second, func() bool { return len(s.status().Calls) == 1 })
	codes := map[int]int{}
	c := s.dialRaw("127.0.0.1")
	for range 100 {
		codes[c.invite("02088257050", rawSDP("RTP/AVP"), nil).code]++
	}
	wg.Wait()
	if codes[200]+codes[503] != 100 || codes[503] < 90 {
		t.Errorf("the flood got %v", codes)
	}
	if !live.OK() {
		t.Errorf("the live call: %+v", live)
	}
	await(t, "the live call's recording", 10*time.Second, func() bool {
		for _, r := range s.list("--state", "finished") {
			if r.Duration > 2.9 {
				return true
			}
		}
		return false
	})
}

func TestCase139IPv6(t *testing.T) {
	t.Parallel()
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("this machine has no IPv6: ", err)
	} else {
		l.Close()
	}
	port := freePort(t)
	s := newServer(t, `sip.listen=["tcp://[::1]:`+port+`"]`, `sip.peers=["::1/128"]`, `media.address="::1"`)
	s.start()
	r := s.call(siprectest.Options{Target: "tcp://[::1]:" + port, To: "02088257050", Duration: time.Second})
	if !r.OK() || len(r.Answer) != 2 || r.Answer[0].Addr.String() != "::1" {
		t.Fatalf("%+v", r)
	}
	row := s.finished(1)[0]
	if row.Line != "Council tax" || row.Duration < 0.9 {
		t.Errorf("%+v", row)
	}
	if p := s.peer("::1"); p.Calls != 1 {
		t.Errorf("%+v", p)
	}
	if said := s.run("trace", row.ID); !strings.Contains(said, "[::1]:"+port) || !strings.Contains(said, "first packet of 1") {
		t.Errorf("%s", said)
	}
}

func TestCase140StatusShowsEachSession(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	ctx, seen := context.WithCancel(t.Context())
	defer seen()
	done := place(t, ctx, siprectest.Options{Target: "tcp://" + s.tcp, To: "02088257050", Duration: 30 * time.Second,
		Script: []siprectest.Step{{At: 1500 * time.Millisecond, Do: siprectest.Hold}}})
	c := s.dialRaw("127.0.0.3")
	if a := c.invite("02088256020", rawSDP("RTP/AVP"), nil); a.code != 200 {
		t.Fatal(a.code)
	}
	held := false
	await(t, "both calls, one with packets and then on hold", 25*time.Second, func() bool {
		shown := 0
		for _, call := range s.status().Calls {
			peer, _, _ := net.SplitHostPort(call.Peer)
			switch {
			case call.Line == "Council tax" && peer == "127.0.0.1" && call.Via == "tcp" && call.Told == "good" && len(call.Legs) == 2 &&
				call.Legs[0].Packets > 0 && call.Legs[0].LastPacketAge >= 0 && (call.Legs[0].LastPacketAge < 5 || call.Legs[0].Hold):
				shown++
				held = held || call.Legs[0].Hold
			case call.Line == "Building control" && peer == "127.0.0.3" && call.Told == "none" && len(call.Legs) == 1 &&
				call.Legs[0].Packets == 0 && call.Legs[0].LastPacketAge == -1:
				shown++
			}
		}
		return shown == 2 && held
	})
	seen()
	<-done
}
