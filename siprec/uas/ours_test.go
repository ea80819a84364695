package uas

import (
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// ours reads until a request of the server's comes, without answering it.
func (p *peer) ours(method string) *sip.Request {
	p.t.Helper()
	for {
		m := p.read(15 * time.Second)
		if m == nil {
			p.t.Fatalf("the server sent no %s", method)
		}
		if r, ok := m.(*sip.Request); ok && string(r.Method) == method {
			return r
		}
	}
}

// reply answers a request of the server's.
func (p *peer) reply(req *sip.Request, code int, body string) {
	p.t.Helper()
	res := sip.NewResponseFromRequest(req, code, "Answer", []byte(body))
	res.AppendHeader(sip.NewHeader("Contact", "<sip:"+p.conn.LocalAddr().String()+";transport="+p.network+">"))
	if body != "" {
		res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	}
	p.send(res.String())
}

func TestReinviteOfOurs(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			l := start(t, nil)
			g := l.dial(t, network).dialog("ours-" + network)
			g.open("Supported: timer", "Session-Expires: 1800;refresher=uac")
			c := l.call(g.callID)
			c.d.ask(func() { // asked for twice before one leaves, one leaves
				c.d.Reinvite()
				c.d.Reinvite()
			})
			inv := g.p.ours("INVITE")
			if string(inv.Body()) != "v=0\r\nm=ours\r\n" || header(inv, "Session-Expires") != "1800;refresher=uas" ||
				!strings.Contains(header(inv, "Contact"), "+sip.srs") || header(inv, "Content-Type") != "application/sdp" {
				t.Errorf("our re-INVITE is\n%s", inv)
			}
			g.p.reply(inv, 200, "v=0\r\nanswer\r\n")
			ack := g.p.ours("ACK")
			if ack.CSeq().SeqNo != inv.CSeq().SeqNo || branchOf(ack) == branchOf(inv) {
				t.Errorf("ACK is\n%s", ack)
			}
			g.p.reply(inv, 200, "v=0\r\nanswer\r\n") // the ACK was lost
			if again := g.p.ours("ACK"); again.CSeq().SeqNo != inv.CSeq().SeqNo {
				t.Errorf("second ACK is\n%s", again)
			}
			g.send("BYE", 2, "")
			g.p.want("BYE", 200)
			l.storyOf(t, g.callID, "INVITE 1, INVITE 2; bye")
			l.empty(t)
		})
	}
}

func TestReinviteWaitsForTheACK(t *testing.T) {
	l := start(t, nil)
	g := l.dial(t, "tcp").dialog("unacked")
	g.invite()
	l.call("unacked").d.Reinvite()
	if m := g.p.read(300 * time.Millisecond); m != nil && !strings.HasPrefix(m.String(), "SIP/2.0 200") {
		t.Errorf("before the ACK came\n%s", m)
	}
	g.send("ACK", 1, "")
	g.p.reply(g.p.ours("INVITE"), 488, "")
	g.p.ours("ACK")
	eventually(t, "the refusal counted", func() bool { return l.srv.Counters()["offer-refused"] == 1 })
	g.send("BYE", 2, "")
	g.p.want("BYE", 200)
}

func TestGlare(t *testing.T) {
	l := start(t, nil)
	g := l.dial(t, "tcp").dialog("glare")
	g.open()
	l.call("glare").d.Reinvite()
	inv := g.p.ours("INVITE")
	g.send("INVITE", 2, "v=0\r\nm=theirs\r\n")
	g.p.want("INVITE", 491)
	g.send("ACK", 2, "")
	g.send("UPDATE", 3, "v=0\r\nm=theirs\r\n")
	g.p.want("UPDATE", 491)
	g.send("UPDATE", 4, "metadata alone")
	g.p.want("UPDATE", 200)
	g.p.reply(inv, 491, "")
	g.p.ours("ACK")
	began := time.Now()
	inv2 := g.p.ours("INVITE")
	// We do not own the Call-ID: 0 to 2 s (RFC 3261 section 14.1).
	if w := time.Since(began); w > 5*time.Second || inv2.CSeq().SeqNo <= inv.CSeq().SeqNo {
		t.Errorf("tried again after %v with CSeq %d", w, inv2.CSeq().SeqNo)
	}
	g.p.reply(inv2, 200, "v=0\r\nanswer\r\n")
	g.p.ours("ACK")
	g.send("INVITE", 5, "v=0\r\nm=theirs\r\n")
	g.p.want("INVITE", 200)
	g.send("ACK", 5, "")
	g.send("BYE", 6, "")
	g.p.want("BYE", 200)
	if n := l.srv.Counters()["glare"]; n != 3 {
		t.Errorf("counted %d times", n)
	}
	l.empty(t)
}

