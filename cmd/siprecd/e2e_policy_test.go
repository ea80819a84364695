package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"siprecd/cmd/siprecd/app"
	"siprecd/recorder"
	"siprecd/siprec/siprectest"
)

// refused runs a command that must fail and gives its exit code and what it said.
func (s *server) refused(command string, args ...string) (int, string) {
	s.t.Helper()
	var errs strings.Builder
	cmd := exec.Command(program, s.args(command, args...)...)
	cmd.Stdout, cmd.Stderr = &errs, &errs
	err := cmd.Run()
	if err == nil {
		s.t.Fatalf("siprecd %s %v succeeded", command, args)
	}
	return cmd.ProcessState.ExitCode(), errs.String()
}

// status is the server's own account.
func (s *server) status() recorder.Status {
	s.t.Helper()
	res, err := http.Get("http://" + s.http + "/status")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var st recorder.Status
	if err := json.NewDecoder(res.Body).Decode(&st); err != nil {
		s.t.Fatal(err)
	}
	return st
}

// files are all files of the data folder, with their sizes.
func (s *server) files() map[string]int64 {
	s.t.Helper()
	out := map[string]int64{}
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // the server has taken it away meanwhile
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(s.dir, path)
		out[rel] = info.Size()
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// call places one call and waits for its end.
func (s *server) call(o siprectest.Options) siprectest.CallReport {
	s.t.Helper()
	return s.runOf(o).Calls[0]
}

// runOf does the same and gives the whole report.
func (s *server) runOf(o siprectest.Options) siprectest.Report {
	s.t.Helper()
	if o.Target == "" {
		o.Target = "udp://" + s.udp
	}
	r, err := siprectest.Run(s.t.Context(), o)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func TestUnlistedCallLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, to, reason string }{
		{"not listed", "02088259999", "not-listed"},
		{"outside the campaign", "02088257777", "outside-window"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.start()
			before := s.files()
			r := s.call(siprectest.Options{To: c.to, Legs: tones(), Duration: 2 * time.Second})
			if r.Code != 200 {
				t.Errorf("answered %d: the caller's SBC would suffer", r.Code)
			}
			if rows := s.list(); len(rows) != 0 {
				t.Errorf("listed: %+v", rows)
			}
			for name, size := range s.files() {
				if strings.HasPrefix(name, "audit/") && size < before[name]+1000 {
					continue // that a call was refused is booked: a leaf, no audio
				}
				if old, ok := before[name]; size > old {
					t.Errorf("the call left %s of %d bytes (there before: %v, %d)", name, size, ok, old)
				}
			}
			if n := s.status().Decisions[c.reason]; n != 1 {
				t.Errorf("decisions %v: %q is not counted once", s.status().Decisions, c.reason)
			}
		})
	}
}

func TestRefuseUnlisted(t *testing.T) {
	t.Parallel()
	s := newServer(t, "policy.unlisted=refuse")
	s.start()
	if r := s.call(siprectest.Options{To: "02088259999", Duration: time.Second}); r.Code != 403 {
		t.Errorf("answered %d, want 403", r.Code)
	}
}

func TestCallWithoutMetadataIsRecordedAndFlagged(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	r := s.runOf(siprectest.Options{Dialect: siprectest.NoMetadata, Legs: tones(), Duration: 2 * time.Second})
	if r.Calls[0].Code != 200 {
		t.Fatalf("answered %d", r.Calls[0].Code)
	}
	row := s.finished(1)[0]
	if !strings.Contains(strings.Join(row.Flags, "; "), "no metadata") {
		t.Errorf("flags %q", row.Flags)
	}
	wantTones(t, s.export(row.ID), -18, lag(r))
}

func TestLateLegAndLossKeepTheTimeline(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	legs := tones()
	legs[1].Start = 1500 * time.Millisecond
	r := s.runOf(siprectest.Options{Legs: legs, Duration: 4 * time.Second, Loss: 0.02, Reorder: 0.05, Duplicate: 0.05, Seed: 7})
	row := s.finished(1)[0]
	path := s.export(row.ID)
	wantLength(t, path, time.Duration(row.Duration*float64(time.Second)), 40*time.Millisecond)
	pcm := decoded(t, path, 2)
	second := func(from, to int) []int16 { return pcm[1][from*480 : to*480] } // hundredths of a second
	if l := app.ToneLevel(second(0, 130), 1000); l > -60 {
		t.Errorf("our side is heard at %.1f dBFS before its leg began", l)
	}
	if l := toneLevel(second(170, 350), 1000, lag(r), 0.75); l < -23 {
		t.Errorf("our side is at %.1f dBFS after its leg began", l)
	}
}

func TestMissingKeyIsARefusal(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if err := os.Remove(filepath.Join(s.dir, "keys", "host.key")); err != nil {
		t.Fatal(err)
	}
	code, said := s.refused("serve")
	if code != 1 || !strings.Contains(said, "host.key") {
		t.Errorf("exit %d, said %q", code, said)
	}
}

// hurried says that a canary was judged bad for what a machine that is busy does
// to any call: its client was late. canaries is how many are tried then.
func hurried(said string) bool {
	return strings.Contains(said, "long, the call was") || strings.Contains(said, "tones came out")
}

const canaries = 3

// TestServeWithCanary is what make run does.
func TestServeWithCanary(t *testing.T) {
	t.Parallel()
	var s *server
	for try, up := 1, false; !up; try++ {
		s = newServer(t, "sip.listen=[udp://0.0.0.0:"+freePort(t)+"]")
		s.launch("--canary")
		await(t, "the canary's banner, or the server's end", 60*time.Second, func() bool {
			select {
			case err := <-s.done:
				s.cmd = nil // nobody is left to be waited for
				if try == canaries || !hurried(s.log.String()) {
					t.Fatalf("the server ended: %v\n%s", err, s.log)
				}
				return true
			default:
			}
			said := s.log.String()
			up = strings.Contains(said, "Canary call recorded: finished, decrypted, both parties heard") &&
				strings.Contains(said, "Point the SBC at")
			return up
		})
	}
	await(t, "the server to be ready", 20*time.Second, func() bool { return s.get("/readyz") == http.StatusOK })
	if rows := s.list(); len(rows) != 1 || rows[0].Line != "canary" {
		t.Errorf("listed: %+v", rows)
	}
}
