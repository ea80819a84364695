package capture

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"siprecd/cmd/torture/calls"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
)

//go:embed counted.xml
var scenario []byte

// Of row B1: SIPp signals, we send the media that its log asks for.
const (
	sippRounds = 10000
	sippRate   = 20
	sippLength = 2500 * time.Millisecond // from ACK to BYE
	sippMedia  = 2 * time.Second
	hurtEvery  = 10 // each so manieth call loses packets on purpose
	unknown    = 5  // packets a leg that the control call never sends, at its end
	within     = 40 * time.Millisecond
	spare      = 100 * time.Millisecond // between the last packet and BYE, at least
	someFailed = 1                      // SIPp's exit code when a call failed: the figures tell
)

// counted is row B1.
func counted(l *rig.Lab) error {
	s, err := started(l)
	if err != nil {
		return err
	}
	calls, refused, err := signalled(l, s, l.Rounds)
	if err != nil {
		return err
	}
	if brief(l, sippRounds) { // the machine has other things to do, and the recorder says so
		calls = slices.DeleteFunc(calls, func(c *offered) bool { return c.length == 0 })
		l.Logf("%d calls were refused", refused)
	}
	rows, err := s.Finished(len(calls), time.Minute)
	if err != nil {
		l.Logf("%v", err)
	}
	missing, extra := tally(calls, rows)
	l.Figure("recorded of offered", fmt.Sprintf("%d of %d", len(calls)-len(missing), len(calls)), "all", len(calls) > 0 && len(missing)+extra == 0)
	if err := packetsAndLengths(l, s, calls, rows); err != nil {
		return err
	}
	return unanswered(l, s, calls)
}

// offered is one call as it was placed.
type offered struct {
	number int
	fate   [2]fate
	length time.Duration // between ACK and BYE, by SIPp's clock
	bye    time.Duration // when it was ended, by SIPp's clock
	done   time.Duration // when its last packet had been sent, by ours
	late   bool          // that was too close to the BYE: the machine was busy
}

func name(number int) string { return fmt.Sprintf("caller-%d", number) }

// signalled lets SIPp place n calls and sends their media. The media of all
// calls leaves from two sockets, as an SBC's may. A call that did not come up
// has no length.
func signalled(l *rig.Lab, s *rig.Server, n int) (calls []*offered, refused int, err error) {
	file, log := filepath.Join(l.Dir, "counted.xml"), filepath.Join(l.Dir, "calls.log")
	if err := os.WriteFile(file, scenario, 0o600); err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithCancel(l)
	defer cancel()
	limit := time.Duration(n)*time.Second/sippRate + sippLength + 40*time.Second
	cmd := exec.CommandContext(ctx, "sipp", s.UDP, "-sf", file, "-t", "u1", "-i", "127.0.0.1",
		"-p", strconv.Itoa(s.Spare(0)), "-mp", strconv.Itoa(s.Spare(1)), "-m", strconv.Itoa(n), "-r", strconv.Itoa(sippRate), "-l", "1000",
		"-d", strconv.FormatInt(sippLength.Milliseconds(), 10), "-timeout", fmt.Sprintf("%.0fs", limit.Seconds()), "-timeout_error",
		"-nostdin", "-trace_logs", "-log_file", log, "-trace_err", "-error_file", filepath.Join(l.Dir, "sipp-errors.log"))
	cmd.Env = append(os.Environ(), "TERM=dumb")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &out, l.Dir
	m := &media{calls: make(map[int]*offered), last: n}
	if err := m.open(); err != nil {
		return nil, 0, err
	}
	defer m.close()
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	err = m.follow(l, log, ended)
	m.all.Wait()
	if l.Err() != nil || err != nil && cmd.ProcessState.ExitCode() != someFailed {
		b, _ := os.ReadFile(filepath.Join(l.Dir, "sipp-errors.log"))
		return nil, 0, fmt.Errorf("sipp: %w: %s", errors.Join(err, context.Cause(l)), b[:min(len(b), 2000)])
	}
	if err := errors.Join(m.failed...); err != nil {
		return nil, 0, fmt.Errorf("send media: %w", err)
	}
	calls = make([]*offered, n)
	for i := range calls {
		if calls[i] = m.calls[i+1]; calls[i] == nil {
			calls[i] = &offered{number: i + 1}
			refused++
		}
		calls[i].late = calls[i].done+spare > calls[i].bye+m.ahead
	}
	return calls, refused, nil
}

