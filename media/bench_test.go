package media

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"siprecd/media/leg"
)

type nullSink struct{}

func (nullSink) WritePackets([][]byte) {}

// talk is coded audio with syllables and pauses, for two parties that take
// turns: noise through a resonance, gated.
func talk(seed uint64, seconds int) []int16 {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]int16, seconds*leg.SampleRate)
	y1, y2, gate := 0.0, 0.0, 0.0
	for i := range out {
		if i%1200 == 0 {
			gate = 0
			if uint64(i/(4*leg.SampleRate))%2 == seed%2 && r.IntN(4) > 0 {
				gate = 300 + 1500*r.Float64()
			}
		}
		x := r.NormFloat64()*gate + float64(i%80/79)*gate*8
		y := x + 1.6*y1 - 0.8*y2
		y1, y2 = y, y1
		out[i] = int16(math.Round(max(-32768, min(32767, y+r.NormFloat64()*8))))
	}
	return out
}

func BenchmarkPacket(b *testing.B) {
	tr := leg.New(mono(), leg.Place{Start: time.Unix(1e9, 0), Depth: DefaultDepth})
	audio := encodeA(talk(1, 1))
	p := rtpBytes(8, 0, 0, 1, audio[:160])
	out := make([]int16, 2400)
	n := 0
	one := func() {
		p[2], p[3] = byte(n>>8), byte(n)
		ts := uint32(n * 160)
		p[4], p[5], p[6], p[7] = byte(ts>>24), byte(ts>>16), byte(ts>>8), byte(ts)
		tr.Push(p, sbc, at(n))
		if n++; n%15 == 0 && n >= 30 {
			tr.Read(out)
		}
	}
	for range 100 {
		one()
	}
	b.ReportAllocs()
	for b.Loop() {
		one()
	}
}

// BenchmarkCallSecond is a second of a two-party call from packets to Opus;
// BenchmarkOpusSecond is what libopus alone takes for the same.
func BenchmarkCallSecond(b *testing.B) {
	k, err := newCore(CallConfig{Start: time.Unix(1e9, 0), Layout: Stereo, Rate: 8000, Complexity: 5, Sink: nullSink{}}, DefaultDepth, DefaultBatch)
	if err != nil {
		b.Fatal(err)
	}
	tracks := []*leg.Track{k.add(side(Left), leg.Place{}), k.add(side(Right), leg.Place{})}
	legs := [][]byte{encodeA(talk(1, 60)), encodeA(talk(2, 60))}
	s := newScratch(int(DefaultBatch / frameTime))
	p := rtpBytes(8, 0, 0, 1, make([]byte, 160))
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		for range 50 {
			for i, t := range tracks {
				p[2], p[3] = byte(n>>8), byte(n)
				ts := uint32(n * 160)
				p[4], p[5], p[6], p[7] = byte(ts>>24), byte(ts>>16), byte(ts>>8), byte(ts)
				copy(p[12:], legs[i][n%3000*160:])
				t.Push(p, sbc, at(n))
			}
			if n++; n%5 == 0 {
				k.advance(at(n), s)
			}
		}
	}
}

func BenchmarkOpusSecond(b *testing.B) {
	e, err := newEncoder(8000, 2, defaultBitrate, 5)
	if err != nil {
		b.Fatal(err)
	}
	pcm := interleave(talk(1, 60), talk(2, 60))
	var buf [maxPacket]byte
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		for range 50 {
			if _, err := e.encode(pcm[n%3000*320:][:320], &buf); err != nil {
				b.Fatal(err)
			}
			n++
		}
	}
}

func interleave(a, b []int16) []int16 {
	out := make([]int16, 0, 2*len(a))
	for i := range a {
		out = append(out, a[i], b[i])
	}
	return out
}

func TestNothingIsAllocatedPerPacket(t *testing.T) {
	k, err := newCore(CallConfig{Start: time.Unix(1e9, 0), Layout: Stereo, Rate: 8000, Complexity: 0, Sink: nullSink{}}, DefaultDepth, DefaultBatch)
	if err != nil {
		t.Fatal(err)
	}
	tracks := []*leg.Track{k.add(side(Left), leg.Place{}), k.add(side(Right), leg.Place{})}
	s := newScratch(int(DefaultBatch / frameTime))
	p := rtpBytes(8, 0, 0, 1, make([]byte, 160))
	n := 0
	second := func() {
		for range 50 {
			for _, tr := range tracks {
				p[2], p[3] = byte(n>>8), byte(n)
				ts := uint32(n * 160)
				p[4], p[5], p[6], p[7] = byte(ts>>24), byte(ts>>16), byte(ts>>8), byte(ts)
				tr.Push(p, sbc, at(n))
			}
			if n++; n%5 == 0 {
				k.advance(at(n), s)
			}
		}
	}
	second()
	second()
	if got := testing.AllocsPerRun(20, second); got >= 1 {
		t.Errorf("%v allocations in a call second of 100 packets", got)
	}
}

