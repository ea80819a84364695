package web

import (
	"errors"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"siprecd/recorder"
)

// metricsHandler answers in OpenMetrics when the scraper asks for it.
func (s *Server) metricsHandler() http.Handler {
	return promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: 4,
		Timeout:             writeTimeout / 2,
	})
}

// register adds our metrics and, where they are missing, those of the Go
// runtime and the process.
func register(r *prometheus.Registry, s *Server) {
	r.MustRegister(newCollector(s))
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		var already prometheus.AlreadyRegisteredError
		if err := r.Register(c); err != nil && !errors.As(err, &already) {
			panic(err)
		}
	}
}

// collector reads the status when it is scraped: the figures of /metrics and
// of /status can never differ. No label holds a number, a name or an id.
type collector struct {
	server *Server
	desc   map[string]*prometheus.Desc
}

// metric is one figure: its name without srs_, its help and its label.
type metric struct{ name, help, label string }

func metricList() []metric {
	return []metric{
		{"build_info", "Always 1; the labels say what runs.", "version"},
		{"ready", "1 when a new call can be taken; the same checks as /readyz.", ""},
		{"recording_ok", "1 when everything that should be recorded is being recorded.", ""},
		{"check_ok", "1 when the check holds.", "check"},
		{"sessions_active", "Calls being recorded, by line.", "line"},
		{"sessions_discarded", "Live sessions that are answered but not recorded.", ""},
		{"streams_active", "Streams of the calls being recorded.", ""},
		{"streams_no_media", "Streams that should carry media and do not.", ""},
		{"streams_on_hold", "Streams that signalling put on hold.", ""},
		{"recordings_finished_total", "Recordings finished since start.", ""},
		{"recordings_interrupted_total", "Recordings finished by recovery at start.", ""},
		{"recordings_stored", "Recordings in the catalogue.", ""},
		{"policy_decisions_total", "Policy decisions since start, by reason.", "reason"},
		{"sip_rejected_total", "SIP requests refused or dropped since start, by reason.", "reason"},
		{"journal_age_seconds", "Age of the oldest audio that is not yet durable.", ""},
		{"journal_pending_bytes", "Audio that is not yet durable.", ""},
		{"journal_commit_seconds", "Duration of the last group commit.", ""},
		{"journal_ok", "1 when the journal has no error.", ""},
		{"storage_free_bytes", "Free space on the file system of the store.", ""},
		{"storage_size_bytes", "Size of the file system of the store.", ""},
		{"peer_calls_active", "Sessions that are up, by recording client.", "peer"},
		{"peer_calls_total", "Sessions since start, by recording client.", "peer"},
		{"peer_refused_total", "Requests and TLS handshakes refused since start, by recording client.", "peer"},
		{"peer_last_options_timestamp_seconds", "When a recording client last sent OPTIONS.", "peer"},
		{"peer_last_invite_timestamp_seconds", "When a recording client last sent an INVITE.", "peer"},
		{"peer_certificate_expiry_timestamp_seconds", "When the certificate of a recording client expires.", "peer"},
		{"strangers_refused_total", "Datagrams and connections dropped since start for not being on the allow-list.", ""},
		{"status_followers", "Clients that follow /status.", ""},
	}
}

