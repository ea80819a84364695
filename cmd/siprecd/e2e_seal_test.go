package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"siprecd/siprec/siprectest"
)

// TestStockToolsOpenASealedExport follows the README's recipe for collectors
// with Debian's age and opusinfo, and none of our code.
func TestStockToolsOpenASealedExport(t *testing.T) {
	t.Parallel()
	s := newServer(t, "store.segment=5s")
	s.start()
	s.call(siprectest.Options{Legs: tones(), Duration: 7 * time.Second})
	row := s.finished(1)[0]
	dir := filepath.Join(t.TempDir(), "sealed")
	s.run("export", row.ID, "--sealed", "-o", dir)

	key := filepath.Join(dir, "rec.key")
	console := filepath.Join(s.dir, "keys", "console.key")
	tool(t, "age", "-d", "-i", console, "-o", key, filepath.Join(dir, "keybox.age"))
	segments, _ := filepath.Glob(filepath.Join(dir, "*.opus.age"))
	if len(segments) != 2 {
		t.Fatalf("segments %v, want 2 of a call of 7 s cut every 5 s", segments)
	}
	total := time.Duration(0)
	for _, seg := range segments {
		out := strings.TrimSuffix(seg, ".age")
		tool(t, "age", "-d", "-i", key, "-o", out, seg)
		wantCleanOgg(t, out)
		total += time.Duration(len(decoded(t, out, 1)[0])) * time.Second / 48000
	}
	if want := time.Duration(row.Duration * float64(time.Second)); (total - want).Abs() > time.Millisecond {
		t.Errorf("the segments are %v long together, the recording %v", total, want)
	}
	details := tool(t, "age", "-d", "-i", key, filepath.Join(dir, "details.json.age"))
	if !bytes.Contains(details, []byte("02079460123")) {
		t.Error("the details do not name the caller")
	}
	tool(t, "openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", filepath.Join(s.dir, "keys", "manifest.pub"),
		"-in", filepath.Join(dir, "manifest.json"), "-sigfile", filepath.Join(dir, "manifest.sig"))
}

// TestNothingPersonalInTheClear looks for what a caller's SBC sent in every
// file and in the log.
func TestNothingPersonalInTheClear(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	legs := tones()
	legs[0].Name = "Zebedee Quux"
	s.call(siprectest.Options{From: "02079460987", Legs: legs, Duration: 2 * time.Second})
	s.finished(1)
	s.kill(syscall.SIGTERM)
	planted := []string{"2079460987", "Zebedee", "Quux"}
	look := func(where string, b []byte) {
		for _, p := range planted {
			if bytes.Contains(b, []byte(p)) {
				t.Errorf("%s holds %q in the clear", where, p)
			}
		}
	}
	for name := range s.files() {
		b, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		look(name, b)
	}
	look("the log", []byte(s.log.String()))
	if rows := s.list("--number", "020 7946 0987"); len(rows) != 1 {
		t.Errorf("the caller's number finds %d recordings", len(rows))
	}
}

// TestVerifyFindsAFlippedByteInEveryFile flips one byte of each file in turn.
func TestVerifyFindsAFlippedByteInEveryFile(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	s.call(siprectest.Options{Legs: tones(), Duration: 2 * time.Second})
	s.finished(1)
	s.kill(syscall.SIGTERM)
	// The stamp of a clean stop covers the databases. A slow disk may not let the
	// first stop come to it.
	for try := 0; ; try++ {
		_, err := os.Stat(filepath.Join(s.dir, "closed.json"))
		if err == nil {
			break
		}
		if try == 3 {
			t.Fatal(err)
		}
		s.start()
		s.kill(syscall.SIGTERM)
	}
	s.run("verify")
	for name, size := range s.files() {
		if size == 0 || name == "siprecd.yaml" {
			continue // the configuration is the operator's, and siprecd check judges it
		}
		path := filepath.Join(s.dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(good)
		bad[len(bad)/2] ^= 0x20
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if code, said := s.refused("verify"); code != 1 || said == "" {
			t.Errorf("%s flipped: exit %d, said %q", name, code, said)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.run("verify")
}
