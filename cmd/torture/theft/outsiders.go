package theft

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"siprecd/cmd/torture/rig"
	"siprecd/media/ogg"
	"siprecd/store"
	"siprecd/store/seal"
)

// ageVersion is the age that go.mod names; its command is built when it is
// needed.
const ageVersion = "v1.3.2"

// newestAge is the need for that command: Go's module cache or its proxy.
func newestAge() rig.Need {
	return rig.Need{Name: "age " + ageVersion, OK: func() bool {
		dir, err := os.MkdirTemp("", "age-")
		if err != nil {
			return false
		}
		defer os.RemoveAll(dir)
		return buildAge(dir) == nil
	}}
}

func buildAge(dir string) error {
	cmd := exec.Command("go", "install", "filippo.io/age/cmd/...@"+ageVersion)
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	cmd.Dir = dir // not in a module
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build age: %w: %s", err, out)
	}
	return nil
}

// stockAge is E5 with the age that the system has.
func stockAge(l *rig.Lab) error {
	s, err := begin(l, "store.segment=5s")
	if err != nil {
		return err
	}
	_, rows, err := plant(l, s, l.Rounds, 5500*time.Millisecond)
	if err != nil {
		return err
	}
	version, _ := l.Tool("age", "--version")
	return openAll(l, s, rows, opener{"age", filepath.Join(s.Dir, "keys", seal.ConsoleKeyFile), strings.TrimSpace(version)})
}

// newAge is E5 with the newest age, for classical and for hybrid recipients.
func newAge(l *rig.Lab) error {
	if err := buildAge(l.Dir); err != nil {
		return err
	}
	age, keygen := filepath.Join(l.Dir, "age"), filepath.Join(l.Dir, "age-keygen")
	s, err := begin(l, "store.segment=5s")
	if err != nil {
		return err
	}
	_, rows, err := plant(l, s, l.Rounds, 1200*time.Millisecond)
	if err != nil {
		return err
	}
	if err := openAll(l, s, rows, opener{age, filepath.Join(s.Dir, "keys", seal.ConsoleKeyFile), ageVersion}); err != nil {
		return err
	}
	var recipients []string
	for _, who := range []string{"console", "escrow"} {
		file := filepath.Join(l.Dir, who+".pq")
		if _, err := l.Tool(keygen, "-pq", "-o", file); err != nil {
			return err
		}
		text, err := l.Tool(keygen, "-y", file)
		if err != nil {
			return err
		}
		recipients = append(recipients, strings.TrimSpace(text))
	}
	h, err := begin(l, "store.segment=5s", "store.recipients=["+strings.Join(recipients, ",")+"]")
	if err != nil {
		return err
	}
	_, rows, err = plant(l, h, l.Rounds, 1200*time.Millisecond)
	if err != nil {
		return err
	}
	return openAll(l, h, rows, opener{age, filepath.Join(l.Dir, "escrow.pq"), ageVersion + " hybrid, the escrow's key"})
}

// opener is a program that opens age files, with a holder's identity file.
type opener struct{ age, holder, what string }

// openAll opens sealed exports with an age that is not ours, and compares what
// it gives with our own export.
func openAll(l *rig.Lab, s *rig.Server, rows []store.Row, o opener) error {
	good, segments := 0, 0
	for _, r := range rows {
		n, err := openOne(l, s, r, o)
		if err != nil {
			l.Logf("%s: %v", r.ID, err)
			continue
		}
		segments += n
		good++
	}
	l.Logf("%s: %d segments", o.what, segments)
	l.Count("recordings that "+o.what+" opens", good, len(rows))
	dir, err := sealedExport(l, s, rows[0].ID)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "000000.opus.age")
	if err := edit(file, func(b []byte) []byte { b[len(b)-20] ^= 1; return b }); err != nil {
		return err
	}
	_, err = unlocked(l, dir, o, file)
	l.Control("a segment with a flipped bit", map[bool]int{true: 1}[err != nil], 1)
	return nil
}

// openOne opens one recording's keybox, details and segments.
func openOne(l *rig.Lab, s *rig.Server, r store.Row, o opener) (segments int, err error) {
	dir, err := sealedExport(l, s, r.ID)
	if err != nil {
		return 0, err
	}
	text, err := unlocked(l, dir, o, filepath.Join(dir, store.DetailsFile))
	if err != nil {
		return 0, err
	}
	var d store.Details
	if err := json.Unmarshal(text, &d); err != nil || d.Caller == "" {
		return 0, fmt.Errorf("details: caller %q, %w", d.Caller, err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "0*.age"))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("%d segments, %w", len(files), err)
	}
	samples := int64(0)
	for _, f := range files {
		data, err := unlocked(l, dir, o, f)
		if err != nil {
			return 0, err
		}
		n, err := packets(data)
		if err != nil {
			return 0, err
		}
		samples += int64(n) * 960
	}
	if have := float64(samples) / 48000; have < r.Duration {
		return 0, fmt.Errorf("the segments hold %.2f s of %.2f s", have, r.Duration)
	}
	return len(files), os.RemoveAll(dir)
}

// unlocked is a file of a sealed export, opened as the README tells collectors.
func unlocked(l *rig.Lab, dir string, o opener, file string) ([]byte, error) {
	key, out := filepath.Join(dir, "rec.key"), filepath.Join(dir, "plain")
	_ = os.Remove(out)
	if _, err := l.Tool(o.age, "-d", "-i", o.holder, "-o", key, filepath.Join(dir, store.KeyboxFile)); err != nil {
		return nil, err
	}
	if _, err := l.Tool(o.age, "-d", "-i", key, "-o", out, file); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

// packets counts the packets of an Ogg Opus file.
func packets(data []byte) (n int, err error) {
	r, err := ogg.NewReader(bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	for {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return n, err
		}
		n++
	}
}

// fips is E6: with the FIPS module on, all works; where nothing else is allowed
// siprecd says that it cannot.
func fips(l *rig.Lab) error {
	works, slowest, refused := 0, time.Duration(0), 0
	for range l.Rounds {
		for _, mode := range []string{"off", "on"} {
			s, err := l.Server()
			if err != nil {
				return err
			}
			s.Env = []string{"GODEBUG=fips140=" + mode}
			if _, err := s.Start(); err != nil {
				return fmt.Errorf("fips140=%s: %w", mode, err)
			}
			_, rows, err := plant(l, s, 1, 300*time.Millisecond)
			if err != nil {
				return fmt.Errorf("fips140=%s: %w", mode, err)
			}
			if _, err := s.Export(rows[0].ID); err != nil {
				return err
			}
			works++
			s.Stop(syscall.SIGTERM)
			if mode == "off" {
				continue
			}
			for _, args := range [][]string{s.Args("serve"), {"init", "--dir", filepath.Join(l.Dir, "never")}} {
				began := time.Now()
				cmd := exec.CommandContext(l, l.Bin, args...)
				cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
				out, err := cmd.CombinedOutput()
				slowest = max(slowest, time.Since(began))
				if err != nil && cmd.ProcessState.ExitCode() == 2 && bytes.Contains(out, []byte("fips140=only")) {
					refused++
				} else {
					l.Logf("%s: %v: %s", args[0], err, out)
				}
			}
		}
	}
	l.Count("recorded and exported with fips140 off and on", works, 2*l.Rounds)
	l.Count("refused with fips140=only, and said why", refused, 2*l.Rounds)
	l.Within("slowest refusal", slowest, time.Second)
	return nil
}
