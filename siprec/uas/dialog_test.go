package uas

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

func TestCallOverEveryTransport(t *testing.T) {
	for _, network := range []string{"udp", "tcp", "tls"} {
		t.Run(network, func(t *testing.T) {
			l := start(t, nil)
			g := l.dial(t, network).dialog("one")
			res := g.open("Record-Route: <sip:127.0.0.1:5999;lr>", "Record-Route: <sip:127.0.0.2;lr>")
			if got := len(res.GetHeaders("Record-Route")); got != 2 {
				t.Errorf("%d Record-Routes came back", got)
			}
			contact := header(res, "Contact")
			want := "<sip:" + l.addr(network)
			if network != "udp" {
				want += ";transport=" + network
			}
			if contact != want+">;+sip.srs" {
				t.Errorf("Contact %q, want %q", contact, want)
			}
			for _, h := range []string{"Allow", "Accept", "Supported"} {
				if header(res, h) == "" {
					t.Errorf("no %s in the 200", h)
				}
			}
			if header(res, "Content-Type") != "application/sdp" || header(res, "Server") != "test/1" {
				t.Errorf("200 is\n%s", res)
			}
			g.send("BYE", 2, "", `Reason: Q.850;cause=16`)
			g.p.want("BYE", 200)
			l.storyOf(t, "one", "INVITE 1; bye")
			if r := l.call("one").ended()[0].Reason; r != "Q.850;cause=16" {
				t.Errorf("reason %q", r)
			}
			l.empty(t)
			if s := l.call("one").d.Transport(); s != network {
				t.Errorf("transport %q", s)
			}
		})
	}
}

func TestAnsweredAtOnceWith100(t *testing.T) {
	l := start(t, nil)
	hold := make(chan struct{})
	l.onAccept(func(context.Context, *Request) error { <-hold; return nil })
	g := l.dial(t, "tcp").dialog("x")
	g.send("INVITE", 1, "v=0")
	r, ok := g.p.read(10 * time.Second).(*sip.Response)
	if !ok || r.StatusCode != 100 {
		t.Fatalf("first came %v", r)
	}
	close(hold)
	g.p.want("INVITE", 200)
}

// Pipelined requests of one connection, 500 times: sipgo alone runs the BYE
// first in almost all of them.
func TestPipelinedRequestsKeepTheirOrder(t *testing.T) {
	l := start(t, nil)
	p := l.dial(t, "tcp")
	for i := range 500 {
		id := fmt.Sprint("p", i)
		g := p.dialog(id)
		g.invite()
		p.send(g.msg("ACK", 1, ""), g.msg("INVITE", 2, "a"), g.msg("UPDATE", 3, ""), g.msg("INFO", 4, ""),
			g.msg("UPDATE", 5, "b"), g.msg("BYE", 6, ""))
		p.want("BYE", 200)
		l.storyOf(t, id, "INVITE 1, INVITE 2, UPDATE 3, UPDATE 5; bye")
	}
	l.empty(t)
}

func TestDatagramsOutOfOrder(t *testing.T) {
	l := start(t, func(_ *Config, tm *timing) { tm.holdBack = 5 * time.Second })
	g := l.dial(t, "udp").dialog("u")
	g.open()
	bye, update, re := g.msg("BYE", 4, ""), g.msg("UPDATE", 3, "x"), g.msg("INVITE", 2, "y")
	g.p.send(bye)
	g.p.send(update)
	g.p.send(re)
	g.p.want("BYE", 200)
	l.storyOf(t, "u", "INVITE 1, INVITE 2, UPDATE 3; bye")
}

func TestGapInCSeqOnlyDelays(t *testing.T) {
	l := start(t, nil)
	g := l.dial(t, "udp").dialog("gap")
	g.open()
	g.send("UPDATE", 90, "")
	g.p.want("UPDATE", 200)
	g.send("UPDATE", 80, "")
	g.p.want("UPDATE", 500)
	g.send("BYE", 91, "")
	g.p.want("BYE", 200)
}

