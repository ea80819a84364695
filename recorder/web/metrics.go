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
	"siprecd/recorder/alarm"
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
		{"alarms_active", "Streams of live calls that are at fault, by kind.", "kind"},
		{"alarms_raised_total", "Alarms raised since start, by kind.", "kind"},
		{"fault", "1 for each fault of the machine or its surroundings that lasts.", "fault"},
		{"draining", "1 while the recorder waits for live calls to end, to stop.", ""},
		{"day_calls_offered", "Calls of today that were to be recorded, by line.", "line"},
		{"day_calls_recorded", "Calls of today that were accepted and recorded, by line.", "line"},
		{"day_calls_finished", "Recordings of today that ended in good order, by line.", "line"},
		{"day_calls_interrupted", "Recordings of today that a crash cut off, by line.", "line"},
		{"day_calls_refused", "Calls of today that were to be recorded and were not, by line.", "line"},
		{"day_calls_flagged", "Recordings of today with an alarm, by line.", "line"},
		{"day_gap_seconds", "Seconds of today's recordings that were lost or brought no media, by line.", "line"},
		{"day_captured_ratio", "Recorded of offered calls of today, by line; absent where none was offered.", "line"},
		{"media_busy_ratio", "Share of its time that the busiest media worker works.", ""},
		{"process_busy_ratio", "Share of the processors that the process uses, of those that it may use.", ""},
		{"media_late_seconds", "How much later than planned media is handled.", ""},
		{"media_complexity", "Complexity that calls are encoded with, at most.", ""},
		{"media_complexity_configured", "Complexity that calls are meant to be encoded with.", ""},
		{"media_ports_used", "Media ports in use.", ""},
		{"media_ports", "Media ports that there are.", ""},
		{"load_refusing", "1 while new calls are refused for want of time.", ""},
		{"load_steps_total", "Steps that the capacity guard took since start: down is less complexity or no new calls.", "direction"},
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
	c.collectLoad(ch, st.Load)
	c.collectStore(ch, st)
	c.collectPeers(ch, st)
	c.collectAlarms(ch, st)
	if len(st.Completeness) > 0 {
		c.collectDay(ch, st.Completeness[0])
	}
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

func (c *collector) collectLoad(ch chan<- prometheus.Metric, l recorder.Load) {
	c.gauge(ch, "media_busy_ratio", l.Media)
	c.gauge(ch, "process_busy_ratio", l.Process)
	c.gauge(ch, "media_late_seconds", l.LateMS/1000)
	c.gauge(ch, "media_complexity", float64(l.Complexity))
	c.gauge(ch, "media_complexity_configured", float64(l.Configured))
	c.gauge(ch, "media_ports_used", float64(l.PortsUsed))
	c.gauge(ch, "media_ports", float64(l.PortsTotal))
	c.gauge(ch, "load_refusing", number(l.Refusing))
	c.counter(ch, "load_steps_total", l.Down, "down")
	c.counter(ch, "load_steps_total", l.Up, "up")
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

// collectAlarms tells of every kind, also of one that never was: an absent
// figure cannot be alarmed on.
func (c *collector) collectAlarms(ch chan<- prometheus.Metric, st recorder.Status) {
	active := map[string]int{}
	for _, a := range st.Alarms {
		active[a.Kind]++
	}
	for _, kind := range alarm.Kinds() {
		c.gauge(ch, "alarms_active", float64(active[string(kind)]), string(kind))
		c.counter(ch, "alarms_raised_total", st.AlarmsRaised[string(kind)], string(kind))
	}
	for _, f := range st.Faults {
		c.gauge(ch, "fault", 1, f.Name)
	}
	c.gauge(ch, "draining", number(st.Draining != nil))
}

// collectDay tells a day's account: gauges, for they begin anew each day.
func (c *collector) collectDay(ch chan<- prometheus.Metric, d recorder.Day) {
	for _, l := range d.Lines {
		for name, n := range map[string]uint64{
			"day_calls_offered": l.Offered, "day_calls_recorded": l.Recorded, "day_calls_finished": l.Finished,
			"day_calls_interrupted": l.Interrupted, "day_calls_refused": total(l.Refused), "day_calls_flagged": total(l.Flagged),
		} {
			c.gauge(ch, name, float64(n), l.Name)
		}
		c.gauge(ch, "day_gap_seconds", l.GapSeconds, l.Name)
		if l.Captured != nil {
			c.gauge(ch, "day_captured_ratio", *l.Captured, l.Name)
		}
	}
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

// total adds up what was counted by reason or by kind.
func total(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