// media sends the streams of calls that SIPp tells of.
type media struct {
	conns [2]*net.UDPConn
	calls map[int]*offered // by number
	last  int              // the number of the control call
	up    map[int]int      // when a call was up, SIPp's clock in ms
	began time.Time
	ahead time.Duration // our clock before SIPp's: the least that a line of the log seemed to take
	all   sync.WaitGroup

	mu     sync.Mutex
	failed []error
}

func (m *media) open() error {
	m.up, m.began, m.ahead = make(map[int]int), time.Now(), time.Hour
	for i := range m.conns {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		m.conns[i] = conn
	}
	return nil
}

func (m *media) close() {
	for _, c := range m.conns {
		c.Close()
	}
}

// follow reads SIPp's log as it grows, until SIPp has ended.
func (m *media) follow(l *rig.Lab, path string, ended <-chan error) error {
	var rest string
	var at int64
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	told := time.Now()
	var failed error
	for over := false; ; {
		if b := grown(path, at); len(b) > 0 {
			at += int64(len(b))
			lines := strings.Split(rest+string(b), "\n")
			rest = lines[len(lines)-1]
			for _, line := range lines[:len(lines)-1] {
				if err := m.line(l, line); err != nil {
					return err
				}
			}
		} else if over {
			return failed
		}
		if time.Since(told) > 30*time.Second {
			told = time.Now()
			l.Logf("%d calls so far", len(m.calls))
		}
		if over {
			continue
		}
		select {
		case err := <-ended:
			if err != nil {
				failed = err // its log is read to the end all the same
			}
			over = true
		case <-tick.C:
		}
	}
}

// grown is what a file has beyond a place; nothing while it does not exist.
func grown(path string, at int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	buf := make([]byte, 64<<10)
	n, _ := f.ReadAt(buf, at)
	return buf[:n]
}

// line takes one line of the log: UP or BYE, call, two ports, clock.
func (m *media) line(ctx context.Context, line string) error {
	var word string
	var number, first, second, clock int
	if _, err := fmt.Sscan(line, &word, &number, &first, &second, &clock); err != nil {
		return fmt.Errorf("sipp's log: %w in %q", err, line)
	}
	m.ahead = min(m.ahead, time.Since(m.began)-time.Duration(clock)*time.Millisecond)
	if word == "BYE" {
		if c := m.calls[number]; c != nil {
			c.bye = time.Duration(clock) * time.Millisecond
			c.length = time.Duration(clock-m.up[number]) * time.Millisecond
		}
		return nil
	}
	c := &offered{number: number}
	for leg := range c.fate {
		sh := shape{pcm: speech(leg, sippMedia), ptime: ptime, seed: uint64(number)<<1 | uint64(leg), ssrc: uint32(number)<<1 | uint32(leg)}
		sh.sequence, sh.stamp = uint16(number*7), uint32(number*1000)
		if number%hurtEvery == 0 {
			sh.loss = 0.2
		}
		c.fate[leg] = sh.plan()
		if number == m.last {
			c.fate[leg].packets = c.fate[leg].packets[:len(c.fate[leg].packets)-unknown]
		}
	}
	m.calls[number], m.up[number] = c, clock
	ports := [2]int{first, second}
	m.all.Go(func() {
		err := play(ctx, c.fate[:], func(leg int, raw []byte) error {
			_, err := m.conns[leg].WriteToUDP(raw, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: ports[leg]})
			return err
		})
		c.done = time.Since(m.began)
		if err != nil {
			m.mu.Lock()
			m.failed = append(m.failed, err)
			m.mu.Unlock()
		}
	})
	return nil
}

// unanswered is the control of the count: calls that nobody answers must be
// missed.
func unanswered(l *rig.Lab, s *rig.Server, placed []*offered) error {
	s.Stop(15)
	const more = 3
	for i := range more {
		number := l.Rounds + 1 + i
		_, err := siprectest.Run(l, siprectest.Options{Target: "udp://" + s.UDP, From: name(number), Legs: calls.Tones(), Duration: 100 * time.Millisecond, Timeout: 300 * time.Millisecond})
		if err != nil {
			return err
		}
		placed = append(placed, &offered{number: number})
	}
	rows, err := s.List("--state", "finished")
	if err != nil {
		return err
	}
	missing, _ := tally(placed, rows)
	caught := 0
	for _, number := range missing {
		if number > l.Rounds {
			caught++
		}
	}
	l.Control("calls that nobody answered are missed", caught, more)
	return nil
}
