package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"siprecd/recorder"
)

// fakeSource is a recorder whose status the test sets.
type fakeSource struct {
	mu     sync.Mutex
	status recorder.Status
	asked  int
}

func (f *fakeSource) Status() recorder.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	st := f.status
	st.At = time.Now().UTC()
	return st
}

func (f *fakeSource) Ready() []recorder.Check { return f.Status().Checks }

func (f *fakeSource) change(edit func(*recorder.Status)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit(&f.status)
}

// aStatus is a recorder with one call, whose second party is not heard.
func aStatus() recorder.Status {
	start := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	return recorder.Status{
		OK: true, Sentence: "Everything that should be recorded is being recorded: 1 call.",
		Started: start, Version: "1.2.3", Listen: []string{"udp://127.0.0.1:5060"},
		Calls: []recorder.LiveCall{{
			ID: "0199-aaaa", Line: "council tax", Since: start, Seconds: 61,
			Legs: []recorder.Leg{
				{Label: "1", Channel: "left", Port: 20000, Packets: 3050, Lost: 12, LevelDB: -21},
				{Label: "2", Channel: "right", Port: 20002, LevelDB: math.Inf(-1), NoMedia: true},
			},
		}},
		Recordings: recorder.Totals{Live: 1, Finished: 18422, Stored: 20000},
		Journal:    recorder.Journal{AgeSeconds: 0.2, CommitMS: 6},
		Disk:       recorder.Disk{FreeBytes: 400e9, TotalBytes: 1000e9},
		Decisions:  map[string]uint64{"listed": 7, "not-listed": 2},
		Refusals:   map[string]uint64{"peer not allowed": 3},
		Checks:     []recorder.Check{{Name: "store", OK: true, Since: start}, {Name: "journal", OK: true}},
	}
}

func serve(t *testing.T, src Source) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = NewHTTPServer(New(Options{Source: src}).Handler())
	srv.Start()
	t.Cleanup(srv.Close)
	return srv
}

func get(t *testing.T, url, accept string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestStatusFormFollowsAccept(t *testing.T) {
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
	for _, tt := range []struct {
		accept, query string
		want          form
		ok            bool
	}{
		{"", "", formJSON, true},
		{"*/*", "", formJSON, true},
		{"application/json", "", formJSON, true},
		{browser, "", formHTML, true},
		{"text/*", "", formHTML, true},
		{"text/html;q=0.1, application/json", "", formJSON, true},
		{"application/x-ndjson", "", formNDJSON, true},
		{"text/event-stream", "", formSSE, true},
		{"text/html;q=0, */*", "", formJSON, true},
		{"image/png", "", formJSON, true},
		{"text/html; q=nonsense, ;;;", "", formJSON, true},
		{browser, "?follow=ndjson", formNDJSON, true},
		{"", "?follow=sse", formSSE, true},
		{"", "?follow=xml", "", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/status"+tt.query, nil)
		if tt.accept != "" {
			r.Header.Set("Accept", tt.accept)
		}
		if got, ok := chooseForm(r); got != tt.want || ok != tt.ok {
			t.Errorf("Accept %q %s: %q %v, want %q %v", tt.accept, tt.query, got, ok, tt.want, tt.ok)
		}
	}
}

func TestStatusJSONIsTheStatus(t *testing.T) {
	src := &fakeSource{status: aStatus()}
	resp, body := get(t, serve(t, src).URL+"/status", "")
	if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("content type %q", ct)
	}
	var st recorder.Status
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		t.Fatalf("an endless level must not spoil the JSON: %v", err)
	}
	if st.Sentence != src.status.Sentence || len(st.Calls) != 1 || st.Calls[0].Legs[1].LevelDB != silenceDBov {
		t.Errorf("got %+v", st)
	}
	if !math.IsInf(src.status.Calls[0].Legs[1].LevelDB, -1) {
		t.Error("the source's own status was changed")
	}
}

func TestEmptyStatusHasListsNotNull(t *testing.T) {
	_, body := get(t, serve(t, &fakeSource{}).URL+"/status", "")
	if strings.Contains(body, "null") {
		t.Errorf("null in %s", body)
	}
}

