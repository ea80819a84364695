package attack

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"siprecd/cmd/torture/foe"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
)

// forged sends datagrams from addresses that are not allowed: nothing may be
// kept of them. That the measure works is shown by the same from addresses that
// are.
func forged(l *rig.Lab) error {
	strange, heard, err := growth(l, "sip.peers=[127.0.0.1/32]")
	if err != nil {
		return err
	}
	l.Figure("heap after the datagrams of strangers", fmt.Sprintf("+%s for %d sources", foe.MiB(strange), l.Rounds), "≤ +1 MiB", strange <= 1<<20)
	l.Figure("of them seen and dropped", fmt.Sprint(heard), "nearly all", heard >= l.Rounds*9/10)
	known, _, err := growth(l, "sip.peers=[127.0.0.0/8]")
	if err != nil {
		return err
	}
	caught := 0
	if known > strange && known > int64(40*l.Rounds) {
		caught = 1
	}
	l.Logf("allowed sources: +%s", foe.MiB(known))
	l.Control("the same from allowed sources is seen to grow", caught, 1)
	return nil
}

// growth is by how much the live heap of a server grows, and how many
// strangers it saw.
func growth(l *rig.Lab, peers string) (grown int64, heard int, err error) {
	s, err := l.Server(peers)
	if err != nil {
		return 0, 0, err
	}
	at := fmt.Sprint("127.0.0.1:", s.Spare(0))
	if _, err = s.Start("--pprof", at); err != nil {
		return 0, 0, err
	}
	defer s.Kill()
	if _, err := spray(s, 100); err != nil { // what is made once is made
		return 0, 0, err
	}
	before, err := heap(s, at)
	if err != nil {
		return 0, 0, err
	}
	if _, err := spray(s, l.Rounds); err != nil {
		return 0, 0, err
	}
	// Transactions of allowed sources are over after 32 s; strangers have none.
	after, err := heap(s, at)
	if err != nil {
		return 0, 0, err
	}
	st, err := foe.Status(s)
	return after - before, int(st.Strangers.Count), err
}

// heap is the live heap after a collection, bytes.
func heap(s *rig.Server, at string) (int64, error) {
	http := s.HTTP
	defer func() { s.HTTP = http }()
	s.HTTP = at
	var least int64
	for range 3 { // what finalizers free goes with the next one
		_, b := s.Fetch("/debug/pprof/heap?gc=1&debug=1")
		_, rest, ok := bytes.Cut(b, []byte("# HeapAlloc = "))
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		n, err := strconv.ParseInt(string(line), 10, 64)
		if !ok || err != nil {
			return 0, fmt.Errorf("no heap profile: %w", err)
		}
		if least == 0 || n < least {
			least = n
		}
	}
	return least, nil
}

// spray sends one datagram from each of n sources: a byte, a keep-alive, an
// OPTIONS.
func spray(s *rig.Server, n int) (sent int, err error) {
	to, err := net.ResolveUDPAddr("udp", s.UDP)
	if err != nil {
		return 0, err
	}
	for i := range n {
		c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(foe.Source(i))}, to)
		if err != nil {
			return sent, err
		}
		p := &foe.Peer{Conn: c, Network: "UDP"}
		data := []byte("x")
		if i%4 == 3 {
			data = p.Bytes(foe.Request{Method: "OPTIONS", ID: fmt.Sprint("o", i), Tag: "t", CSeq: 1})
		}
		if _, err := c.Write(data); err == nil {
			sent++
		}
		c.Close()
		if i%200 == 199 {
			<-time.After(4 * time.Millisecond) // its buffer is to hold them
		}
	}
	return sent, nil
}

// invites offers thousands of calls in two seconds, first from one allowed
// source, then from as many: the calls that are up must not notice, and a call
// of an honest client is answered.
func invites(l *rig.Lab) error {
	long := l.Rounds >= 5000
	calls, span := 8, 9*time.Second
	if long {
		calls, span = 100, 25*time.Second
	}
	l.Span = 4000
	s, err := foe.Start(l)
	if err != nil {
		return err
	}
	b, err := foe.Play(l, s, calls, siprectest.Options{Duration: span, SharePorts: true})
	if err != nil {
		return err
	}
	foe.Wait(l, time.Second)
	h, err := floods(l, s)
	if err != nil {
		return err
	}
	over := time.Now()
	foe.Wait(l, 2*time.Second)
	h.stop(l, long)
	sent, missing, err := b.Settle(l, s)
	if err != nil {
		return err
	}
	l.Figure("packets of live calls that were lost", fmt.Sprintf("%d of %d", missing, sent), "0", missing == 0 && sent > 0)
	st, err := foe.Status(s)
	if err != nil {
		return err
	}
	n := int(st.Refusals["flood-invite"])
	l.Figure("INVITEs of the floods that got 503", fmt.Sprintf("%d of %d", n, 2*l.Rounds), "most", n > l.Rounds/4)
	l.Count("live calls that ended otherwise than by their BYE", b.End(l), 0)
	if !long {
		return nil
	}
	err = l.Await("all calls of the flood are gone", 90*time.Second, func() bool {
		st, err := foe.Status(s)
		return err == nil && len(st.Calls)+st.Discarded == 0
	})
	l.AtMost("back as before", time.Since(over), time.Minute)
	return err
}