// An UPDATE must not bring an offer while ours, in a 200, has no answer yet
// (RFC 3311 section 5.2).
func TestUpdateWhileOurOfferIsOpen(t *testing.T) {
	l := start(t, nil)
	g := l.dial(t, "tcp").dialog("open-offer")
	g.body = ""
	g.invite()
	g.send("UPDATE", 2, "v=0\r\nm=theirs\r\n")
	g.p.want("UPDATE", 491)
	g.send("ACK", 1, "v=0\r\nanswer\r\n")
	g.send("UPDATE", 3, "v=0\r\nm=theirs\r\n")
	g.p.want("UPDATE", 200)
	g.send("BYE", 4, "")
	g.p.want("BYE", 200)
}

// A client that is busy is asked again: media that is wanted late would be
// lost for one 500.
func TestReinviteOfABusyClient(t *testing.T) {
	l := start(t, nil)
	g := l.dial(t, "tcp").dialog("busy")
	g.open()
	l.call("busy").d.Reinvite()
	g.p.reply(g.p.ours("INVITE"), 500, "")
	g.p.ours("ACK")
	g.p.reply(g.p.ours("INVITE"), 200, "v=0\r\nanswer\r\n")
	g.p.ours("ACK")
	g.send("BYE", 2, "")
	g.p.want("BYE", 200)
	l.empty(t)
}

func TestReinviteOfALostSession(t *testing.T) {
	l := start(t, nil)
	g := l.dial(t, "tcp").dialog("lost")
	g.open()
	l.call("lost").d.Reinvite()
	g.p.reply(g.p.ours("INVITE"), 481, "")
	g.p.request("BYE", 481)
	l.storyOf(t, "lost", "INVITE 1; session lost")
	l.empty(t)
}

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		name, allow, method string
		status              int
	}{
		{"allows update", "Allow: INVITE, ACK, BYE, UPDATE", "UPDATE", 200},
		{"allows no update", "Allow: INVITE, ACK, BYE", "OPTIONS", 481},
		{"says nothing", "X-Nothing: 1", "OPTIONS", 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := start(t, nil)
			g := l.dial(t, "udp").dialog("probe")
			g.open(c.allow)
			heard := make(chan int, 1)
			l.call("probe").d.Probe(func(status int) { heard <- status })
			if r := g.p.request(c.method, c.status); len(r.Body()) != 0 {
				t.Errorf("the probe is\n%s", r)
			}
			if got := <-heard; got != c.status {
				t.Errorf("heard %d, want %d", got, c.status)
			}
			g.send("BYE", 2, "")
			g.p.want("BYE", 200)
		})
	}
}

func TestUpdateOfOurs(t *testing.T) {
	l := start(t, nil)
	g := l.dial(t, "udp").dialog("snapshot")
	g.open()
	l.call("snapshot").d.Update("application/x", "recording-session", []byte("please"))
	r := g.p.request("UPDATE", 488)
	if string(r.Body()) != "please" || header(r, "Content-Type") != "application/x" || header(r, "Content-Disposition") != "recording-session" {
		t.Errorf("our UPDATE is\n%s", r)
	}
	eventually(t, "the refusal counted", func() bool { return l.srv.Counters()["update-refused"] == 1 })
	g.send("BYE", 2, "")
	g.p.want("BYE", 200)
	l.storyOf(t, "snapshot", "INVITE 1; bye")
}