func TestReadyz(t *testing.T) {
	src := &fakeSource{status: aStatus()}
	srv := serve(t, src)
	if resp, body := get(t, srv.URL+"/readyz", ""); resp.StatusCode != 200 || body != "ready\n" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	src.change(func(st *recorder.Status) {
		st.Checks[1] = recorder.Check{Name: "journal", Error: "disk full\n[+] store ok\x1b[2J"}
	})
	resp, body := get(t, srv.URL+"/readyz", "")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	want := "not ready: 1 of 2 checks fail\n[-] journal failing: disk full [+] store ok\uFFFD[2J\n"
	if body != want {
		t.Errorf("got %q, want %q", body, want)
	}
	if _, body := get(t, srv.URL+"/readyz?verbose", ""); !strings.Contains(body, "[+] store ok since 2026-11-23T09:00:00Z\n") {
		t.Errorf("verbose: %q", body)
	}
	if resp, _ := get(t, srv.URL+"/livez", ""); resp.StatusCode != 200 {
		t.Errorf("livez depends on the checks: %d", resp.StatusCode)
	}
}

func TestOnlyReads(t *testing.T) {
	srv := serve(t, &fakeSource{status: aStatus()})
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{"HEAD", "/status", 200}, {"HEAD", "/status?follow=sse", 200}, {"POST", "/status", 405},
		{"DELETE", "/nothing", 405}, {"GET", "/nothing", 404}, {"GET", "/v1/recordings", 404},
		{"GET", "/status?follow=xml", 400}, {"GET", "/assets/", 404}, {"GET", "/assets/page.html", 404},
		{"GET", "/assets/../web.go", 404}, {"GET", "/assets/status.js", 200}, {"GET", "/assets/ok.svg", 200},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), tt.method, srv.URL+tt.path, nil)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want && !(tt.want == 404 && resp.StatusCode == 307) {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, resp.StatusCode, tt.want)
		}
		for _, h := range []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options"} {
			if resp.Header.Get(h) == "" {
				t.Errorf("%s %s: no %s", tt.method, tt.path, h)
			}
		}
		if tt.want == 404 && resp.StatusCode == 404 && !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: 404 as %s", tt.path, resp.Header.Get("Content-Type"))
		}
	}
}

// follower reads events from a stream.
type follower struct {
	lines *bufio.Scanner
	close context.CancelFunc
	resp  *http.Response
}

func follow(t *testing.T, url, accept string) *follower {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Last-Event-ID", "an-old-one")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	sc := bufio.NewScanner(resp.Body)
	sc.Buffer(nil, 1<<20)
	return &follower{sc, cancel, resp}
}

func (f *follower) line(t *testing.T) string {
	t.Helper()
	if !f.lines.Scan() {
		t.Fatalf("the stream ended: %v", f.lines.Err())
	}
	return f.lines.Text()
}

