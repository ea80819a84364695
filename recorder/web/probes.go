package web

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"siprecd/recorder"
)

// probes adds /livez and /readyz.
func (s *Server) probes(mux *http.ServeMux) {
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) {
		plain(w)
		_, _ = io.WriteString(w, "alive\n")
	})
	mux.HandleFunc("/readyz", s.readyz)
}

// readyz answers 200 when a call can be taken and 503 when not; the answer to
// a SIP OPTIONS comes from the same checks.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	checks := s.source.Ready()
	failing := 0
	for _, c := range checks {
		if !c.OK {
			failing++
		}
	}
	plain(w)
	if failing > 0 {
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintf(w, "not ready: %d of %d checks fail\n", failing, len(checks))
	} else {
		_, _ = io.WriteString(w, "ready\n")
	}
	verbose := r.URL.Query().Has("verbose")
	for _, c := range checks {
		if verbose || !c.OK {
			_, _ = io.WriteString(w, checkLine(c))
		}
	}
}

// checkLine is one check in one line, whatever its error holds.
func checkLine(c recorder.Check) string {
	var b strings.Builder
	mark, word := "[+]", "ok"
	if !c.OK {
		mark, word = "[-]", "failing"
	}
	fmt.Fprintf(&b, "%s %s %s", mark, Plain(c.Name), word)
	if !c.Since.IsZero() {
		fmt.Fprintf(&b, " since %s", c.Since.UTC().Format(time.RFC3339))
	}
	if c.Error != "" {
		fmt.Fprintf(&b, ": %s", Plain(c.Error))
	}
	return b.String() + "\n"
}

func plain(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
}