// BenchmarkLive records real calls from real sockets, sent by another process,
// and compares this process's CPU with libopus alone on the same audio. Run it
// with -bench Live -benchtime 1x; SECONDS and CALLS (a list) may be set.
func BenchmarkLive(b *testing.B) {
	seconds := envInt("SECONDS", 10)
	list := os.Getenv("CALLS")
	if list == "" {
		list = "20 100"
	}
	for _, f := range strings.Fields(list) {
		calls, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(f, func(b *testing.B) {
			for range b.N {
				live(b, calls, seconds)
			}
		})
	}
}

func envInt(name string, v int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return v
}

func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func live(b *testing.B, calls, seconds int) {
	e, err := Open(Config{Address: netip.MustParseAddr("127.0.0.1"), PortMin: 43000, PortMax: 47999})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	var list []*Call
	var ports []string
	for range calls {
		c, err := e.NewCall(CallConfig{Start: time.Now(), Layout: Stereo, Rate: 8000, Complexity: 5, Sink: nullSink{}})
		if err != nil {
			b.Fatal(err)
		}
		for _, sd := range []Side{Left, Right} {
			s, err := c.Add(side(sd))
			if err != nil {
				b.Fatal(err)
			}
			ports = append(ports, strconv.Itoa(s.Port()))
		}
		list = append(list, c)
	}
	sender := exec.Command(os.Args[0], "-test.run=TestSendForBenchmark")
	sender.Env = append(os.Environ(), "SEND_TO="+strings.Join(ports, " "), "SECONDS="+strconv.Itoa(seconds+2))
	out, err := sender.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := sender.Start(); err != nil {
		b.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.Fatal(err)
	}
	mark := func(d time.Duration) { <-time.After(d) }
	mark(time.Second)
	before := cpu()
	mark(time.Duration(seconds) * time.Second)
	used := cpu() - before
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	go io.Copy(io.Discard, out)
	if err := sender.Wait(); err != nil {
		b.Fatal(err)
	}
	mark(time.Second)
	var lost, late, packets uint64
	for _, c := range list {
		for _, s := range c.Finish(time.Now()).Streams {
			lost, late, packets = lost+s.Lost+s.Overflow, late+s.Late, packets+s.Packets
		}
	}
	alone := opusAlone(b, 4)
	each := used.Seconds() * 1000 / float64(seconds*calls)
	b.ReportMetric(each, "ms/call-s")
	b.ReportMetric(alone, "opus-ms/call-s")
	b.ReportMetric(each/alone, "ratio")
	b.ReportMetric(float64(lost), "lost")
	b.ReportMetric(float64(late), "late")
	b.ReportMetric(float64(packets)/float64(calls), "packets/call")
	b.ReportMetric(float64(mem.HeapAlloc)/1000/float64(calls), "kB/call")
	b.ReportMetric(0, "ns/op")
}

// opusAlone is the CPU that libopus takes, flat out, in ms a call second.
func opusAlone(b *testing.B, encoders int) float64 {
	pcm := interleave(talk(1, 60), talk(2, 60))
	var buf [maxPacket]byte
	best := 0.0
	for range 3 {
		before := cpu()
		for range encoders {
			e, err := newEncoder(8000, 2, defaultBitrate, 5)
			if err != nil {
				b.Fatal(err)
			}
			for n := range 3000 {
				if _, err := e.encode(pcm[n*320:][:320], &buf); err != nil {
					b.Fatal(err)
				}
			}
		}
		if ms := (cpu() - before).Seconds() * 1000 / float64(60*encoders); best == 0 || ms < best {
			best = ms
		}
	}
	return best
}

// TestSendForBenchmark is the sending process of BenchmarkLive.
func TestSendForBenchmark(t *testing.T) {
	to := strings.Fields(os.Getenv("SEND_TO"))
	if len(to) == 0 {
		t.Skip("only run by BenchmarkLive")
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var ports []netip.AddrPort
	for _, p := range to {
		ports = append(ports, netip.MustParseAddrPort("127.0.0.1:"+p))
	}
	legs := [][]byte{encodeA(talk(1, 60)), encodeA(talk(2, 60))}
	fmt.Println("sending")
	tick := time.NewTicker(2 * time.Millisecond) // a tenth of the streams at a time
	defer tick.Stop()
	for n := range envInt("SECONDS", 10) * 50 {
		for part := range 10 {
			for i := part; i < len(ports); i += 10 {
				k := (n + i*37) % 3000
				if _, err := conn.WriteToUDPAddrPort(rtpBytes(8, uint16(n), uint32(n*160), uint32(i), legs[i%2][k*160:(k+1)*160]), ports[i]); err != nil {
					t.Fatal(err)
				}
			}
			<-tick.C
		}
	}
}