func newCollector(s *Server) *collector {
	c := &collector{server: s, desc: map[string]*prometheus.Desc{}}
	for _, m := range metricList() {
		var labels []string
		if m.label != "" {
			labels = []string{m.label}
		}
		if m.name == "build_info" {
			labels = []string{"version", "goversion"}
		}
		c.desc[m.name] = prometheus.NewDesc("srs_"+m.name, m.help, labels, nil)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.desc {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	st := clean(c.server.source.Status())
	ready := true
	checks := map[string]bool{} // two checks of one name must not spoil the scrape
	for _, check := range c.server.source.Ready() {
		ready = ready && check.OK
		before, seen := checks[check.Name]
		checks[check.Name] = check.OK && (before || !seen)
	}
	for name, ok := range checks {
		c.gauge(ch, "check_ok", number(ok), name)
	}
	c.gauge(ch, "build_info", 1, st.Version, runtime.Version())
	c.gauge(ch, "ready", number(ready))
	c.gauge(ch, "recording_ok", number(st.OK))
	c.gauge(ch, "status_followers", float64(c.server.feed.following()))
	c.collectCalls(ch, st)
	c.collectStore(ch, st)
	c.collectPeers(ch, st)
	for reason, n := range st.Decisions {
		c.counter(ch, "policy_decisions_total", n, reason)
	}
	for reason, n := range st.Refusals {
		c.counter(ch, "sip_rejected_total", n, reason)
	}
}

func (c *collector) collectCalls(ch chan<- prometheus.Metric, st recorder.Status) {
	lines := map[string]int{}
	var streams, noMedia, hold int
	for _, call := range st.Calls {
		lines[call.Line]++
		for _, leg := range call.Legs {
			streams++
			noMedia += int(number(leg.NoMedia))
			hold += int(number(leg.Hold))
		}
	}
	for line, n := range lines {
		c.gauge(ch, "sessions_active", float64(n), line)
	}
	c.gauge(ch, "sessions_discarded", float64(st.Discarded))
	c.gauge(ch, "streams_active", float64(streams))
	c.gauge(ch, "streams_no_media", float64(noMedia))
	c.gauge(ch, "streams_on_hold", float64(hold))
}

func (c *collector) collectStore(ch chan<- prometheus.Metric, st recorder.Status) {
	c.counter(ch, "recordings_finished_total", st.Recordings.Finished)
	c.counter(ch, "recordings_interrupted_total", st.Recordings.Interrupted)
	c.gauge(ch, "recordings_stored", float64(st.Recordings.Stored))
	c.gauge(ch, "journal_age_seconds", st.Journal.AgeSeconds)
	c.gauge(ch, "journal_pending_bytes", float64(st.Journal.PendingBytes))
	c.gauge(ch, "journal_commit_seconds", st.Journal.CommitMS/1000)
	c.gauge(ch, "journal_ok", number(st.Journal.Error == ""))
	c.gauge(ch, "storage_free_bytes", float64(st.Disk.FreeBytes))
	c.gauge(ch, "storage_size_bytes", float64(st.Disk.TotalBytes))
}

// collectPeers labels figures with addresses of clients, of which there are
// few, and which name no person.
func (c *collector) collectPeers(ch chan<- prometheus.Metric, st recorder.Status) {
	c.counter(ch, "strangers_refused_total", st.Strangers.Count)
	for _, p := range st.Peers {
		c.gauge(ch, "peer_calls_active", float64(p.Live), p.Address)
		c.counter(ch, "peer_calls_total", p.Calls, p.Address)
		c.counter(ch, "peer_refused_total", p.Refusals, p.Address)
		for name, at := range map[string]time.Time{
			"peer_last_options_timestamp_seconds": p.LastOptions, "peer_last_invite_timestamp_seconds": p.LastInvite,
		} {
			if !at.IsZero() {
				c.gauge(ch, name, float64(at.UnixMilli())/1000, p.Address)
			}
		}
		if p.TLS != nil && !p.TLS.Expires.IsZero() {
			c.gauge(ch, "peer_certificate_expiry_timestamp_seconds", float64(p.TLS.Expires.Unix()), p.Address)
		}
	}
}

func (c *collector) gauge(ch chan<- prometheus.Metric, name string, v float64, labels ...string) {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	ch <- prometheus.MustNewConstMetric(c.desc[name], prometheus.GaugeValue, v, labels...)
}

func (c *collector) counter(ch chan<- prometheus.Metric, name string, n uint64, labels ...string) {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	ch <- prometheus.MustNewConstMetric(c.desc[name], prometheus.CounterValue, float64(n), labels...)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
