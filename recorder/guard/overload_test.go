package guard

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"siprecd/media"
)

// slow stands in for a slow machine: a batch takes the worker time, and less of
// it at a lower complexity.
type slow struct{ g *Guard }

func (s slow) WritePackets(packets [][]byte) {
	d := time.Duration(float64(len(packets))*relative(s.g.State().Complexity)*600) * time.Microsecond
	for began := time.Now(); time.Since(began) < d; {
	}
}

// caller sends the two streams of one call.
type caller struct {
	call  *media.Call
	ports [2]netip.AddrPort
	sent  uint64 // packets a stream
}

// senders sends every call's packets, one every 20 ms, until ctx ends. stall is
// the longest time for which it did not get to it.
type senders struct {
	mu    sync.Mutex
	conn  *net.UDPConn
	list  []*caller
	stall time.Duration
}

func (s *senders) run(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := time.Now()
	for owed := 0.0; ; {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			gap := time.Since(last)
			owed += gap.Seconds() * 50
			last = last.Add(gap)
			s.mu.Lock()
			s.stall = max(s.stall, gap, time.Since(now))
			for ; owed >= 1; owed-- {
				for _, c := range s.list {
					s.send(c)
				}
			}
			s.mu.Unlock()
		}
	}
}

func (s *senders) send(c *caller) {
	n := c.sent
	p := make([]byte, 172)
	p[0], p[1], p[2], p[3] = 0x80, 8, byte(n>>8), byte(n)
	ts := uint32(n * 160)
	p[4], p[5], p[6], p[7] = byte(ts>>24), byte(ts>>16), byte(ts>>8), byte(ts)
	for i := range p[12:] {
		p[12+i] = byte(n) ^ byte(i*7)
	}
	for _, to := range c.ports {
		if _, err := s.conn.WriteToUDPAddrPort(p, to); err != nil {
			return // told by the counts
		}
	}
	c.sent++
}

// begin starts a call.
func (s *senders) begin(t *testing.T, e *media.Engine, sink media.Sink) {
	t.Helper()
	call, err := e.NewCall(media.CallConfig{Start: time.Now(), Layout: media.Stereo, Rate: 8000, Complexity: 5, Sink: sink})
	if err != nil {
		t.Fatal(err)
	}
	c := &caller{call: call}
	codecs := map[uint8]media.Codec{8: {Encoding: "PCMA", Clock: 8000, Channels: 1}}
	for i, side := range []media.Side{media.Left, media.Right} {
		st, err := call.Add(media.StreamConfig{Name: "x", Side: side, Codecs: codecs, Source: s.conn.LocalAddr().(*net.UDPAddr).AddrPort()})
		if err != nil {
			t.Fatal(err)
		}
		c.ports[i] = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(st.Port()))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, c)
}

// A machine is offered more than twice what it holds, 20 calls a second: what
// does not fit is refused, and of what is taken nothing is lost.
func TestTwiceWhatTheMachineHolds(t *testing.T) {
	e, err := media.Open(media.Config{Address: netip.MustParseAddr("127.0.0.1"), PortMin: 52000, PortMax: 52999, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	g, s := New(5), &senders{conn: conn}
	wg.Go(func() { g.Run(ctx, e, slog.New(slog.DiscardHandler)) })
	sending, stop := context.WithCancel(ctx)
	var sent sync.WaitGroup
	sent.Go(func() { s.run(sending) })

	const offered = 60 // of a machine that holds some 14 at complexity 5, and twice that at 0
	refused, worst := 0, time.Duration(0)
	began, cpu := time.Now(), used()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n := range offered + 60 {
		<-tick.C
		worst = max(worst, e.Load().Late)
		if n >= offered {
			continue // those that were taken go on for three seconds
		}
		if g.Enter(e.Load().Calls) != nil {
			refused++
			continue
		}
		s.begin(t, e, slow{g})
		g.Leave()
	}
	share := float64(used()-cpu) / float64(time.Since(began)) // of one processor
	stop()
	sent.Wait()
	st := g.State()
	lost := 0
	for _, c := range s.list {
		for _, sum := range c.call.Finish(time.Now()).Streams {
			if got := sum.Packets + sum.Late; got != c.sent || sum.Overflow != 0 || sum.Late != 0 && s.stall < 150*time.Millisecond {
				lost++
				t.Errorf("%d sent, %d recorded, %d late, %d lost, %d dropped by the kernel", c.sent, sum.Packets, sum.Late, sum.Lost, sum.Overflow)
			}
		}
	}
	cancel()
	wg.Wait()
	t.Logf("%d offered, %d taken, %d refused; at most %v late; complexity %d, %d steps down; sender stalled for %v; %.2f of a processor",
		offered, len(s.list), refused, worst, st.Complexity, st.Down, s.stall, share)
	if len(s.list) < 5 {
		t.Errorf("%d taken", len(s.list))
	}
	// Where others have the machine, little of the work gets done, and so there
	// may be nothing to refuse.
	if share > 0.5 && (refused < offered/4 || st.Complexity != 0 || st.Down == 0) {
		t.Errorf("%d refused, and the complexity was not stepped down as it must be: %+v", refused, st)
	}
	if worst > 8*time.Second {
		t.Errorf("%v late: the sockets were about to overflow", worst)
	}
}
