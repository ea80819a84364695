// Package web shows the recorder over HTTP: whether it lives, whether it can
// take a call, and what it is doing.
//
//	path      TCP (http.listen)  unix socket (DIR/siprecd.sock, 0600)
//	/livez    x                  x   the process answers
//	/readyz   x                  x   can it take a call?
//	/status   x                  x   JSON, HTML, SSE, NDJSON
//	/metrics  x                      OpenMetrics, prefix srs_
//	/trace                       x   messages of recent dialogs, JSON
//
//	recorder ──Source──► feed: one snapshot a second ──► followers (≤ 64)
//	                └──► collector, at each scrape
//
// Promises: nothing on TCP shows personal data, nothing changes anything; only GET
// and HEAD are answered. A follower of /status can never slow the
// recorder or another follower: every follower writes on its own goroutine
// under a write deadline, all of them share one snapshot a second, and there
// are at most 64. The page needs no script to be read, and its script needs
// no inline code, so that the content security policy forbids all of it.
//
// A trace holds numbers and names (never keys), so it is on the socket only,
// which nobody but the server's own user and root can open.
//
// Caveats: the TCP side has no log-in; bind it to loopback or to a management
// network. The socket is for the commands of this program: they find it by the
// folder alone, also where the TCP side is off. Recordings are read through
// the store, not through here.
package web

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"siprecd/recorder"
)

// Source is what the page and the probes look at. Both methods are called
// from several goroutines and must answer without waiting for I/O. Status
// hands over slices and maps that the caller may keep.
type Source interface {
	Status() recorder.Status
	Ready() []recorder.Check
}

// Tracer tells what a recording client and the recorder said to each other.
type Tracer interface {
	Trace(recorder.TraceQuery) []recorder.Traced
}

// Options are what a Server needs; Source is required.
type Options struct {
	Source  Source
	Tracer  Tracer               // nil: no traces
	Metrics *prometheus.Registry // nil: a new one
	Logger  *slog.Logger         // nil: nothing is logged
}

// Server answers HTTP. It starts no goroutine of its own.
type Server struct {
	source  Source
	tracer  Tracer
	metrics *prometheus.Registry
	log     *slog.Logger
	feed    *feed
	page    *page
}

// New makes a Server. It panics when the embedded page does not parse or when
// the registry already holds other metrics under our names: both are mistakes
// in this program.
func New(o Options) *Server {
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		source:  o.Source,
		tracer:  o.Tracer,
		metrics: o.Metrics,
		log:     o.Logger.With("component", "web"),
		feed:    newFeed(o.Source),
		page:    newPage(),
	}
	register(o.Metrics, s)
	return s
}

// Handler is what the TCP listener serves.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	s.probes(mux)
	mux.HandleFunc("/status", s.status)
	mux.Handle("/metrics", s.metricsHandler())
	mux.Handle("/assets/", s.page.assets())
	mux.Handle("/{$}", http.RedirectHandler("/status", http.StatusFound))
	mux.HandleFunc("/", notFound)
	return guard(mux)
}

// Control is what the unix socket serves.
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	s.probes(mux)
	mux.HandleFunc("/status", s.status)
	mux.HandleFunc("/trace", s.trace)
	mux.HandleFunc("/", notFound)
	return guard(mux)
}

// NewHTTPServer is a server for one of the handlers, with the time limits
// that they rely on. Its Close ends the followers at once.
func NewHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// guard refuses what is not a read and sets the headers that hold for every
// answer.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD are answered here", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "no such page; try /status, /readyz, /livez or /metrics", http.StatusNotFound)
}