func TestFollowNDJSON(t *testing.T) {
	src := &fakeSource{status: aStatus()}
	f := follow(t, serve(t, src).URL+"/status", "application/x-ndjson")
	read := func() recorder.Status {
		var st recorder.Status
		if err := json.Unmarshal([]byte(f.line(t)), &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	first, at := read(), time.Now()
	if first.Recordings.Finished != 18422 {
		t.Errorf("first: %+v", first)
	}
	src.change(func(st *recorder.Status) { st.Recordings.Finished = 18423 })
	if second := read(); second.Recordings.Finished != 18423 {
		t.Errorf("second: %+v", second)
	} else if d := time.Since(at); d > 10*time.Second {
		t.Errorf("a change took %v", d)
	}
	at = time.Now()
	read() // nothing changed: only the heartbeat
	if d := time.Since(at); d < 2*time.Second || d > 15*time.Second {
		t.Errorf("the heartbeat came after %v", d)
	}
}

// The time limit for reading a request must not end a follower, who has long
// sent his.
func TestFollowOutlivesReadTimeout(t *testing.T) {
	src := &fakeSource{status: aStatus()}
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = NewHTTPServer(New(Options{Source: src}).Handler())
	srv.Config.ReadTimeout = 200 * time.Millisecond
	srv.Config.WriteTimeout = 200 * time.Millisecond
	srv.Start()
	t.Cleanup(srv.Close)
	f := follow(t, srv.URL+"/status", "application/x-ndjson")
	f.line(t)
	for i := range uint64(2) {
		src.change(func(st *recorder.Status) { st.Recordings.Finished = i })
		f.line(t) // a second later each
	}
}

func TestFollowSSE(t *testing.T) {
	src := &fakeSource{status: aStatus()}
	f := follow(t, serve(t, src).URL+"/status", "text/event-stream")
	if ct := f.resp.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("content type %q", ct)
	}
	id := f.line(t)
	if !strings.HasPrefix(id, "id: ") || f.line(t) != "retry: 2000" {
		t.Errorf("id line %q", id)
	}
	data, ok := strings.CutPrefix(f.line(t), "data: ")
	var st recorder.Status
	if err := json.Unmarshal([]byte(data), &st); !ok || err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	if blank := f.line(t); blank != "" {
		t.Errorf("event not closed: %q", blank)
	}
	src.change(func(st *recorder.Status) { st.OK = false })
	if next := f.line(t); next == id || !strings.HasPrefix(next, "id: ") {
		t.Errorf("id did not move: %q after %q", next, id)
	}
}

func TestFollowPageSendsTheRenderedPage(t *testing.T) {
	f := follow(t, serve(t, &fakeSource{status: aStatus()}).URL+"/status?follow=page", "*/*")
	var html strings.Builder
	for line := f.line(t); line != ""; line = f.line(t) {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			html.WriteString(data)
		}
	}
	if s := html.String(); !strings.HasPrefix(s, "<main") || !strings.HasSuffix(s, "</main>") {
		t.Errorf("not a main element: %.80s", s)
	}
}

func TestFollowersAreBounded(t *testing.T) {
	srv := serve(t, &fakeSource{status: aStatus()})
	var all []*follower
	for range maxFollowers {
		f := follow(t, srv.URL+"/status?follow=ndjson", "*/*")
		f.line(t)
		all = append(all, f)
	}
	resp, _ := get(t, srv.URL+"/status?follow=ndjson", "")
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("one too many: %d", resp.StatusCode)
	}
	if resp, _ := get(t, srv.URL+"/status", ""); resp.StatusCode != 200 {
		t.Errorf("a single look while all follow: %d", resp.StatusCode)
	}
	all[0].close()
	wait(t, func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/status?follow=ndjson", nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode == 200
	})
}

// stuckWriter is a client that does not read.
type stuckWriter struct{ http.ResponseWriter }

var errStuck = errors.New("write deadline passed")

func (stuckWriter) Write([]byte) (int, error) { return 0, errStuck }
func (stuckWriter) SetWriteDeadline(at time.Time) error {
	if time.Until(at) > followTimeout {
		return errors.New("deadline too far away")
	}
	return nil
}

func TestSlowFollowerIsDropped(t *testing.T) {
	s := New(Options{Source: &fakeSource{status: aStatus()}})
	r := httptest.NewRequest(http.MethodGet, "/status?follow=sse", nil)
	err := s.stream(stuckWriter{httptest.NewRecorder()}, r, formSSE)
	if !errors.Is(err, errStuck) {
		t.Errorf("the stream went on: %v", err)
	}
	s.Handler().ServeHTTP(stuckWriter{httptest.NewRecorder()}, r)
	if n := s.feed.following(); n != 0 {
		t.Errorf("%d places still taken", n)
	}
}

func TestFollowersShareSnapshots(t *testing.T) {
	src := &fakeSource{status: aStatus()}
	f := newFeed(src)
	for range 100 {
		if _, err := f.snapshot(time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if src.asked != 1 {
		t.Errorf("the source was asked %d times", src.asked)
	}
}

// wait polls until done holds.
func wait(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not happen in time")
		}
	}
}
