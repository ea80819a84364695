package siprectest_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/goleak"

	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
)

// quiet is a leg that says nothing for as long as the call lasts.
func quiet() []siprectest.Leg {
	return []siprectest.Leg{{Audio: audio.Silence()}, {Audio: audio.Silence()}}
}

func dial(t *testing.T, u *uas) *siprectest.Client {
	t.Helper()
	c, err := siprectest.Dial(testContext(t), u.target, u.tls)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func invite(t *testing.T, c *siprectest.Client, o siprectest.Options) *siprectest.Call {
	t.Helper()
	if o.Legs == nil {
		o.Legs = quiet()
	}
	if o.Duration == 0 {
		o.Duration = time.Hour
	}
	call, err := c.Invite(testContext(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return call
}

func TestRefusal(t *testing.T) {
	u := newUAS(t, "udp")
	u.answers(func(_ *uas, req *sip.Request, tx sip.ServerTransaction) {
		_ = tx.Respond(sip.NewResponseFromRequest(req, 180, "Ringing", nil))
		_ = tx.Respond(sip.NewResponseFromRequest(req, 503, "Full", nil))
		<-tx.Acks() // the client's transaction acknowledges
	})
	r, err := siprectest.Run(testContext(t), siprectest.Options{Target: u.target})
	if err != nil {
		t.Fatal(err)
	}
	c := r.Calls[0]
	if r.OK() || c.Code != 503 || c.Reason != "Full" || c.Ended != "refused" || len(u.seen(sip.BYE)) != 0 || r.Totals.Codes["503"] != 1 {
		t.Errorf("report %+v", r)
	}
	_, err = dial(t, u).Invite(testContext(t), siprectest.Options{})
	var status *siprectest.StatusError
	if !errors.As(err, &status) || status.Code != 503 {
		t.Errorf("Invite: %v, want a StatusError 503", err)
	}
}

func TestNobodyListens(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := conn.LocalAddr().String()
	_ = conn.Close()
	began := time.Now()
	r, err := siprectest.Run(testContext(t), siprectest.Options{Target: "udp://" + addr})
	if err != nil || r.OK() || !strings.Contains(r.Calls[0].Error, "refused") || r.Totals.Codes["none"] != 1 {
		t.Errorf("UDP: %v %+v", err, r)
	}
	if _, err := siprectest.Run(testContext(t), siprectest.Options{Target: "tcp://" + addr}); err == nil {
		t.Error("TCP: no error though nobody listens")
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("it took %v to notice", d)
	}
}

func TestCancel(t *testing.T) {
	u := newUAS(t, "udp")
	u.answers(func(_ *uas, req *sip.Request, tx sip.ServerTransaction) {
		_ = tx.Respond(sip.NewResponseFromRequest(req, 180, "Ringing", nil))
		<-tx.Done()
	})
	r, err := siprectest.Run(testContext(t), siprectest.Options{
		Target: u.target, Faults: siprectest.Faults{CancelAfter: 50 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Calls[0]; c.Code != 487 || len(c.Notes) != 0 || c.SetupSeconds < 0.05 {
		t.Errorf("report %+v, want 487", c)
	}
}

// TestLostAck has the recorder send its 200 until an ACK comes.
func TestLostAck(t *testing.T) {
	u := newUAS(t, "udp")
	sent := make(chan int, 1)
	u.answers(func(u *uas, req *sip.Request, tx sip.ServerTransaction) {
		res, n := u.ok(req), 0
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			_ = tx.Respond(res)
			n++
			select {
			case <-u.acked:
				sent <- n
				return
			case <-ticker.C:
			}
		}
	})
	call := invite(t, dial(t, u), siprectest.Options{Faults: siprectest.Faults{LoseAcks: 2}})
	if n := <-sent; n < 3 {
		t.Errorf("acknowledged after %d, want 3 or more", n)
	}
	if err := call.Bye(testContext(t)); err != nil {
		t.Error(err)
	}
	acks := u.seen(sip.ACK)
	if r := call.Report(); r.AcksLost != 2 || len(acks) == 0 || acks[0].CSeq().SeqNo != u.seen(sip.INVITE)[0].CSeq().SeqNo {
		t.Errorf("report %+v, %d ACKs", r, len(acks))
	}
}

func TestHoldResumeRefresh(t *testing.T) {
	t.Parallel()
	u := newUAS(t, "tcp")
	at := func(ms int, do func(context.Context, *siprectest.Call) error) siprectest.Step {
		return siprectest.Step{At: time.Duration(ms) * time.Millisecond, Do: do}
	}
	r, err := siprectest.Run(testContext(t), siprectest.Options{
		Target: u.target, Duration: 1200 * time.Millisecond, Legs: quiet(),
		Script: []siprectest.Step{at(200, siprectest.Refresh), at(400, siprectest.Hold), at(800, siprectest.Resume), at(900, siprectest.UpdateMetadata)},
	})
	if err != nil || !r.OK() || len(r.Calls[0].Notes) != 0 {
		t.Fatalf("%v %+v", err, r)
	}
	inv := u.seen(sip.INVITE)
	if len(inv) != 4 || len(u.seen(sip.ACK)) != 4 {
		t.Fatalf("%d INVITEs and %d ACKs, want 4", len(inv), len(u.seen(sip.ACK)))
	}
	var sdp []string
	for i, r := range inv {
		sdp = append(sdp, bodyPart(t, r, "application/sdp"))
		if i > 0 && (r.CSeq().SeqNo <= inv[i-1].CSeq().SeqNo || header(r, "Require") != "siprec") {
			t.Errorf("INVITE %d: CSeq %d, Require %q", i, r.CSeq().SeqNo, header(r, "Require"))
		}
	}
	if sdp[0] != sdp[1] {
		t.Error("the refresh is not the same offer")
	}
	if strings.Count(sdp[2], "a=inactive") != 2 || strings.Count(sdp[3], "a=sendonly") != 2 || sdp[3] == sdp[0] {
		t.Errorf("hold:\n%s\nresume:\n%s", sdp[2], sdp[3])
	}
	if up := u.seen(sip.UPDATE); len(up) != 1 || header(up[0], "Content-Type") != "application/rs-metadata+xml" {
		t.Errorf("UPDATE %v", up)
	}
	leg := r.Calls[0].Legs[0]
	if leg.Skipped < 5 || leg.Skipped > 55 || leg.Sent+leg.Skipped != 60 {
		t.Errorf("leg %+v: want 60 in all, about 20 of them silent where the machine has time", leg)
	}
	got := u.packets(0, leg.Sent)
	for i := 1; i < len(got); i++ {
		gap := got[i].Timestamp - got[i-1].Timestamp
		if got[i].SequenceNumber != got[i-1].SequenceNumber+1 || gap != 160 && gap != uint32(160*(leg.Skipped+1)) {
			t.Errorf("packet %d: %+v after %+v", i, got[i].Header, got[i-1].Header)
		}
		if got[i].Marker != (gap != 160) {
			t.Errorf("packet %d: marker %v after a gap of %d", i, got[i].Marker, gap)
		}
	}
}

func TestRecorderHangsUp(t *testing.T) {
	u := newUAS(t, "udp")
	c := dial(t, u)
	call := invite(t, c, siprectest.Options{})
	inv := u.seen(sip.INVITE)[0]
	poll(t, "the ACK", func() bool { return len(u.seen(sip.ACK)) == 1 })
	bye := sip.NewRequest(sip.BYE, inv.Contact().Address)
	for _, h := range []string{
		"Via: SIP/2.0/UDP " + strings.TrimPrefix(u.target, "udp://") + ";branch=z9hG4bK1", "From: <sip:srs@x>;tag=1",
		"To: " + inv.From().Value(), "Call-ID: " + call.ID(), "CSeq: 1 BYE", `Reason: SIP;cause=503;text="drained"`,
	} {
		name, value, _ := strings.Cut(h, ": ")
		bye.AppendHeader(sip.NewHeader(name, value))
	}
	conn, err := net.Dial("udp", c.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The client's socket is connected to the recorder: the BYE of a stranger
	// must not reach it.
	_, _ = conn.Write([]byte(bye.String()))
	bye.SetBody(nil)
	if err := u.srv.TransportLayer().WriteMsgTo(bye, c.LocalAddr().String(), "udp"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-call.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the BYE was not taken")
	}
	if err := call.Wait(testContext(t)); err != nil {
		t.Error(err)
	}
	if err := call.Bye(testContext(t)); err != nil {
		t.Error(err)
	}
	r := call.Report()
	if r.Ended != "remote bye" || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "drained") || len(u.seen(sip.BYE)) != 0 {
		t.Errorf("report %+v", r)
	}
}

func TestVanish(t *testing.T) {
	u := newUAS(t, "udp")
	r, err := siprectest.Run(testContext(t), siprectest.Options{
		Target: u.target, Legs: quiet(), Duration: 100 * time.Millisecond, Faults: siprectest.Faults{NoBye: true, NoMedia: true}})
	if err != nil || !r.OK() || r.Calls[0].Ended != "vanished" || r.Totals.Packets.Sent != 0 {
		t.Errorf("%v %+v", err, r)
	}
	if n := len(u.seen(sip.BYE)); n != 0 {
		t.Errorf("%d BYEs", n)
	}
}

// TestOddAnswers has answers that a client must note, and lines that it must
// not send to.
func TestOddAnswers(t *testing.T) {
	u := newUAS(t, "udp")
	u.answers(func(u *uas, req *sip.Request, tx sip.ServerTransaction) {
		res := u.ok(req)
		body := strings.Replace(string(res.Body()), "a=label:1", "a=label:7", 1)
		i := strings.LastIndex(body, "m=audio ")
		body = body[:i] + "m=audio 0 " + strings.SplitN(body[i:], " ", 3)[2]
		res.SetBody([]byte(body))
		res.ReplaceHeader(sip.NewHeader("Contact", "<sip:srs@"+strings.TrimPrefix(u.target, "udp://")+">"))
		_ = tx.Respond(res)
	})
	call := invite(t, dial(t, u), siprectest.Options{ExtraMedia: []string{"m=video 9 RTP/AVP 96\na=sendonly"}, Headers: []siprectest.Header{{Name: "X-Test", Value: "1"}}})
	u.packets(0, 3)
	if err := call.Bye(testContext(t)); err != nil {
		t.Error(err)
	}
	r := call.Report()
	notes := strings.Join(r.Notes, "; ")
	if !strings.Contains(notes, "+sip.srs") || !strings.Contains(notes, `label "7" answers "1"`) {
		t.Errorf("notes %q", notes)
	}
	if len(r.Answer) != 3 || r.Answer[1].Port != 0 || r.Legs[0].Sent == 0 || r.Legs[1].Sent != 0 {
		t.Errorf("answer %+v, legs %+v", r.Answer, r.Legs)
	}
	inv := u.seen(sip.INVITE)[0]
	if sdp := bodyPart(t, inv, "application/sdp"); !strings.HasSuffix(sdp, "m=video 9 RTP/AVP 96\r\na=sendonly\r\n") || header(inv, "X-Test") != "1" {
		t.Errorf("offer %q", sdp)
	}
}

// TestHandle drives one call by hand.
func TestHandle(t *testing.T) {
	u := newUAS(t, "udp")
	call := invite(t, dial(t, u), siprectest.Options{})
	ctx := testContext(t)
	if err := call.SendRTP(1, []byte("not RTP")); err != nil {
		t.Error(err)
	}
	p := u.open(1)
	poll(t, "the stray datagram", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.raw) == 1 && string(p.raw[0]) == "not RTP"
	})
	reply, err := call.ReInvite(ctx, siprectest.Offer{Bare: true, Direction: "inactive"})
	if err != nil || reply.Code != 200 || reply.Answer[0].Direction != "inactive" {
		t.Errorf("%v %+v", err, reply)
	}
	if inv := u.seen(sip.INVITE)[1]; header(inv, "Content-Type") != "application/sdp" || !bytes.Equal(inv.Body(), call.SDP()) {
		t.Errorf("a bare re-INVITE carries %q", header(inv, "Content-Type"))
	}
	if reply, err = call.Request(ctx, "INFO", siprectest.Body{Type: "text/plain", Data: []byte("x")}); err != nil || reply.Code != 200 {
		t.Errorf("%v %+v", err, reply)
	}
	if info := u.seen(sip.INFO)[0]; string(info.Body()) != "x" || info.To().Value() != u.seen(sip.ACK)[0].To().Value() {
		t.Errorf("INFO %s", info)
	}
	if err := call.Bye(ctx); err != nil {
		t.Error(err)
	}
}

// TestManyCalls places calls at a rate, a few at a time, over one socket.
func TestManyCalls(t *testing.T) {
	t.Parallel()
	u := newUAS(t, "tcp")
	began := time.Now()
	r, err := siprectest.Run(testContext(t), siprectest.Options{
		Target: u.target, Legs: quiet(), Duration: 200 * time.Millisecond, Calls: 12, Rate: 40, Concurrent: 4})
	if err != nil || !r.OK() {
		t.Fatalf("%v %v", err, r)
	}
	// Three rounds of at least the call's length.
	if d := time.Since(began); d < 550*time.Millisecond {
		t.Errorf("12 calls of 200 ms, 4 at a time, took only %v", d)
	}
	ids := map[string]bool{}
	for i, c := range r.Calls {
		ids[c.CallID] = true
		if c.Number != i || c.Legs[0].Sent != 10 {
			t.Errorf("call %d: %+v", i, c)
		}
	}
	if len(ids) != 12 || len(u.seen(sip.INVITE)) != 12 || len(u.seen(sip.BYE)) != 12 {
		t.Errorf("%d ids, %d INVITEs, %d BYEs", len(ids), len(u.seen(sip.INVITE)), len(u.seen(sip.BYE)))
	}
	if n := strings.Count(r.String(), "\ncall "); n != 5 || !strings.Contains(r.String(), "(7 more calls)") {
		t.Errorf("%d calls in the report:\n%s", n, r)
	}
}

// TestStopped ends a run in mid-call: it hangs up.
func TestStopped(t *testing.T) {
	u := newUAS(t, "udp")
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	stop := siprectest.Step{Do: func(context.Context, *siprectest.Call) error { cancel(); return nil }}
	r, err := siprectest.Run(ctx, siprectest.Options{Target: u.target, Legs: quiet(), Duration: time.Hour, Script: []siprectest.Step{stop}})
	if err != nil || r.Calls[0].ByeCode != 200 || !strings.Contains(strings.Join(r.Calls[0].Notes, ""), "stopped") {
		t.Errorf("%v %+v", err, r)
	}
}

func TestStoppedBeforeItBegan(t *testing.T) {
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	if r, err := siprectest.Run(ctx, siprectest.Options{Target: "udp://127.0.0.1:9"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v %+v, want context.Canceled", err, r)
	}
}

// TestReconnect has the recorder drop the TCP connection in mid-call.
func TestReconnect(t *testing.T) {
	u := newUAS(t, "tcp")
	c := dial(t, u)
	call := invite(t, c, siprectest.Options{})
	was := c.LocalAddr()
	conn := u.srv.TransportLayer()
	poll(t, "the connection", func() bool {
		tcp, err := conn.GetConnection("tcp", was.String())
		return err == nil && tcp.Close() == nil
	})
	poll(t, "a BYE on a new connection", func() bool { return call.Bye(testContext(t)) == nil })
	if c.LocalAddr() == was {
		t.Error("the connection is the old one")
	}
}

func TestBadOptions(t *testing.T) {
	for name, o := range map[string]siprectest.Options{
		"scheme":   {Target: "http://127.0.0.1"},
		"no host":  {Target: "udp://"},
		"dialect":  {Target: "udp://127.0.0.1:9", Dialect: "cisco"},
		"codec":    {Target: "udp://127.0.0.1:9", Codec: "g729"},
		"ptime":    {Target: "udp://127.0.0.1:9", Ptime: time.Second},
		"loss":     {Target: "udp://127.0.0.1:9", Loss: 5},
		"calls":    {Target: "udp://127.0.0.1:9", Calls: -1},
		"digit":    {Target: "udp://127.0.0.1:9", Legs: []siprectest.Leg{{Audio: audio.Silence(), Impair: siprectest.Impair{Events: []siprectest.Event{{Digit: 'x'}}}}}},
		"no audio": {Target: "udp://127.0.0.1:9", Legs: []siprectest.Leg{{}}},
	} {
		if _, err := siprectest.Run(testContext(t), o); !errors.Is(err, siprectest.ErrOptions) {
			t.Errorf("%s: %v, want ErrOptions", name, err)
		}
	}
}

// TestLeavesNothing counts goroutines before and after a client's life.
func TestLeavesNothing(t *testing.T) {
	u := newUAS(t, "udp")
	u.port(1) // the recorder's own readers
	u.port(0)
	before := goleak.IgnoreCurrent()
	c, err := siprectest.Dial(testContext(t), u.target, nil)
	if err != nil {
		t.Fatal(err)
	}
	invite(t, c, siprectest.Options{}) // and no BYE
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, before)
}
