package web

import (
	"math"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"siprecd/recorder"
)

func TestMetricsComeFromTheStatus(t *testing.T) {
	st := aStatus()
	st.Checks[1].OK = false
	// Two of one name, and a name that is not UTF-8, must not spoil the scrape.
	st.Checks = append(st.Checks, recorder.Check{Name: "store", OK: true})
	st.Decisions["\xff"] = 1
	st.Journal.CommitMS = math.NaN()
	srv := serve(t, &fakeSource{status: st})
	resp, body := get(t, srv.URL+"/metrics", "application/openmetrics-text; version=1.0.0")
	if ct := resp.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/openmetrics-text") {
		t.Errorf("content type %q", ct)
	}
	for _, want := range []string{
		"srs_ready 0.0\n", "srs_recording_ok 1.0\n", `srs_check_ok{check="journal"} 0.0`, `srs_check_ok{check="store"} 1.0`,
		`srs_sessions_active{line="council tax"} 1.0`, "srs_streams_active 2.0\n", "srs_streams_no_media 1.0\n",
		"srs_recordings_finished_total 18422.0\n", `srs_policy_decisions_total{reason="listed"} 7.0`,
		`srs_sip_rejected_total{reason="peer not allowed"} 3.0`, "srs_journal_age_seconds 0.2\n",
		"srs_journal_commit_seconds 0.0\n", "srs_storage_free_bytes 4e+11\n", `srs_build_info{goversion="go`,
		"go_goroutines ", "# EOF\n",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %q", want)
		}
	}
	if strings.Contains(body, "0199-aaaa") {
		t.Error("a recording id is in the metrics")
	}
}

func TestRegistryOfTheCaller(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "srs_other_total", Help: "x"}))
	New(Options{Source: &fakeSource{}, Metrics: reg})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range families {
		found = found || f.GetName() == "srs_other_total"
	}
	if !found || len(families) < 20 {
		t.Errorf("%d families, other found: %v", len(families), found)
	}
}
