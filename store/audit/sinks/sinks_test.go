package sinks

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func TestParse(t *testing.T) {
	for text, good := range map[string]bool{
		"file:///var/log/checkpoints": true, "file://var/log/x": false, "file:relative": false, "file:///dir/": false,
		"syslog://": true, "syslog://127.0.0.1:514": true, "syslog://loghost": false, "syslog://h:0": false, "syslog://h:514/x": false,
		"https://witness.example.org/siprecd": true, "http://127.0.0.1:8081/": true, "https://": false,
		"ftp://x/y": false, "/var/log/x": false, "": false, "http://[::1": false,
	} {
		if _, err := Parse(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
	x, _ := Parse("https://user:secret@example.org/x")
	if strings.Contains(x.String(), "secret") {
		t.Error(x)
	}
}

func target(t *testing.T, text string) Target {
	t.Helper()
	x, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("not in time")
		}
	}
}

func TestAllKinds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "checkpoints")
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	var posted atomic.Int64
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodPost && strings.HasPrefix(string(b), "note") {
			posted.Add(1)
		}
	}))
	defer web.Close()
	s := Open(t.Context(), []Target{target(t, "file://"+file), target(t, "syslog://"+udp.LocalAddr().String()), target(t, web.URL)}, quiet())
	for range 3 {
		s.Send(Message{Note: []byte("note\n"), Line: "checkpoint note=x"})
	}
	until(t, func() bool { return posted.Load() == 3 })
	buf := make([]byte, 2000)
	_ = udp.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, _, err := udp.ReadFrom(buf)
	if err != nil || !strings.HasPrefix(string(buf[:n]), "<109>1 2") || !strings.HasSuffix(string(buf[:n]), " checkpoint - checkpoint note=x") {
		t.Fatalf("%q %v", buf[:n], err)
	}
	s.Close()
	if b, _ := os.ReadFile(file); string(b) != "note\n\nnote\n\nnote\n\n" {
		t.Fatalf("%q", b)
	}
	for _, k := range s.States() {
		if k.Error != nil || k.Sent.IsZero() {
			t.Errorf("%+v", k)
		}
	}
}

// One sink that fails holds up no other, is named, and gets what waits later.
func TestFailureAndReturn(t *testing.T) {
	dir := t.TempDir()
	late := filepath.Join(dir, "later", "checkpoints")
	good := filepath.Join(dir, "good")
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that the client leaves
		<-r.Context().Done()
	}))
	s := Open(t.Context(), []Target{target(t, "file://"+late), target(t, "file://"+good), target(t, hangs.URL)}, quiet())
	start := time.Now()
	for range 20 {
		s.Send(Message{Note: []byte("note\n")})
	}
	if time.Since(start) > 4*time.Second { // one try at what hangs takes 5
		t.Error("Send waits")
	}
	until(t, func() bool { x := s.States(); return x[0].Error != nil && x[1].Error == nil && !x[1].Sent.IsZero() })
	if err := os.Mkdir(filepath.Dir(late), 0o700); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return s.States()[0].Error == nil })
	start = time.Now()
	s.Close()
	if time.Since(start) > farewell+20*time.Second {
		t.Error("Close takes too long")
	}
	hangs.CloseClientConnections()
	hangs.Close()
	if b, _ := os.ReadFile(late); strings.Count(string(b), "note") != maxQueue {
		t.Errorf("%d notes", strings.Count(string(b), "note"))
	}
}

func TestNotTaken(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	s := Open(t.Context(), []Target{target(t, web.URL)}, quiet())
	defer s.Close()
	s.Send(Message{Note: []byte("note\n")})
	until(t, func() bool { return s.States()[0].Error != nil })
	if err := s.States()[0].Error.Error(); !strings.Contains(err, "404") {
		t.Error(err)
	}
}

// Of a note that did not fit, what is there is cut off again.
func TestCut(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notes")
	if err := appendFile(name, []byte("whole\n")); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := f.WriteString("half a no")
	if err = errors.Join(err, cut(f, int64(n)), f.Close()); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(name); string(b) != "whole\n\n" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}