func TestReinviteBeforeACKOfTheFirst(t *testing.T) {
	l := start(t, func(_ *Config, tm *timing) { tm.t1 = 60 * time.Millisecond })
	l.onHeard(func() bool { return false })
	g := l.dial(t, "udp").dialog("r")
	g.invite()
	g.send("INVITE", 2, "x")
	for {
		if r := g.p.want("INVITE", 200); r.CSeq().SeqNo == 2 {
			break
		}
	}
	g.send("INVITE", 3, "x")
	for {
		if r := g.p.want("INVITE", 200); r.CSeq().SeqNo == 3 {
			break
		}
	}
	// No ACK at all: the dialog was confirmed by what followed, and stays.
	eventually(t, "waiting for the ACK ends", func() bool { return l.srv.Counters()["ack-missing"] == 1 })
	g.send("BYE", 4, "")
	g.p.want("BYE", 200)
	l.storyOf(t, "r", "INVITE 1, INVITE 2, INVITE 3; bye")
}

func TestLostACK(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		for _, heard := range []bool{true, false} {
			t.Run(fmt.Sprint(network, heard), func(t *testing.T) {
				t.Parallel() // each waits for nearly four seconds
				l := start(t, func(_ *Config, tm *timing) { tm.t1, tm.t2 = 60*time.Millisecond, 480*time.Millisecond })
				l.onHeard(func() bool { return heard })
				g := l.dial(t, network).dialog("lost")
				began := time.Now()
				first := g.invite().String()
				copies := 0
				for {
					gone := l.srv.Counters()["ack-missing"] > 0
					m := g.p.read(100 * time.Millisecond)
					if m == nil {
						if gone { // and what came before it is read
							break
						}
						continue
					}
					if _, ok := m.(*sip.Request); ok {
						break
					}
					if m.String() != first {
						t.Fatalf("another 200:\n%s\nwas\n%s", m, first)
					}
					copies++
				}
				// Ten on a machine that has time.
				if copies < 2 || copies > 11 {
					t.Errorf("%d copies of the 200", copies)
				}
				if heard {
					g.send("BYE", 2, "")
					g.p.want("BYE", 200)
					l.storyOf(t, "lost", "INVITE 1; bye")
					return
				}
				if d := time.Since(began); d < 3600*time.Millisecond {
					t.Errorf("given up after %v", d)
				}
				l.storyOf(t, "lost", "INVITE 1; ack timeout")
				l.empty(t)
			})
		}
	}
}

func TestWhenCopiesLeave(t *testing.T) {
	start := time.Now()
	p := &pending2xx{next: start.Add(500 * time.Millisecond), interval: 500 * time.Millisecond, deadline: start.Add(32 * time.Second)}
	var got []float64
	for p.next.Before(p.deadline) {
		got = append(got, p.next.Sub(start).Seconds())
		p.advance(p.next, 4*time.Second)
	}
	if want := []float64{0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5}; !slices.Equal(got, want) {
		t.Errorf("copies leave at %v, want %v", got, want)
	}
	if d := p.next.Sub(start); d != 32*time.Second {
		t.Errorf("given up after %v", d)
	}
}

func TestACKStopsTheCopies(t *testing.T) {
	l := start(t, func(_ *Config, tm *timing) { tm.t1 = 50 * time.Millisecond })
	g := l.dial(t, "udp").dialog("ack")
	g.invite()
	// An ACK with the branch of its INVITE, as some send it.
	g.branch = 0
	g.send("ACK", 1, "")
	g.branch = 5
	g.send("INFO", 2, "")
	g.p.want("INFO", 200)
	if m := g.p.read(250 * time.Millisecond); m != nil {
		t.Fatalf("after the ACK came\n%s", m)
	}
}

func TestOfferInOurAnswer(t *testing.T) {
	l := start(t, nil)
	g := l.dial(t, "tcp").dialog("late")
	g.body = ""
	g.invite()
	g.send("ACK", 1, "answer")
	l.storyOf(t, "late", "INVITE 1, ACK 1")
	g.send("BYE", 2, "metadata")
	g.p.want("BYE", 200)
	l.storyOf(t, "late", "INVITE 1, ACK 1, BYE 2; bye")
}

