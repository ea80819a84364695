package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"siprecd/store/audit/sinks"
	"siprecd/store/policy"
)

// Limits of what can be configured, and why.
const (
	minStereoBitrate = 20000 // below it, libopus gives up keeping two voices apart
	minMonoBitrate   = 6000  // libopus' own limits
	maxBitrate       = 510000
	maxComplexity    = 10
	minSegment       = 5 * time.Second  // shorter: more envelope than audio
	maxSegment       = 10 * time.Minute // longer: too much is in the journal only
	minPort          = 1024
	callStreams      = 2 // streams of an ordinary call
	minFlood         = 10
	maxFlood         = 10000
	maxDrain         = 24 * time.Hour
	longDrain        = 50 * time.Second // what fits into TimeoutStopSec=90 with the finishing after it
)

// validate checks what single values cannot show.
func (l *loader) validate(c *Config, now time.Time) {
	l.sip(c.SIP)
	l.media(c)
	l.http(c)
	l.store(c.Store)
	l.alarms(c.Alarms)
	l.stop(c.Stop)
	l.audit(c.Audit)
	for _, p := range c.Policy.Validate(now) {
		if p.Severity == policy.Warning {
			l.warnKey(join("policy", p.Key), "%s", p.Text)
		} else {
			l.failKey(join("policy", p.Key), "%s", p.Text)
		}
	}
}

func (l *loader) sip(s SIP) {
	if len(s.Listen) == 0 {
		l.failKey("sip.listen", "no address is listed: recording clients could not reach the server")
	}
	secure := false
	for i, a := range s.Listen {
		key := fmt.Sprintf("sip.listen.%d", i)
		secure = secure || a.Transport == "tls"
		if slices.Contains(s.Listen[:i], a) {
			l.failKey(key, "%s is listed twice", a)
		}
	}
	if len(s.Peers) == 0 {
		l.failKey("sip.peers", "no recording client is allowed: list the addresses of the session border controllers")
	}
	for i, p := range s.Peers {
		if p.Bits() == 0 {
			l.warnKey(fmt.Sprintf("sip.peers.%d", i), "%s lets the whole world place recordings here", p)
		}
	}
	l.tls(s.TLS, secure)
	l.peerOptions(s)
	l.flood(s.Flood)
}

// flood checks that the limits leave room for an ordinary client and mean
// something against one that is not.
func (l *loader) flood(f Flood) {
	for key, v := range map[string]int{"rate": f.Rate, "burst": f.Burst, "pending": f.Pending} {
		if v < minFlood || v > maxFlood {
			l.failKey("sip.flood."+key, "%d is out of range: write %d to %d", v, minFlood, maxFlood)
		}
	}
}

// peerOptions checks that each entry is for somebody, and each somebody has one.
func (l *loader) peerOptions(s SIP) {
	seen := map[netip.Prefix]string{}
	for i, o := range s.PeerOptions {
		if len(o.Peers) == 0 {
			l.failKey(fmt.Sprintf("sip.peer_options.%d.peers", i), "no address is listed: whom are these options for?")
		}
		for j, p := range o.Peers {
			key := fmt.Sprintf("sip.peer_options.%d.peers.%d", i, j)
			if first, twice := seen[p]; twice {
				l.failKey(key, "%s has options already, at %s", p, first)
			} else if !slices.ContainsFunc(s.Peers, p.Overlaps) {
				l.warnKey(key, "it has no effect: nobody in %s is allowed by sip.peers", p)
			}
			seen[p] = key
		}
	}
}

func (l *loader) tls(t TLS, secure bool) {
	switch {
	case secure && t.Certificate == "":
		l.failKey("sip.tls.certificate", "a tls:// address is listed in sip.listen, so a certificate is needed")
	case t.Certificate != "" && t.Key == "":
		l.failKey("sip.tls.key", "the certificate needs its key")
	case t.Certificate == "" && t.Key != "":
		l.failKey("sip.tls.certificate", "the key needs its certificate")
	case t.Certificate != "" && !secure:
		l.warnKey("sip.tls.certificate", "it is not used: no tls:// address is listed in sip.listen")
	}
	l.clients(t)
}

// clients checks what is asked of clients' certificates.
func (l *loader) clients(t TLS) {
	if t.ClientAuth != "none" && t.ClientCA == "" {
		l.failKey("sip.tls.client_ca", "client_auth: %s needs the authority that signs clients' certificates", t.ClientAuth)
	}
	if t.ClientAuth == "none" && t.ClientCA != "" {
		l.warnKey("sip.tls.client_ca", "it is not used: client_auth is none")
	}
}

func (l *loader) http(c *Config) {
	if c.HTTP.Listen == "" {
		return
	}
	if err := checkHostPort(c.HTTP.Listen); err != nil {
		l.failKey("http.listen", "%v; write host:port, or '' for off", err)
	}
	for _, a := range c.SIP.Listen {
		if a.Transport != "udp" && a.Address == c.HTTP.Listen {
			l.failKey("http.listen", "%s has this address too", a)
		}
	}
}

