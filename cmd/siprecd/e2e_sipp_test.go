package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"siprecd/cmd/siprecd/app"
	"siprecd/store"
)

// sippCalls lets SIPp place calls of the given length and checks its verdict.
// ffmpeg sends both legs' media from the ACK on. The result is how long each
// call was by SIPp's own log, from ACK to BYE, in the order of the calls.
func sippCalls(t *testing.T, s *server, transport string, calls int, length time.Duration) []time.Duration {
	t.Helper()
	scenario, err := filepath.Abs("../../testdata/sipp/siprec-uac.xml")
	if err != nil {
		t.Fatal(err)
	}
	legs := filepath.Join(filepath.Dir(scenario), "legs.sh")
	seconds := fmt.Sprintf("%.2f", length.Seconds()-0.5) // ends before the BYE
	dir := t.TempDir()
	cmd := exec.Command("sipp", s.udp, "-sf", scenario, "-t", transport, "-i", "127.0.0.1", "-p", freePort(t),
		"-m", fmt.Sprint(calls), "-r", "5", "-d", fmt.Sprint(length.Milliseconds()),
		"-mp", freePort(t), "-timeout", "120s", "-timeout_error", "-nostdin", "-trace_err", "-trace_msg",
		"-key", "from", "02079460123", "-key", "to", "02088257050",
		"-key", "legs", legs+" "+seconds+" pcm_alaw 8")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TERM=dumb")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		logs, _ := filepath.Glob(filepath.Join(dir, "*errors.log"))
		for _, l := range logs {
			b, _ := os.ReadFile(l)
			out.Write(b)
		}
		t.Fatalf("sipp: %v\n%s", err, &out)
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "*messages.log"))
	if len(logs) != 1 {
		t.Fatalf("sipp left %d message logs", len(logs))
	}
	return callLengths(t, logs[0], calls)
}

// sippMessage is the head of one message in SIPp's log: when, and which.
var sippMessage = regexp.MustCompile(`-{20,} (\S+ \S+)\n\w+ message sent[^\n]*\n\n(ACK|BYE) (?s:.*?)Call-ID: (\S+)`)

// callLengths reads each call's ACK and BYE from SIPp's log.
func callLengths(t *testing.T, log string, calls int) []time.Duration {
	t.Helper()
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	acks := map[string]time.Time{}
	var lengths []time.Duration
	for _, m := range sippMessage.FindAllStringSubmatch(strings.ReplaceAll(string(b), "\r", ""), -1) {
		at, err := time.Parse("2006-01-02 15:04:05.000000", m[1])
		if err != nil {
			t.Fatalf("sipp's log: %v", err)
		}
		switch first, ok := acks[m[3]]; {
		case m[2] == "ACK" && !ok:
			acks[m[3]] = at
		case m[2] == "BYE" && ok:
			lengths = append(lengths, at.Sub(first))
			delete(acks, m[3])
		}
	}
	if len(lengths) != calls {
		t.Fatalf("sipp's log tells the length of %d calls, want %d", len(lengths), calls)
	}
	return lengths
}

// decoded is a recording as ffmpeg hears it: one slice a channel, 48 kHz.
func decoded(t *testing.T, path string, channels int) [][]int16 {
	t.Helper()
	raw := tool(t, "ffmpeg", "-loglevel", "error", "-xerror", "-i", path, "-f", "s16le", "-ar", "48000", "-ac", fmt.Sprint(channels), "-")
	pcm := make([][]int16, channels)
	for i := 0; i+2*channels <= len(raw); i += 2 * channels {
		for c := range pcm {
			pcm[c] = append(pcm[c], int16(binary.LittleEndian.Uint16(raw[i+2*c:])))
		}
	}
	return pcm
}

// toneLevel is the level of a tone from a sender that was late at most so much.
// One that stalls leaves gaps and jumps, over which the sum of the whole may
// cancel itself out: then the pieces are judged, by the one at share.
func toneLevel(pcm []int16, hz float64, late time.Duration, share float64) float64 {
	if late <= 100*time.Millisecond {
		return app.ToneLevel(pcm, hz)
	}
	var levels []float64
	for piece := range slices.Chunk(pcm[len(pcm)/4:len(pcm)*3/4], 9600) {
		levels = append(levels, app.ToneLevel(piece, hz))
	}
	slices.Sort(levels)
	if len(levels) == 0 {
		return math.Inf(-1)
	}
	return levels[int(share*float64(len(levels)))]
}

// wantTones checks that the caller's tone is left and ours right, each at the
// level sent and not in the other channel, while both are sent.
func wantTones(t *testing.T, path string, peak float64, late time.Duration) {
	t.Helper()
	pcm := decoded(t, path, 2)
	rms := peak - 20*math.Log10(math.Sqrt2)
	for _, c := range []struct {
		name        string
		pcm         []int16
		ours, other float64
	}{{"left", pcm[0], 440, 1000}, {"right", pcm[1], 1000, 440}} {
		if got := toneLevel(c.pcm, c.ours, late, 0.75); math.Abs(got-rms) > 1 {
			t.Errorf("%s channel: %.0f Hz at %.2f dBFS, sent at %.2f", c.name, c.ours, got, rms)
		}
		if got := toneLevel(c.pcm, c.other, late, 0.25); got > rms-30 {
			t.Errorf("%s channel: the other party's %.0f Hz at %.2f dBFS", c.name, c.other, got)
		}
	}
}

// lengthOf is a recording's length by an outsider's reckoning.
func lengthOf(t *testing.T, path string) time.Duration {
	t.Helper()
	return time.Duration(len(decoded(t, path, 1)[0])) * time.Second / 48000
}

// wantLength checks it.
func wantLength(t *testing.T, path string, want, tolerance time.Duration) {
	t.Helper()
	if got := lengthOf(t, path); (got - want).Abs() > tolerance {
		t.Errorf("%s is %v long, the call was %v", filepath.Base(path), got, want)
	}
}

// wantCleanOgg lets opusinfo find fault.
func wantCleanOgg(t *testing.T, path string) {
	t.Helper()
	out := string(tool(t, "opusinfo", path))
	if strings.Contains(out, "WARNING") || strings.Contains(out, "ERROR") || !strings.Contains(out, "Playback length") {
		t.Errorf("opusinfo is not content:\n%s", out)
	}
}

func TestSIPpCallsAreRecorded(t *testing.T) {
	for _, c := range []struct{ name, transport string }{{"UDP", "u1"}, {"TCP", "t1"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.start()
			const length = 8 * time.Second // ffmpeg may take two to begin
			busy := lateness(t, 20*time.Millisecond, func() {})
			lengths := sippCalls(t, s, c.transport, 2, length)
			late := busy()
			rows := s.finished(2)
			slices.SortFunc(rows, func(a, b store.Row) int { return a.Ended.Compare(b.Ended) })
			for i, r := range rows {
				if r.Line != "Council tax" || r.Interrupted || r.Direction != "inbound" || len(r.Flags) > 0 {
					t.Errorf("listed as %+v", r)
				}
				// It begins before the answer and ends with BYE's arrival.
				d := time.Duration(r.Duration * float64(time.Second))
				if more := d - lengths[i]; more < -40*time.Millisecond-4*late || more > 2*time.Second {
					t.Errorf("listed with %v, the call was %v", d, lengths[i])
				}
				path := s.export(r.ID)
				wantCleanOgg(t, path)
				wantLength(t, path, d, 40*time.Millisecond)
				wantTones(t, path, -18.06, late) // lavfi's sine has a peak of 1/8
			}
		})
	}
}
