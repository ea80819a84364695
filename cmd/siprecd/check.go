package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"siprecd/cmd/siprecd/app"
	"siprecd/cmd/siprecd/config"
	"siprecd/store/policy"
)

// checkCmd reads the configuration and says what it means.
type checkCmd struct{}

// Run implements the command. Problems and warnings go to stderr, the summary
// to stdout.
func (checkCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	if err := checkCertificate(e, cfg.SIP); err != nil {
		return usageError{err}
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s: OK\n", cfg.File)
	for _, row := range append(summary(cfg), campaigns(cfg.Policy, e)...) {
		fmt.Fprintf(w, "  %s\t%s\n", row[0], row[1])
	}
	return w.Flush()
}

// certificateSoon is when a certificate that is about to expire is worth a
// warning.
const certificateSoon = 21 * 24 * time.Hour

// checkCertificate reads the certificate files as serve would, and looks at
// the dates.
func checkCertificate(e *env, s config.SIP) error {
	files := s.TLS
	if !slices.ContainsFunc(s.Listen, func(l config.Listener) bool { return l.Transport == "tls" }) {
		return nil // Load has warned of files that nobody uses
	}
	t, err := app.ServerTLS(files)
	if err != nil {
		return err
	}
	leaf := t.Certificates[0].Leaf
	if err := app.Fresh(leaf, e.now()); err != nil {
		return fmt.Errorf("sip.tls.certificate: %s: %w", files.Certificate, err)
	}
	if left := leaf.NotAfter.Sub(e.now()); left < certificateSoon {
		fmt.Fprintf(e.stderr, "warning: sip.tls.certificate: %s expires in %d days\n", files.Certificate, int(left.Hours()/24))
	}
	return nil
}

// summary says in a few rows what a configuration does.
func summary(cfg *config.Config) [][2]string {
	listen := make([]string, len(cfg.SIP.Listen))
	for i, l := range cfg.SIP.Listen {
		listen[i] = l.String()
	}
	streams := cfg.Media.Ports.Streams()
	status := "off"
	if cfg.HTTP.Listen != "" {
		status = "http://" + cfg.HTTP.Listen + "/status"
	}
	rows := [][2]string{
		{"listeners", strings.Join(listen, ", ")},
		{"peers", networks(cfg.SIP.Peers)},
		{"security", fmt.Sprintf("SRTP %s, client certificates %s", cfg.SIP.SRTP, clientCertificates(cfg.SIP))},
		{"media", fmt.Sprintf("%s, ports %s: %d streams, %d calls of two", cfg.Media.Address, cfg.Media.Ports, streams, streams/2)},
		{"encoding", fmt.Sprintf("Opus %s, %d bit/s, complexity %d", cfg.Media.Layout, cfg.Media.Bitrate, cfg.Media.Complexity)},
		{"status", status},
		{"store", fmt.Sprintf("%s, segments of %s, %s kept free, %s", cfg.Store.Dir, strings.Replace(cfg.Store.Segment.String(), "m0s", "m", 1), cfg.Store.Reserve, count(len(cfg.Store.Recipients), "recipient"))},
		{"lines", lineSummary(cfg.Policy)},
		{"unlisted", map[string]string{"accept": "answered, not recorded", "refuse": "refused (403)"}[cfg.Policy.Unlisted]},
	}
	for _, o := range cfg.SIP.PeerOptions {
		rows = append(rows, [2]string{"peer options", peerOptions(o)})
	}
	return rows
}

// peerOptions says what is different for some peers.
func peerOptions(o config.PeerOptions) string {
	text := networks(o.Peers) + ":"
	for _, v := range []struct{ name, value string }{
		{"unwanted media", o.UnwantedMedia}, {"unlisted", o.Unlisted}, {"srtp", o.SRTP},
	} {
		if v.value != "default" {
			text += " " + v.name + " " + v.value + ","
		}
	}
	if o.Strict {
		text += " strict,"
	}
	if o.Snapshot {
		text += " snapshot,"
	}
	return strings.TrimRight(text, ",:")
}

// clientCertificates words what TLS asks of clients.
func clientCertificates(s config.SIP) string {
	if s.TLS.Certificate == "" {
		return "none (no TLS)"
	}
	return map[string]string{"none": "not asked for", "optional": "optional", "require": "required"}[s.TLS.ClientAuth]
}

func lineSummary(p policy.Policy) string {
	always, queues := 0, 0
	for _, l := range p.Lines {
		queues += len(l.Queues)
		if l.Always {
			always++
		}
	}
	return fmt.Sprintf("%d listed: %d always, %d during campaigns; %s",
		len(p.Lines), always, len(p.Lines)-always, count(queues, "sub-queue"))
}

// campaigns has a row for each line that is not always recorded: its windows,
// and what holds now.
func campaigns(p policy.Policy, e *env) [][2]string {
	rules, err := policy.New(p)
	if err != nil {
		return nil // Load has told why
	}
	var rows [][2]string
	for _, l := range p.Lines {
		if l.Always {
			continue
		}
		text := l.Name + ": no window, never recorded"
		for i, w := range l.Windows {
			if i == 0 {
				text = l.Name + ": "
			} else {
				text += "; "
			}
			text += windowText(w)
		}
		d := rules.Decide([]policy.Named{{Value: l.Number}}, e.now())
		rows = append(rows, [2]string{"campaigns", text + " (" + stateText(d, rules) + ")"})
	}
	return rows
}

func windowText(w policy.Window) string {
	text := fmt.Sprintf("%s, %s to %s", w.Name, w.From, w.To)
	if len(w.Days) > 0 {
		text += " on " + strings.Join(w.Days, " ")
	}
	if w.Hours != "" {
		text += ", " + w.Hours
	}
	return text
}

// stateText says what holds now and until when.
func stateText(d policy.Decision, rules *policy.Rules) string {
	state := "closed now"
	if d.Record {
		state = "open now"
	}
	if d.Until.IsZero() {
		return state + ", for good"
	}
	return state + ", until " + d.Until.In(rules.Location()).Format("2006-01-02 15:04 MST")
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func networks(list []netip.Prefix) string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.String()
	}
	return strings.Join(out, ", ")
}
