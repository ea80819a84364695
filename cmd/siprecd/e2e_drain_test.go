package main

import (
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"siprecd/siprec/siprectest"
	"siprecd/store"
)

// text is what one HTTP path says, and its code.
func (s *server) text(path string) (int, string) {
	s.t.Helper()
	res, err := http.Get("http://" + s.http + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// signal sends a signal and does not wait.
func (s *server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// ended waits for the server's end, which must be a good one.
func (s *server) ended(within time.Duration) {
	s.t.Helper()
	select {
	case err := <-s.done:
		s.cmd = nil
		if err != nil {
			s.t.Errorf("the server ended with %v", err)
		}
	case <-time.After(within):
		s.t.Fatalf("the server has not ended within %v", within)
	}
}

// talking places a call and waits until it has run for a while.
func (s *server) talking(o siprectest.Options, ran time.Duration) <-chan siprectest.Report {
	s.t.Helper()
	if o.Legs == nil {
		o.Legs = tones()
	}
	o.Target, o.Timeout = "tcp://"+s.tcp, 20*time.Second
	done := place(s.t, s.t.Context(), o)
	await(s.t, "a call that has run for a while", 20*time.Second, func() bool {
		rows := s.list("--state", "live")
		return len(rows) == max(o.Calls, 1) && time.Since(rows[0].Started) > ran
	})
	return done
}

func TestTermDrains(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	raw := s.dialRaw("127.0.0.1")
	const length = 20 * time.Second
	done := s.talking(siprectest.Options{Duration: length, Calls: 3, Script: []siprectest.Step{
		{At: 16 * time.Second, Do: siprectest.Hold}, {At: 17 * time.Second, Do: siprectest.Resume},
	}}, 2*time.Second)
	s.signal(syscall.SIGTERM)
	await(t, "the drain", 20*time.Second, func() bool { return s.get("/readyz") == 503 })
	if code, text := s.text("/readyz"); code != 503 || !strings.Contains(text, "draining") {
		t.Errorf("/readyz says %d %q", code, text)
	}
	if code, _ := s.text("/livez"); code != 200 {
		t.Errorf("/livez says %d", code)
	}
	st := s.status()
	if st.Draining == nil || st.Draining.Left != 3 || len(st.Calls) != 3 || !strings.Contains(st.Sentence, "Draining") || !strings.Contains(st.Sentence, "3 calls live") {
		t.Errorf("/status says %q, %+v", st.Sentence, st.Draining)
	}
	for name, answer := range map[string]rawAnswer{"OPTIONS": raw.options(), "INVITE": raw.invite("02088257050", "v=0\r\n", nil)} {
		if answer.code != 503 || !strings.Contains(answer.head, "Retry-After:") {
			t.Errorf("%s was answered %d\n%s", name, answer.code, answer.head)
		}
	}
	report := <-done
	for _, c := range report.Calls {
		if !c.OK() || len(c.Notes) > 0 {
			t.Errorf("a live call suffered: %s %q", c, c.Notes)
		}
	}
	s.ended(25 * time.Second)
	for _, r := range s.finished(3) {
		if r.Interrupted || r.Cause != "bye" {
			t.Errorf("recorded as %+v", r)
		}
		// All of what the client sent, and no more than from INVITE to the answer to BYE.
		most := time.Duration((report.Totals.Setup.Max + report.Totals.Talk.Max) * float64(time.Second))
		const near = 100 * time.Millisecond
		if got := lengthOf(t, s.export(r.ID)); got < length-near || got > most+near {
			t.Errorf("%v were recorded of a call of %v, %v with its signalling", got, length, most)
		}
	}
	s.run("verify")
}

// TestADrainEnds shows what ends the wait: the limit, another signal, and
// SIGINT or a limit of nothing, which begin none.
func TestADrainEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, limit   string
		first, second os.Signal
	}{
		{"by its limit", "2s", syscall.SIGTERM, nil},
		{"by another SIGTERM", "120s", syscall.SIGTERM, syscall.SIGTERM},
		{"by SIGINT", "120s", syscall.SIGTERM, os.Interrupt},
		{"before it begins: SIGINT", "120s", os.Interrupt, nil},
		{"before it begins: no limit", "0s", syscall.SIGTERM, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, "shutdown.drain="+c.limit)
			s.start()
			done := s.talking(siprectest.Options{Duration: 120 * time.Second}, time.Second)
			stopped := time.Now()
			s.signal(c.first)
			if c.second != nil {
				await(t, "the drain", 20*time.Second, func() bool { return s.get("/readyz") == 503 })
				s.signal(c.second)
			}
			s.ended(25 * time.Second)
			if limit, _ := time.ParseDuration(c.limit); c.first == syscall.SIGTERM && c.second == nil && time.Since(stopped) < limit {
				t.Errorf("the drain lasted %v, shorter than its limit", time.Since(stopped))
			}
			if call := (<-done).Calls[0]; call.Ended != "remote bye" {
				t.Errorf("the client saw %s", call)
			}
			if r := s.finished(1)[0]; r.Interrupted || r.State != store.Finished || r.Cause != "shutdown" {
				t.Errorf("recorded as %+v", r)
			}
		})
	}
}