// floods are both, beside an honest client, which goes on.
func floods(l *rig.Lab, s *rig.Server) (*honest, error) {
	before, err := s.Usage()
	if err != nil {
		return nil, err
	}
	h := newHonest(l, s)
	peak := watch(l, s)
	one, err := burst(l, s, l.Rounds, func(int) string { return "127.0.0.66:0" })
	if err != nil {
		return nil, err
	}
	many, err := burst(l, s, l.Rounds, func(i int) string { return foe.Source(i) + ":0" })
	l.Logf("floods of %d INVITEs took %v and %v", l.Rounds, one, many)
	rss := peak() - before.RSS
	l.Figure("memory", "+"+foe.MiB(rss), "≤ +64 MiB", rss <= 64<<20)
	return h, err
}

// burst sends n INVITEs, evenly over two seconds, with no ACK for any.
func burst(l *rig.Lab, s *rig.Server, n int, from func(int) string) (time.Duration, error) {
	began := time.Now()
	var p *foe.Peer
	var err error
	last := ""
	for i := range n {
		if at := from(i); at != last {
			if p != nil {
				p.Close()
			}
			if p, err = foe.Dial("udp", at, s.UDP, nil); err != nil {
				return 0, err
			}
			last = at
		}
		_ = p.Send(p.Invite("", nil)) // an ICMP error of before is no news
		due := time.Duration(i) * 2 * time.Second / time.Duration(n)
		if ahead := due - time.Since(began); ahead > 2*time.Millisecond {
			foe.Wait(l, ahead)
		}
	}
	p.Close()
	return time.Since(began), nil
}

// watch looks at the server's memory until it is asked for the most.
func watch(l *rig.Lab, s *rig.Server) func() int64 {
	quit, most := make(chan struct{}), make(chan int64)
	go func() {
		var top int64
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if u, err := s.Usage(); err == nil {
					top = max(top, u.RSS)
				}
			case most <- top:
				return
			case <-quit:
				return
			}
		}
	}()
	l.Cleanup(func() { close(quit) })
	return func() int64 { return <-most }
}

// honest is a client that places a call every now and then.
type honest struct {
	quit, done chan struct{}
	setup      []time.Duration
	refused    int
	why        error // of the latest refusal
}

func newHonest(l *rig.Lab, s *rig.Server) *honest {
	h := &honest{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(h.done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			h.once(l, s)
			select {
			case <-tick.C:
			case <-h.quit:
				return
			case <-l.Done():
				return
			}
		}
	}()
	return h
}

func (h *honest) once(l *rig.Lab, s *rig.Server) {
	c, err := siprectest.Dial(l, "udp://"+s.UDP, nil)
	if err != nil {
		h.refused++
		return
	}
	defer c.Close()
	began := time.Now()
	call, err := c.Invite(l, siprectest.Options{Duration: time.Second, Faults: siprectest.Faults{NoMedia: true}})
	if err != nil {
		h.why = err
		h.refused++
		return
	}
	h.setup = append(h.setup, time.Since(began))
	_ = call.Bye(l)
}

// stop ends the client and tells how it fared. The short form runs on a machine
// that is busy with other tests, and may be full.
func (h *honest) stop(l *rig.Lab, strict bool) {
	close(h.quit)
	<-h.done
	if h.why != nil {
		l.Logf("%d honest calls were refused, the latest with: %v", h.refused, h.why)
	}
	goal := 20 * time.Second
	if strict {
		l.Count("honest calls that were refused", h.refused, 0)
		goal = 500 * time.Millisecond
	}
	if len(h.setup) == 0 {
		l.Count("honest calls that were answered", 0, 1)
		return
	}
	slices.Sort(h.setup)
	l.AtMost(fmt.Sprintf("an honest call is answered, p99 of %d", len(h.setup)), h.setup[len(h.setup)*99/100], goal)
}
