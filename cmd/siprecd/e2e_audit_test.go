package main

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"siprecd/siprec/siprectest"
)

// number finds the caller's and the line's number however it is written, and is
// not deceived by the digits within a hash.
var number = regexp.MustCompile(`\b[0-9]*(7946|8825) ?[0-9]{3,}\b`)

// TestAuditOutlivesAKill follows one recording through calls, an export beside
// the server, a kill and an export alone: one log has it all, checkpoints have
// left, and what was changed afterwards is named.
func TestAuditOutlivesAKill(t *testing.T) {
	t.Parallel()
	kept := filepath.Join(t.TempDir(), "checkpoints")
	gone := filepath.Join(t.TempDir(), "missing", "checkpoints")
	s := newServer(t, "audit.checkpoints=['file://"+kept+"', 'file://"+gone+"']")
	s.start()
	s.call(siprectest.Options{Legs: tones(), Duration: time.Second})
	id := s.finished(1)[0].ID
	s.export(id)
	await(t, "the sink that fails on the status page", 30*time.Second, func() bool {
		status := s.status()
		return strings.Contains(strings.Join(status.Problems, " "), gone) && strings.HasPrefix(status.Audit.Checkpoint, "siprecd-audit-")
	})
	if s.get("/readyz") != http.StatusOK {
		t.Error("a sink that fails keeps calls away")
	}
	s.kill(syscall.SIGKILL)
	s.export(id)
	shown := s.run("audit", "show", "--json", "--recording", id[:18])
	for kind, want := range map[string]int{"made": 1, "finished": 1, "opened": 2, "exported": 2} {
		if n := strings.Count(shown, `"kind":"`+kind+`"`); n != want {
			t.Errorf("%d events %q, want %d:\n%s", n, kind, want, shown)
		}
	}
	key := filepath.Join(s.dir, "keys", "audit.pub")
	s.run("audit", "verify", "--checkpoint", kept, "--key", key)
	s.run("verify")
	if newest := s.run("audit", "checkpoint"); !strings.HasPrefix(newest, "siprecd-audit-") {
		t.Error(newest)
	}
	logs, _ := filepath.Glob(filepath.Join(s.dir, "audit", "*.log"))
	text, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	if n := number.FindString(string(text)); n != "" {
		t.Errorf("the number %q stands in the log", n)
	}
	edited := strings.Replace(string(text), `"kind":"exported"`, `"kind":"verified"`, 1)
	if err := os.WriteFile(logs[0], []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ := programOf(t, s.args("audit", "verify", "--checkpoint", kept)...)
	if code != 1 || !strings.Contains(stdout, "edited: leaf") {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

// programOf runs siprecd in this process.
func programOf(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs syncBuffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// TestExportIsBookedBeforeItsFirstByte kills an export in the midst of what it
// writes, beside the server and without one: who had the first byte is in the
// log. A key that does not fit is booked too, and gives nothing.
func TestExportIsBookedBeforeItsFirstByte(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	s.call(siprectest.Options{Legs: tones(), Duration: 3 * time.Second})
	id := s.finished(1)[0].ID
	booked := func(kind string) int {
		return strings.Count(s.run("audit", "show", "--json", "--recording", id), `"kind":"`+kind+`"`)
	}
	for n, alone := range []bool{false, true} {
		if alone {
			s.kill(syscall.SIGKILL)
		}
		s.exportKilled(id)
		if booked("opened") != n+1 || booked("exported") != n+1 {
			t.Errorf("alone %v: %s", alone, s.run("audit", "show"))
		}
	}
	other := filepath.Join(t.TempDir(), "other")
	siprecd(t, "init", "--dir", other)
	out := filepath.Join(t.TempDir(), "x.opus")
	if code, text := s.refused("export", id, "-o", out, "-i", filepath.Join(other, "keys", "console.key")); code != 1 || !strings.Contains(text, "does not open this recording") {
		t.Errorf("exit %d: %s", code, text)
	}
	if _, err := os.Stat(out); err == nil || booked("refused") != 1 || booked("exported") != 2 {
		t.Errorf("%v: %s", err, s.run("audit", "show"))
	}
	s.run("audit", "verify")
	s.run("verify")
	if shown := s.run("audit", "show", "--json"); strings.Count(shown, `"kind":"config"`) != 1 {
		t.Error(shown)
	}
}

// exportKilled exports into a pipe that is too small, reads one byte of it and
// kills the export, which waits to go on.
func (s *server) exportKilled(id string) {
	s.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(program, s.args("export", id, "-o", "-")...)
	cmd.Stdout = w
	if err := errors.Join(cmd.Start(), w.Close()); err != nil {
		s.t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); err != nil {
		s.t.Error(err)
	}
	_ = cmd.Process.Kill() // an export that has ended by itself is found below
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		s.t.Errorf("the export was not in the midst of it: %v", err)
	}
}