func TestCancelWhileTheCallIsOpened(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			l := start(t, nil)
			for _, stubborn := range []bool{false, true} {
				started := make(chan struct{})
				l.onAccept(func(ctx context.Context, _ *Request) error {
					close(started)
					<-ctx.Done()
					if stubborn {
						return nil
					}
					return ctx.Err()
				})
				id := fmt.Sprint("c", stubborn)
				g := l.dial(t, network).dialog(id)
				g.send("INVITE", 1, "x")
				<-started
				g.branch = 0
				g.send("CANCEL", 1, "")
				g.p.want("CANCEL", 200)
				g.p.want("INVITE", 487)
				if stubborn {
					l.storyOf(t, id, "INVITE 1; cancelled")
				}
				l.empty(t)
			}
		})
	}
}

func TestCancelOrByeBeforeItsInvite(t *testing.T) {
	for _, method := range []string{"CANCEL", "BYE"} {
		l := start(t, func(_ *Config, tm *timing) { tm.holdBack = 4 * time.Second })
		g := l.dial(t, "udp").dialog("early")
		invite := g.msg("INVITE", 1, "x")
		g.branch = 0
		if method == "BYE" {
			g.branch = 7
		}
		cseq := map[string]int{"CANCEL": 1, "BYE": 2}[method]
		g.send(method, cseq, "")
		eventually(t, "noted", func() bool { l.srv.mu.Lock(); defer l.srv.mu.Unlock(); return len(l.srv.early) == 1 })
		g.p.send(invite)
		codes := map[string]int{}
		for range 2 {
			m := g.p.read(10 * time.Second)
			r, ok := m.(*sip.Response)
			if !ok {
				t.Fatalf("%s: got %v", method, m)
			}
			codes[string(r.CSeq().MethodName)] = r.StatusCode
		}
		if codes["INVITE"] != 487 || codes[method] != 200 || l.opened() != 0 {
			t.Errorf("%s: %v, %d opened", method, codes, l.opened())
		}
		// One that no INVITE follows.
		h := l.dial(t, "udp").dialog("none")
		h.send(method, 1, "")
		h.p.want(method, 481)
		l.empty(t)
	}
}

func TestByeWithoutTagWhileOpening(t *testing.T) {
	l := start(t, nil)
	started := make(chan struct{})
	l.onAccept(func(ctx context.Context, _ *Request) error { close(started); <-ctx.Done(); return ctx.Err() })
	g := l.dial(t, "udp").dialog("b")
	g.send("INVITE", 1, "x")
	<-started
	g.send("BYE", 2, "")
	codes := map[string]int{}
	for len(codes) < 2 {
		if r, ok := g.p.read(10 * time.Second).(*sip.Response); !ok {
			t.Fatal("no answer")
		} else if r.StatusCode >= 200 {
			codes[string(r.CSeq().MethodName)] = r.StatusCode
		}
	}
	if codes["BYE"] != 200 || codes["INVITE"] != 487 {
		t.Error(codes)
	}
	l.empty(t)
}

// A CANCEL that crosses the 200: whoever wins, both sides agree and nothing
// is left over.
func TestCancelRace(t *testing.T) {
	l := start(t, nil)
	won := map[int]int{}
	for i := range 200 {
		id := fmt.Sprint("race", i)
		g := l.dial(t, "udp").dialog(id)
		invite := g.msg("INVITE", 1, "x")
		g.branch = 0
		cancel := g.msg("CANCEL", 1, "")
		g.p.send(invite)
		if i%3 != 0 {
			g.p.read(time.Second) // the 100
		}
		g.p.send(cancel)
		r := g.p.response("INVITE")
		won[r.StatusCode]++
		tag, _ := r.To().Params.Get("tag")
		g.to = tag
		g.branch = 0
		if r.StatusCode == 200 {
			g.branch = 10
		}
		g.send("ACK", 1, "")
		if r.StatusCode == 200 {
			g.send("BYE", 2, "")
			g.p.want("BYE", 200)
		}
		g.p.conn.Close()
	}
	l.empty(t)
	if won[200]+won[487] != 200 {
		t.Errorf("outcomes %v", won)
	}
	t.Logf("outcomes %v", won)
	for id, c := range l.calls {
		if n := len(c.ended()); c.story() != "" && n != 1 {
			t.Errorf("%s was closed %d times: %s", id, n, c.story())
		}
	}
}

