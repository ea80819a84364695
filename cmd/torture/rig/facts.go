package rig

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"siprecd/store"
)

// Finished waits until n recordings are listed as finished: a call's recording
// is so a moment after its BYE. It is an error when there are fewer by then, or
// more; the rows are given in either case.
func (s *Server) Finished(n int, limit time.Duration) ([]store.Row, error) {
	var rows []store.Row
	var failed error
	look := time.Now()
	err := s.lab.Await(fmt.Sprintf("%d recordings are finished", n), limit, func() bool {
		if time.Now().Before(look) {
			return false
		}
		began := time.Now()
		rows, failed = s.List("--state", "finished")
		look = time.Now().Add(5 * time.Since(began)) // the listing must not be the load
		return failed != nil || len(rows) >= n
	})
	switch {
	case failed != nil:
		return rows, failed
	case err != nil:
		return rows, fmt.Errorf("%w; there are %d", err, len(rows))
	case len(rows) > n:
		return rows, fmt.Errorf("%d recordings are finished, of %d", len(rows), n)
	}
	return rows, nil
}

// Idle waits until no call is being recorded and no session is up.
func (s *Server) Idle(limit time.Duration) error {
	return s.lab.Await("no session is up", limit, func() bool {
		live, err := s.Metric("srs_sessions_active")
		other, _ := s.Metric("srs_sessions_discarded")
		return err == nil && live+other == 0
	})
}

// Metric is one figure of /metrics, summed over its labels; 0 when it has none
// yet. labels, if any, are parts of the label set: reason="hold".
func (s *Server) Metric(name string, labels ...string) (float64, error) {
	code, b := s.Fetch("/metrics")
	if code != 200 {
		return 0, fmt.Errorf("/metrics: status %d", code)
	}
	return metric(b, name, labels)
}

func metric(text []byte, name string, labels []string) (sum float64, err error) {
	sc := bufio.NewScanner(bytes.NewReader(text))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := sc.Text()
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		set, value := "", rest
		if rest[0] == '{' {
			end := strings.LastIndexByte(rest, '}')
			if end < 0 {
				continue
			}
			set, value = rest[:end], rest[end+1:]
		}
		fields := strings.Fields(value)
		if len(fields) == 0 || !all(set, labels) {
			continue
		}
		v, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return 0, fmt.Errorf("/metrics: %w in %q", err, line)
		}
		sum += v
	}
	return sum, sc.Err()
}

func all(set string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(set, p) {
			return false
		}
	}
	return true
}

// Usage is what a server uses of the machine.
type Usage struct {
	RSS        int64 // resident memory, bytes
	Files      int   // open descriptors
	Goroutines int
}

// Usage looks at the process (its /proc) and at its own figure of goroutines.
func (s *Server) Usage() (Usage, error) {
	var u Usage
	n, err := s.Metric("go_goroutines")
	if err != nil {
		return u, err
	}
	u.Goroutines = int(n)
	proc := fmt.Sprintf("/proc/%d/", s.Pid())
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		return u, err
	}
	u.Files = len(fds)
	b, err := os.ReadFile(proc + "statm")
	if err != nil {
		return u, err
	}
	fields := strings.Fields(string(b)) // size resident shared ..., in pages
	if len(fields) < 2 {
		return u, fmt.Errorf("read %sstatm: %q", proc, b)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	u.RSS = pages * int64(os.Getpagesize())
	return u, err
}

// Manifest is what a row reads of a recording's manifest.json.
type Manifest struct {
	ID          string   `json:"id"`
	Duration    float64  `json:"duration_seconds"`
	Interrupted bool     `json:"interrupted"`
	Cause       string   `json:"cause"`
	Flags       []string `json:"flags"`
	Gaps        []Gap    `json:"gaps"`
	Streams     []Stream `json:"quality"`
}

// Gap is a stretch without received audio, in seconds from the start.
type Gap struct {
	Channel string  `json:"channel"`
	From    float64 `json:"from"`
	To      float64 `json:"to"`
	Reason  string  `json:"reason"`
	Packets int     `json:"packets"`
}

// Stream is what was counted on one stream.
type Stream struct {
	Stream    string `json:"stream"`
	Channel   string `json:"channel"`
	Packets   int    `json:"packets"` // placed in the recording
	Lost      int    `json:"lost"`
	Late      int    `json:"late"`
	Duplicate int    `json:"duplicate"`
	Reordered int    `json:"reordered"`
	Events    int    `json:"events"`
	Stray     int    `json:"stray"`
	NotAgreed int    `json:"not_agreed"`
	Overflow  int    `json:"overflow"`
}

// Missing is how many packets of a channel the gap ledger tells of as lost.
func (m *Manifest) Missing(channel string) (n int) {
	for _, g := range m.Gaps {
		if g.Channel == channel && g.Reason == "loss" {
			n += g.Packets
		}
	}
	return n
}

// Stream is what was counted on the stream of a channel; nil: nothing was.
func (m *Manifest) Stream(channel string) *Stream {
	for i := range m.Streams {
		if m.Streams[i].Channel == channel {
			return &m.Streams[i]
		}
	}
	return nil
}

// Manifests reads the manifests of all finished recordings from the disk, by
// recording id.
func (s *Server) Manifests() (map[string]*Manifest, error) {
	paths, err := filepath.Glob(filepath.Join(s.Dir, "recordings", "*", "*", "*", "*", "manifest.json"))
	if err != nil {
		return nil, err
	}
	out := make(map[string]*Manifest, len(paths))
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		m := new(Manifest)
		if err := json.Unmarshal(b, m); err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		out[m.ID] = m
	}
	return out, nil
}
