package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"siprecd/cmd/siprecd/config"
)

func TestExitCode(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("disk full"), 1},
		{silent{errors.New("told already")}, 1},
		{usagef("--at: not a time"), 2},
		{fmt.Errorf("wrapped: %w", usagef("x")), 2},
		{fmt.Errorf("wrapped: %w", &config.Error{}), 2},
		{fmt.Errorf("wrapped: %w", config.ErrNotFound), 2},
		{silent{usagef("x")}, 2},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("exitCode(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestRun(t *testing.T) {
	for _, tt := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"version", 0, "siprecd ", ""},
		{"--help", 0, "explain", ""},
		{"explain --help", 0, "--at=TIME", ""},
		{"", 2, "", "siprecd --help"},
		{"chekc", 2, "", `did you mean "check"`},
		{"check --bogus", 2, "", "--bogus"},
		{"explain", 2, "", "--to"},
		{"check --config /nonexistent.yaml", 2, "", "/nonexistent.yaml"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(context.Background(), strings.Fields(tt.args), strings.NewReader(""), &stdout, &stderr)
		if code != tt.code || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("siprecd %s: exit %d\nstdout: %s\nstderr: %s", tt.args, code, &stdout, &stderr)
		}
	}
}

func TestMomentOfExplain(t *testing.T) {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct{ at, want string }{
		{"", "2026-11-23T12:00:00Z"},
		{"2027-05-01 10:00", "2027-05-01T09:00:00Z"},
		{"2027-05-01T10:00", "2027-05-01T09:00:00Z"},
		{"2027-05-01 10:00:30", "2027-05-01T09:00:30Z"},
		{"2027-05-01T10:00:30", "2027-05-01T09:00:30Z"},
		{"2027-01-01", "2027-01-01T00:00:00Z"},
		{"2027-05-01T10:00:00+02:00", "2027-05-01T08:00:00Z"},
		{"2027-05-01T10:00:00Z", "2027-05-01T10:00:00Z"},
	} {
		got, err := (&explainCmd{At: tt.at}).moment(now, london)
		if err != nil || got.UTC().Format(time.RFC3339) != tt.want {
			t.Errorf("%q: %s, %v; want %s", tt.at, got.UTC(), err, tt.want)
		}
	}
	for _, bad := range []string{"tomorrow", "1/5/2027", "10:00"} {
		if _, err := (&explainCmd{At: bad}).moment(now, london); exitCode(err) != 2 {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestCodes: bad configuration is 2, a refusal to overwrite is 1.
func TestCodes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	file := filepath.Join(dir, "siprecd.yaml")
	for _, tt := range []struct {
		args []string
		want int
	}{
		{[]string{"init", "--dir", dir}, 0},
		{[]string{"check", "--config", file}, 0},
		{[]string{"check", "--config", file, "--set", "log.level=loud"}, 2},
		{[]string{"explain", "--config", file, "--to", "999"}, 0},
		{[]string{"explain", "--config", file, "--to", "999", "--at", "noon"}, 2},
		{[]string{"init", "--dir", dir}, 1},
		{[]string{"init"}, 2},
	} {
		var out bytes.Buffer
		if code := run(context.Background(), tt.args, strings.NewReader(""), &out, &out); code != tt.want {
			t.Errorf("siprecd %s: exit %d, want %d\n%s", tt.args, code, tt.want, &out)
		}
	}
}

// brokenPipe is a terminal that is gone.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// TestInitThatCannotTellTheKey leaves nothing behind: an escrow key that
// nobody saw is worth nothing.
func TestInitThatCannotTellTheKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var stderr bytes.Buffer
	code := run(context.Background(), []string{"init", "--dir", dir}, strings.NewReader(""), brokenPipe{}, &stderr)
	if code != 1 || !strings.Contains(stderr.String(), "escrow") {
		t.Errorf("exit %d: %s", code, &stderr)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