func (l *loader) media(c *Config) {
	m := c.Media
	if m.Address.IsUnspecified() || m.Address.IsMulticast() {
		l.failKey("media.address", "%s cannot be sent media to: write the address of this machine that the recording clients reach", m.Address)
	}
	if m.Ports.Min < minPort {
		l.failKey("media.ports", "%d is a reserved port: begin at %d or above", m.Ports.Min, minPort)
	}
	if m.Ports.Streams() < callStreams {
		l.failKey("media.ports", "%s has no room for one call: RTP takes the even ports, and a call has two streams", m.Ports)
	}
	for i, a := range c.SIP.Listen {
		if a.Transport == "udp" && a.Port() >= m.Ports.Min && a.Port() <= m.Ports.Max {
			l.failKey(fmt.Sprintf("sip.listen.%d", i), "port %d lies in media.ports, %s", a.Port(), m.Ports)
		}
	}
	l.encoding(m)
}

// alarms checks the thresholds: less than the least says nothing, for pauses
// and jitter are shorter; more than the most is nobody's wish.
func (l *loader) alarms(a Alarms) {
	for _, k := range []struct {
		key         string
		value       time.Duration
		least, most time.Duration
	}{
		{"no_media", a.NoMedia, time.Second, time.Minute},
		{"silence", a.Silence, 2 * time.Second, time.Hour},
		{"certificate", a.Certificate, time.Hour, 366 * 24 * time.Hour},
		{"quiet", a.Quiet, 5 * time.Second, 7 * 24 * time.Hour},
	} {
		if k.value != 0 && (k.value < k.least || k.value > k.most) {
			l.failKey("alarms."+k.key, "%s is out of range: write %s to %s, or 0s for off", k.value, k.least, k.most)
		}
	}
}

// audit checks where checkpoints go.
func (l *loader) audit(a Audit) {
	for i, text := range a.Checkpoints {
		key := fmt.Sprintf("audit.checkpoints.%d", i)
		if _, err := sinks.Parse(text); err != nil {
			l.failKey(key, "%v", err)
		} else if slices.Contains(a.Checkpoints[:i], text) {
			l.failKey(key, "it is listed twice")
		}
	}
}

// stop checks how long a drain may take. systemd kills what has not ended 90 s
// after SIGTERM, and finishing takes its time too.
func (l *loader) stop(s Stop) {
	switch {
	case s.Drain < 0 || s.Drain > maxDrain:
		l.failKey("shutdown.drain", "%s is out of range: write 0s to %s", s.Drain, maxDrain)
	case s.Drain > longDrain:
		l.warnKey("shutdown.drain", "%s is longer than systemd waits by default: set TimeoutStopSec to %.0f or more", s.Drain, (s.Drain + 40*time.Second).Seconds())
	}
}

func (l *loader) encoding(m Media) {
	least := minMonoBitrate
	if m.Layout == "stereo" {
		least = minStereoBitrate
	}
	if m.Bitrate < least || m.Bitrate > maxBitrate {
		l.failKey("media.bitrate", "%d is out of range: write %d to %d bit/s for layout %s", m.Bitrate, least, maxBitrate, m.Layout)
	}
	if m.Complexity < 0 || m.Complexity > maxComplexity {
		l.failKey("media.complexity", "%d is out of range: write 0 to %d", m.Complexity, maxComplexity)
	}
}

func (l *loader) store(s Store) {
	if s.Dir == "" {
		l.failKey("store.dir", "a folder is needed; . is the folder of this file")
	}
	if s.Segment < minSegment || s.Segment > maxSegment {
		l.failKey("store.segment", "%s is out of range: write %s to %s", s.Segment, minSegment, maxSegment)
	}
	if len(s.Recipients) == 0 {
		l.failKey("store.recipients", "no recipient is listed: nobody could ever open a recording")
	}
	if len(s.Recipients) == 1 {
		l.warnKey("store.recipients", "there is only one: when its key is lost, every recording is lost; add an offline escrow recipient")
	}
	kinds := map[string]bool{}
	for i, r := range s.Recipients {
		key := fmt.Sprintf("store.recipients.%d", i)
		kind, err := recipientKind(r)
		switch {
		case err != nil:
			l.failKey(key, "%v", err)
		case slices.Contains(s.Recipients[:i], r):
			l.failKey(key, "this recipient is listed twice")
		case len(kinds) > 0 && !kinds[kind]:
			l.failKey(key, "recipients must be all of one kind, all age1… or all age1pq…")
		default:
			kinds[kind] = true
		}
	}
}

// recipientKind tells age's recipients apart by what they begin with. Its
// errors do not repeat the text, which may be a key pasted into the wrong
// place.
func recipientKind(s string) (string, error) {
	if strings.Contains(strings.ToUpper(s), "SECRET-KEY") {
		return "", fmt.Errorf("this is a secret key: list the recipient that belongs to it, and replace the key, as it was written down here")
	}
	parsed, err := age.ParseRecipients(strings.NewReader(s))
	if err != nil || len(parsed) != 1 {
		return "", fmt.Errorf("this is not an age recipient (age1…)")
	}
	return fmt.Sprintf("%T", parsed[0]), nil
}
