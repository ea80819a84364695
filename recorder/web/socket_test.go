package web

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"siprecd/recorder"
)

// control serves a source on a real socket and returns its path.
func control(t *testing.T, src Source) string {
	t.Helper()
	path := filepath.Join(shortDir(t), "s.sock")
	ln, err := ListenControl(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	srv := NewHTTPServer(New(Options{Source: src}).Control())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln)
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return path
}

// shortDir is a folder whose name leaves room in a socket's address.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "web")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestControlSocketIsPrivate(t *testing.T) {
	path := control(t, &fakeSource{})
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestListenControlReplacesOnlySockets(t *testing.T) {
	path := filepath.Join(shortDir(t), "s.sock")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	old.Close() // as a killed server leaves it
	ln, err := ListenControl(t.Context(), path)
	if err != nil {
		t.Fatalf("an old socket is in the way: %v", err)
	}
	ln.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenControl(t.Context(), path); err == nil {
		t.Error("a file was replaced")
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Error("the file is gone")
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	if _, err := ListenControl(t.Context(), long); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("a name too long: %v", err)
	}
}

func TestClientFollows(t *testing.T) {
	src := &fakeSource{status: aStatus()}
	c := NewClient(control(t, src))
	defer c.Close()
	var seen []recorder.Status
	for st, err := range c.Follow(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, st)
		if len(seen) == 2 {
			break
		}
		src.change(func(st *recorder.Status) { st.OK = false })
	}
	if !seen[0].OK || seen[1].OK || len(seen[0].Calls[0].Legs) != 2 {
		t.Errorf("seen %+v", seen)
	}
}

func TestClientEndsWithItsContext(t *testing.T) {
	c := NewClient(control(t, &fakeSource{status: aStatus()}))
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	for _, err := range c.Follow(ctx) {
		if err != nil {
			t.Errorf("an end that was asked for is not an error: %v", err)
		}
		cancel()
	}
	cancel()
}

func TestClientWithoutServer(t *testing.T) {
	path := filepath.Join(shortDir(t), "s.sock")
	check := func(want error) {
		t.Helper()
		c := NewClient(path)
		defer c.Close()
		for _, err := range c.Follow(t.Context()) {
			if !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %v with the path", err, want)
			}
			return
		}
		t.Error("nothing was yielded")
	}
	check(ErrNoServer) // no socket
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	check(ErrNoServer) // nobody behind it
}
