package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"siprecd/media/ogg"
)

// fileSink muxes what it is given, as a recording would be.
type fileSink struct {
	buf     bytes.Buffer
	w       *ogg.Writer
	packets int
}

func newFileSink(t *testing.T, channels, rate int) *fileSink {
	t.Helper()
	s := &fileSink{}
	w, err := ogg.NewWriter(&s.buf, ogg.Head{Channels: channels, PreSkip: PreSkip, InputRate: rate}, 1, ogg.Tags{Vendor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	s.w = w
	return s
}

func (s *fileSink) WritePackets(packets [][]byte) {
	for _, p := range packets {
		s.packets++
		if err := s.w.WritePacket(p, FrameSamples); err != nil {
			panic(err)
		}
	}
}

// decode closes the file and has ffmpeg decode it, at the given rate.
func (s *fileSink) decode(t *testing.T, total int64, channels, rate int) [][]int16 {
	t.Helper()
	if err := s.w.Close(total); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "call.opus")
	if err := os.WriteFile(file, s.buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ffmpeg", "-v", "error", "-c:a", "libopus", "-i", file,
		"-f", "s16le", "-ar", itoa(rate), "-").Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v", err)
	}
	pcm := make([][]int16, channels)
	for i := 0; i+2*channels <= len(out); i += 2 * channels {
		for c := range pcm {
			pcm[c] = append(pcm[c], int16(binary.LittleEndian.Uint16(out[i+2*c:])))
		}
	}
	return pcm
}