func TestCopiesOfAnInvite(t *testing.T) {
	l := start(t, nil)
	g := l.dial(t, "udp").dialog("copy")
	invite := g.msg("INVITE", 1, "x")
	for range 5 {
		g.p.send(invite)
	}
	a := g.p.want("INVITE", 200)
	g.to, _ = a.To().Params.Get("tag")
	g.send("ACK", 1, "")
	if l.opened() != 1 {
		t.Errorf("%d sessions", l.opened())
	}
	// The same request by another way is merged, not a second call.
	other := l.dial(t, "udp").dialog("copy")
	other.branch = 50
	other.send("INVITE", 1, "x")
	other.p.want("INVITE", 482)
	// The Call-ID again with another tag is a call of its own.
	third := l.dial(t, "tcp").dialog("copy")
	third.from = "another"
	third.open()
	if l.opened() != 2 {
		t.Errorf("%d sessions", l.opened())
	}
	// On TCP a copy after the ACK gets the same 200 as well.
	third.send("INFO", 2, "")
	third.p.want("INFO", 200)
	to := third.to
	third.to, third.branch = "", 0
	third.send("INVITE", 1, third.body)
	if tag, _ := third.p.want("INVITE", 200).To().Params.Get("tag"); tag != to {
		t.Errorf("another tag: %q", tag)
	}
	if l.opened() != 2 {
		t.Errorf("%d sessions after a copy", l.opened())
	}
}

func TestUnknownDialog(t *testing.T) {
	l := start(t, nil)
	p := l.dial(t, "udp")
	for _, method := range []string{"INVITE", "UPDATE", "BYE", "INFO", "PRACK", "OPTIONS"} {
		g := p.dialog("before the restart " + method)
		g.callID = "gone" + method
		g.to = "forgotten"
		g.send(method, 5, "")
		p.want(method, 481)
	}
	g := p.dialog("here")
	g.open()
	good := g.to
	g.to = "wrong"
	g.send("BYE", 2, "")
	p.want("BYE", 481)
	g.to = good
	g.send("BYE", 3, "")
	p.want("BYE", 200)
	if n := l.srv.Counters()["unknown-dialog"]; n != 7 {
		t.Errorf("%d counted", n)
	}
}

func TestByeOnANewConnection(t *testing.T) {
	l := start(t, nil)
	g := l.dial(t, "tcp").dialog("moved")
	g.open()
	g.p.conn.Close()
	g.p = l.dial(t, "tcp")
	g.send("UPDATE", 2, "x")
	g.p.want("UPDATE", 200)
	l.call("moved").d.Hangup("done")
	if r := g.p.request("BYE", 405); header(r, "Reason") != `SIP;cause=200;text="done"` {
		t.Errorf("BYE is\n%s", r)
	}
	l.storyOf(t, "moved", "INVITE 1, UPDATE 2; hangup")
	l.empty(t)
}

func TestHangup(t *testing.T) {
	for _, network := range []string{"udp", "tcp", "tls"} {
		l := start(t, nil)
		g := l.dial(t, network).dialog("h")
		g.open()
		l.call("h").d.Hangup("enough\r\nEvil: \"yes\"")
		r := g.p.request("BYE", 200)
		from, _ := r.From().Params.Get("tag")
		to, _ := r.To().Params.Get("tag")
		if from != g.to || to != g.from || r.CallID().Value() != "h" || len(r.GetHeaders("Evil")) != 0 ||
			!strings.Contains(header(r, "Contact"), "+sip.srs") {
			t.Errorf("BYE is\n%s", r)
		}
		l.storyOf(t, "h", "INVITE 1; hangup")
		l.empty(t)
		g.send("BYE", 2, "")
		g.p.want("BYE", 481)
	}
}

func TestRefusals(t *testing.T) {
	l := start(t, nil)
	l.onAccept(func(_ context.Context, r *Request) error {
		switch string(r.Body) {
		case "refuse":
			return &Refusal{Code: 488, Reason: "Not Acceptable\r\nHere", Warning: `304 x "no codec"`, RetryAfter: 1500 * time.Millisecond}
		case "fail":
			return errors.New("disk")
		}
		return nil
	})
	p := l.dial(t, "tcp")
	g := p.dialog("a")
	g.send("INVITE", 1, "refuse")
	r := p.want("INVITE", 488)
	if header(r, "Warning") != `304 x "no codec"` || header(r, "Retry-After") != "2" || len(r.GetHeaders("Here")) != 0 {
		t.Errorf("refusal is\n%s", r)
	}
	g.send("ACK", 1, "")
	// The client tries again in the same call: a call of its own.
	g.body = "fine"
	g.send("INVITE", 2, "fine")
	p.want("INVITE", 200)
	h := p.dialog("b")
	h.send("INVITE", 1, "fail")
	p.want("INVITE", 500)
	l.onChange(func(*Request) error { return &Refusal{Code: 488, Reason: "No"} })
	k := p.dialog("k")
	k.open()
	k.send("INVITE", 2, "x")
	p.want("INVITE", 488)
	k.send("BYE", 3, "")
	p.want("BYE", 200)
}

func TestPanicEndsOneDialog(t *testing.T) {
	l := start(t, nil)
	l.onAccept(func(_ context.Context, r *Request) error {
		if string(r.Body) == "boom" {
			panic("open")
		}
		return nil
	})
	l.onChange(func(*Request) error { panic("change") })
	p := l.dial(t, "tcp")
	g := p.dialog("p1")
	g.send("INVITE", 1, "boom")
	p.want("INVITE", 500)
	other := p.dialog("other")
	other.open()
	h := p.dialog("p2")
	h.open()
	h.send("INVITE", 2, "x")
	codes := map[string]bool{}
	for len(codes) < 2 {
		switch m := p.read(10 * time.Second).(type) {
		case *sip.Response:
			if m.StatusCode >= 200 {
				codes[fmt.Sprint(m.StatusCode)] = true
			}
		case *sip.Request:
			codes[string(m.Method)] = true
		default:
			t.Fatalf("only %v came", codes)
		}
	}
	if !codes["500"] || !codes["BYE"] {
		t.Error(codes)
	}
	l.storyOf(t, "p2", "INVITE 1, INVITE 2; panic")
	other.send("BYE", 2, "")
	p.want("BYE", 200)
	if l.srv.Counters()["panic"] != 2 || !strings.Contains(l.logs.String(), "stack") {
		t.Errorf("%v\n%s", l.srv.Counters(), l.logs)
	}
	l.empty(t)
}

func TestCancelOfAReinvite(t *testing.T) {
	l := start(t, nil)
	g := l.dial(t, "udp").dialog("re")
	g.open()
	started, hold := make(chan struct{}), make(chan struct{})
	l.onChange(func(*Request) error { close(started); <-hold; return nil })
	g.send("INVITE", 2, "x")
	<-started
	g.branch--
	g.send("CANCEL", 2, "")
	g.p.want("CANCEL", 200)
	g.p.want("INVITE", 487)
	close(hold)
	g.send("BYE", 3, "")
	g.p.want("BYE", 200)
	l.storyOf(t, "re", "INVITE 1, INVITE 2; bye")
}

// Many calls at once over both transports, each with a full life; afterwards
// nothing is left.
func TestManyCallsAtOnce(t *testing.T) {
	l := start(t, nil)
	var wg sync.WaitGroup
	for w := range 20 {
		network := []string{"udp", "tcp"}[w%2]
		p := l.dial(t, network)
		wg.Go(func() {
			for i := range 20 {
				id := fmt.Sprint("m", w, "-", i)
				g := p.dialog(id)
				g.open()
				g.send("INVITE", 2, "x")
				p.want("INVITE", 200)
				g.send("ACK", 2, "")
				g.send("BYE", 3, "")
				p.want("BYE", 200)
			}
		})
	}
	wg.Wait()
	l.empty(t)
	if l.opened() != 400 {
		t.Errorf("%d opened", l.opened())
	}
	for id, c := range l.calls {
		if s := c.story(); s != "INVITE 1, INVITE 2; bye" {
			t.Errorf("%s: %s", id, s)
		}
	}
}