func itoa(n int) string {
	b := []byte{}
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

// goertzel is the amplitude of one frequency.
func goertzel(pcm []int16, hz float64, rate int) float64 {
	re, im := 0.0, 0.0
	for i, v := range pcm {
		s, c := math.Sincos(2 * math.Pi * hz * float64(i) / float64(rate))
		re += float64(v) * c
		im += float64(v) * s
	}
	return 2 * math.Hypot(re, im) / float64(len(pcm))
}

func decibel(a, b float64) float64 { return 20 * math.Log10(a/b) }

func testEngine(t *testing.T) *Engine {
	t.Helper()
	e, err := Open(Config{Address: netip.MustParseAddr("127.0.0.1"), PortMin: 42000, PortMax: 42199, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// sender is one party's sender.
type sender struct {
	conn *net.UDPConn
	pcm  []byte
	seq  uint16
	ts   uint32
	ssrc uint32
	drop func(n int) bool
	dup  func(n int) bool
	swap func(n int) bool // send after the next one
	held []byte

	before, after time.Time // the sending of packet 0
}

func newLeg(t *testing.T, port int, pcm []int16) *sender {
	t.Helper()
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	never := func(int) bool { return false }
	return &sender{conn: conn, pcm: encodeA(pcm), seq: 65530, ts: 0xffffff00, ssrc: 7, drop: never, dup: never, swap: never}
}

// packet sends packet n of 20 ms.
func (l *sender) packet(t *testing.T, n int) {
	p := rtpBytes(8, l.seq+uint16(n), l.ts+uint32(n*160), l.ssrc, l.pcm[n*160:(n+1)*160])
	out := [][]byte{p}
	switch {
	case l.drop(n):
		out = nil
	case l.dup(n):
		out = [][]byte{p, p}
	case l.swap(n):
		l.held = p
		return
	}
	if l.held != nil {
		out = append(out, l.held)
		l.held = nil
	}
	if n == 0 {
		l.before = time.Now()
		defer func() { l.after = time.Now() }()
	}
	for _, b := range out {
		if _, err := l.conn.Write(b); err != nil {
			t.Errorf("send: %v", err)
		}
	}
}

// play sends all legs in real time and returns how late it was with a packet at
// most: half the depth and more is no longer for the engine to make up for.
func play(t *testing.T, packets int, legs ...*sender) (late time.Duration) {
	t.Helper()
	began := time.Now()
	start := began
	for n := range packets {
		for _, l := range legs {
			l.packet(t, n)
		}
		late = max(late, time.Since(began)-at(n))
		if n == 0 {
			start = time.Now() // then no packet is early against the first
		}
		waitUntil(t, start.Add(at(n+1)))
	}
	return late
}

// onTime runs a call anew while its sender was late itself, as on a busy
// machine, and says whether the last one was sent in time: if not even that was,
// only what was received can be judged, not when.
func onTime(t *testing.T, run func() (late time.Duration)) bool {
	t.Helper()
	for range 5 {
		late := run()
		if late <= DefaultDepth/2 {
			return true
		}
		t.Logf("the sender was %v late", late)
	}
	return false
}

// waitUntil returns at an instant.
func waitUntil(t *testing.T, at time.Time) {
	t.Helper()
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	<-timer.C
}

// overSockets is a call of two parties. a swaps and repeats packets, two of b's
// are lost.
func overSockets(t *testing.T, e *Engine, packets int) (sink *fileSink, sum Summary, took, late time.Duration) {
	t.Helper()
	sink = newFileSink(t, 2, 8000)
	start := time.Now()
	c, err := e.NewCall(CallConfig{Start: start, Layout: Stereo, Rate: 8000, Complexity: 5, Sink: sink})
	if err != nil {
		t.Fatal(err)
	}
	source := netip.MustParseAddrPort("127.0.0.1:5004")
	left, err := c.Add(StreamConfig{Name: "1", Side: Left, Codecs: g711Set, Source: source})
	if err != nil {
		t.Fatal(err)
	}
	right, err := c.Add(StreamConfig{Name: "2", Side: Right, Codecs: g711Set, Source: source})
	if err != nil {
		t.Fatal(err)
	}
	a := newLeg(t, left.Port(), tone(440, 8000, packets*160))
	b := newLeg(t, right.Port(), tone(1000, 8000, packets*160))
	a.swap = func(n int) bool { return n%10 == 5 }
	a.dup = func(n int) bool { return n%10 == 2 }
	b.drop = func(n int) bool { return n == 60 || n == 61 }
	late = play(t, packets, a, b)
	end := time.Now()
	return sink, c.Finish(end), end.Sub(start), late
}

func TestCallOverSockets(t *testing.T) {
	e := testEngine(t)
	const packets = 150
	var sink *fileSink
	var sum Summary
	var took time.Duration
	exact := onTime(t, func() (late time.Duration) {
		sink, sum, took, late = overSockets(t, e, packets)
		return late
	})
	pcm := sink.decode(t, sum.Samples, 2, 48000)
	tolerance := 0.04
	if !exact {
		tolerance = 0.1 // audio that came late may reach beyond the end
	}
	if got, want := float64(len(pcm[0]))/48000, took.Seconds(); math.Abs(got-want) > tolerance {
		t.Errorf("decoded length %.3f s, call lasted %.3f s", got, want)
	}
	if int64(len(pcm[0])) != sum.Samples {
		t.Errorf("decoded %d samples, summary says %d", len(pcm[0]), sum.Samples)
	}
	s0, s1 := sum.Streams[0], sum.Streams[1]
	if s0.Packets+s0.Late+s0.Duplicate != packets+15 || s1.Packets+s1.Late != packets-2 {
		t.Errorf("not all that was sent is counted: %+v, %+v", s0, s1)
	}
	if !exact {
		return
	}
	mid := func(ch int) []int16 { return pcm[ch][24000:48000] }
	for _, c := range []struct {
		side     int
		own, not float64
	}{{0, 440, 1000}, {1, 1000, 440}} {
		if d := decibel(goertzel(mid(c.side), c.own, 48000), 8000); math.Abs(d) > 1 {
			t.Errorf("side %d: %v Hz is %.2f dB off", c.side, c.own, d)
		}
		if d := decibel(goertzel(mid(c.side), c.not, 48000), 8000); d > -25 {
			t.Errorf("side %d: %v Hz leaks at %.1f dB", c.side, c.not, d)
		}
	}
	if s0.Duplicate != 15 || s0.Reordered != 15 || s0.Lost != 0 || s0.Late != 0 {
		t.Errorf("left: %+v", s0)
	}
	if s1.Lost != 2 {
		t.Errorf("right: %+v", s1)
	}
	if len(sum.Gaps) != 1 || sum.Gaps[0].Reason != "loss" || sum.Gaps[0].Packets != 2 || sum.Gaps[0].To-sum.Gaps[0].From != 40*time.Millisecond {
		t.Errorf("gaps: %+v", sum.Gaps)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := Config{Address: netip.MustParseAddr("127.0.0.1"), PortMin: 11300, PortMax: 11309}
	for name, change := range map[string]func(*Config){
		"no address":     func(c *Config) { c.Address = netip.Addr{} },
		"foreign":        func(c *Config) { c.Address = netip.MustParseAddr("192.0.2.1") },
		"ports reversed": func(c *Config) { c.PortMin, c.PortMax = c.PortMax, c.PortMin },
		"port too high":  func(c *Config) { c.PortMax = 70000 },
		"one port":       func(c *Config) { c.PortMax = c.PortMin + 1 },
		"slow":           func(c *Config) { c.Depth = 500 * time.Millisecond },
		"odd batch":      func(c *Config) { c.Batch = 250 * time.Millisecond },
		"negative":       func(c *Config) { c.Workers = -1 },
	} {
		c := good
		change(&c)
		if e, err := Open(c); err == nil {
			e.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

// countSink counts packets.
type countSink struct{ n atomic.Int64 }

func (s *countSink) WritePackets(p [][]byte) { s.n.Add(int64(len(p))) }

func TestPortsAndLifeCycle(t *testing.T) {
	// A block below the system's own range, so that nobody else is given one of it.
	busy, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 11304})
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	e, err := Open(Config{Address: netip.MustParseAddr("127.0.0.1"), PortMin: 11301, PortMax: 11309, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	sink := &countSink{}
	call := CallConfig{Start: time.Now(), Layout: Mono, Rate: 8000, Sink: sink}
	c, err := e.NewCall(call)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{e.DiscardPort(): true}
	var streams []*Stream
	for range 2 { // 11302 to 11308 are four, one is the discard port, one is somebody else's
		s, err := c.Add(mono())
		if err != nil {
			t.Fatal(err)
		}
		if p := s.Port(); seen[p] || p%2 != 0 || p == 11304 || p < 11301 || p > 11309 {
			t.Errorf("port %d", p)
		}
		seen[s.Port()] = true
		streams = append(streams, s)
	}
	if _, err := c.Add(mono()); !errors.Is(err, ErrNoPorts) {
		t.Errorf("no port left: %v", err)
	}
	if l := e.Load(); l.Calls != 1 || l.Streams != 2 || l.PortsUsed != 3 || l.PortsTotal != 4 {
		t.Errorf("%+v", l)
	}
	streams[0].Remove()
	streams[0].Remove()
	again, err := c.Add(mono())
	if err != nil || again.Port() != streams[0].Port() {
		t.Errorf("after Remove: %v", err)
	}
	if n := len(c.Stats()); n != 3 {
		t.Errorf("%d streams in the counts", n)
	}
	first := c.Finish(time.Now())
	if second := c.Finish(time.Now().Add(time.Hour)); second.Samples != first.Samples || len(first.Streams) != 3 {
		t.Errorf("%+v, again %+v", first, second)
	}
	again.Update(mono())
	again.Remove()
	if _, err := c.Add(mono()); !errors.Is(err, ErrClosed) {
		t.Errorf("add after finish: %v", err)
	}
	if l := e.Load(); l.Calls != 0 || l.Streams != 0 || l.PortsUsed != 1 {
		t.Errorf("%+v", l)
	}
	left, err := e.NewCall(call)
	if err != nil {
		t.Fatal(err)
	}
	before := sink.n.Load()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if sum := left.Finish(time.Now()); sum.Samples == 0 || sink.n.Load() == before {
		t.Errorf("Close lost a call: %+v", sum)
	}
	if _, err := e.NewCall(call); !errors.Is(err, ErrClosed) {
		t.Errorf("call after close: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// stallSink holds its worker up once.
type stallSink struct {
	countSink
	stall <-chan time.Time
}

func (s *stallSink) WritePackets(p [][]byte) {
	s.countSink.WritePackets(p)
	<-s.stall
}

// A worker that is held up for most of a second is late, but loses nothing.
func TestStalledWorkerLosesNothing(t *testing.T) {
	e := testEngine(t)
	const packets = 120
	var sink *stallSink
	var sum Summary
	exact := onTime(t, func() (late time.Duration) {
		sink, sum, late = stalled(t, e, packets)
		return late
	})
	if st := sum.Streams[0]; st.Packets+st.Late != packets || st.Overflow != 0 || exact && st.Late+st.Lost != 0 {
		t.Errorf("%+v", st)
	}
	if want := (sum.Samples + PreSkip + FrameSamples - 1) / FrameSamples; sink.n.Load() != want {
		t.Errorf("%d packets, want %d", sink.n.Load(), want)
	}
}

// stalled is a call whose worker is held up at its first batch.
func stalled(t *testing.T, e *Engine, packets int) (sink *stallSink, sum Summary, late time.Duration) {
	t.Helper()
	timer := make(chan time.Time)
	sink = &stallSink{stall: timer}
	c, err := e.NewCall(CallConfig{Start: time.Now(), Layout: Stereo, Rate: 8000, Sink: sink})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Add(mono())
	if err != nil {
		t.Fatal(err)
	}
	release := time.AfterFunc(1200*time.Millisecond, func() { close(timer) })
	defer release.Stop()
	late = play(t, packets, newLeg(t, s.Port(), tone(440, 8000, packets*frame20)))
	return sink, c.Finish(time.Now()), late
}

// TestFewCallsAreOneWorkers places calls until each worker has as many as pay
// for its sweeps, and some: then it is the number that counts.
func TestFewCallsAreOneWorkers(t *testing.T) {
	e, err := Open(Config{Address: netip.MustParseAddr("127.0.0.1"), PortMin: 11310, PortMax: 11319, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3*few + 1 {
		if _, err := e.NewCall(CallConfig{Start: time.Now(), Layout: Mono, Rate: 8000, Sink: newFileSink(t, 1, 8000)}); err != nil {
			t.Fatal(err)
		}
		a, b := e.workers[0].load.Load(), e.workers[1].load.Load()
		if first, second := min(n+1, few), max(0, n+1-few); n < 2*few && (a != int64(first) || b != int64(second)) || a+b != int64(n+1) || n >= 2*few && a-b > 1 {
			t.Fatalf("%d calls: %d and %d", n+1, a, b)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
