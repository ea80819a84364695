package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"go.yaml.in/yaml/v3"

	"siprecd/store/policy"
)

func recipients(t testing.TB, n int) []string {
	t.Helper()
	out := make([]string, n)
	for i := range out {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		out[i] = id.Recipient().String()
	}
	return out
}

// written puts a configuration into a folder of its own.
func written(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "siprecd.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// minimal is a configuration of required keys only.
func minimal(t testing.TB) string {
	r := recipients(t, 2)
	return `
sip: {listen: [udp://10.0.0.5:5060], peers: [10.1.0.0/16, 10.0.0.9]}
media: {address: 10.0.0.5}
store: {recipients: [` + r[0] + `, ` + r[1] + `]}
policy: {lines: [{name: Council tax, number: 02088257050}]}
`
}

func TestDefaults(t *testing.T) {
	path := written(t, minimal(t))
	cfg, warnings, err := Load(path, nil, noon())
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	want := &Config{
		File: path, Hash: cfg.Hash,
		SIP: SIP{
			Listen: []Listener{{"udp", "10.0.0.5:5060"}},
			Peers:  []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.0.0.9/32")},
			TLS:    TLS{ClientAuth: "none"},
			SRTP:   "prefer", UnwantedMedia: "inactive",
			Flood: Flood{Rate: 100, Burst: 400, Pending: 300},
		},
		Media:  Media{Address: netip.MustParseAddr("10.0.0.5"), Ports: PortRange{20000, 29999}, Layout: "stereo", Bitrate: 36000, Complexity: 5},
		HTTP:   HTTP{Listen: "127.0.0.1:8080"},
		Store:  Store{Dir: filepath.Dir(path), Segment: time.Minute, Recipients: cfg.Store.Recipients, Reserve: 1 << 30},
		Log:    Log{Level: "info", Format: "text"},
		Alarms: Alarms{NoMedia: 7 * time.Second, Silence: time.Minute, Certificate: 336 * time.Hour},
		Stop:   Stop{Drain: 30 * time.Second},
		Policy: policy.Policy{
			Timezone: "Europe/London", Unlisted: "accept",
			Numbering: policy.Numbering{Country: "44", Trunk: "0", Area: "20", Extension: 4},
			Lines:     []policy.Line{{Name: "Council tax", Number: "02088257050", Always: true}},

			KeepMetadata: []string{"all"},
		},
	}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}
}

// TestEveryKeyIsRead gives every key a value that is not its default and looks
// for it.
func TestEveryKeyIsRead(t *testing.T) {
	r := recipients(t, 2)
	path := written(t, `
sip:
  listen: ["tls://0.0.0.0:5061"]
  peers: ["2001:db8::/32"]
  tls: {certificate: cert.pem, key: /etc/key.pem, client_ca: ../ca.pem, client_auth: require}
  srtp: require
  unwanted_media: reject
  flood: {rate: 10, burst: 20, pending: 30}
  peer_options:
    - {peers: ["2001:db8:1::/48"], unwanted_media: inactive, unlisted: accept, srtp: off, strict: true, snapshot: true}
media: {address: "2001:db8::5", ports: 30000-30003, layout: mono, bitrate: 12000, complexity: 0}
http: {listen: ''}
store: {dir: recordings, segment: 10m, recipients: [`+r[0]+`, `+r[1]+`], reserve: 500MB}
log: {level: debug, format: json}
alarms: {no_media: 0s, silence: 5s, certificate: 48h, quiet: 10m}
shutdown: {drain: 0s}
policy:
  timezone: America/New_York
  numbering: {country: 1, trunk: 1, area: 212, extension: 0}
  unlisted: refuse
  keep_metadata: [caller, parties]
  lines:
    - name: Polls
      number: 212 555 0123
      record: campaigns
      windows: [{name: May, from: 2027-05-01, to: 2027-05-09, days: [mon], hours: 08:00-20:00}]
      queues: [{name: Desk, internal: true, match: 212 555 0124}]
`)
	cfg, warnings, err := Load(path, nil, noon())
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	dir := filepath.Dir(path)
	want := &Config{
		File: path, Hash: cfg.Hash,
		SIP: SIP{
			Listen: []Listener{{"tls", "0.0.0.0:5061"}},
			Peers:  []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")},
			TLS: TLS{Certificate: filepath.Join(dir, "cert.pem"), Key: "/etc/key.pem",
				ClientCA: filepath.Join(filepath.Dir(dir), "ca.pem"), ClientAuth: "require"},
			SRTP: "require", UnwantedMedia: "reject",
			PeerOptions: []PeerOptions{{Peers: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/48")},
				UnwantedMedia: "inactive", Unlisted: "accept", SRTP: "off", Strict: true, Snapshot: true}},
			Flood: Flood{Rate: 10, Burst: 20, Pending: 30},
		},
		Media:  Media{Address: netip.MustParseAddr("2001:db8::5"), Ports: PortRange{30000, 30003}, Layout: "mono", Bitrate: 12000},
		Store:  Store{Dir: filepath.Join(dir, "recordings"), Segment: 10 * time.Minute, Recipients: r, Reserve: 5e8},
		Log:    Log{Level: "debug", Format: "json"},
		Alarms: Alarms{Silence: 5 * time.Second, Certificate: 48 * time.Hour, Quiet: 10 * time.Minute},
		Policy: policy.Policy{
			Timezone: "America/New_York", Unlisted: "refuse",
			Numbering:    policy.Numbering{Country: "1", Trunk: "1", Area: "212"},
			KeepMetadata: []string{"caller", "parties"},
			Lines: []policy.Line{{Name: "Polls", Number: "212 555 0123",
				Windows: []policy.Window{{Name: "May", From: "2027-05-01", To: "2027-05-09", Days: []string{"mon"}, Hours: "08:00-20:00"}},
				Queues:  []policy.Queue{{Name: "Desk", Internal: true, Match: "212 555 0124"}}}},
		},
	}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}
}

func TestExampleIsCompleteAndDefault(t *testing.T) {
	text := string(Example(recipients(t, 2)))
	for _, key := range keysOf(reflect.TypeFor[Config](), "") {
		name := key[strings.LastIndexByte(key, '.')+1:]
		if !regexp.MustCompile(`(?m)^[ #-]*(from,)?` + name + `\b`).MatchString(text) {
			t.Errorf("the example does not show %s", key)
		}
	}
	path := written(t, text)
	example, warnings, err := Load(path, nil, noon())
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	// What is required is left; the rest goes and must come back as default.
	required := `
sip: {listen: [udp://127.0.0.1:5060, tcp://127.0.0.1:5060], peers: [127.0.0.0/8]}
media: {address: 127.0.0.1}
store: {recipients: [` + strings.Join(example.Store.Recipients, ", ") + `]}
policy:
` + text[strings.Index(text, "  lines:\n"):]
	defaults, _, err := Load(written(t, required), nil, noon())
	if err != nil {
		t.Fatal(err)
	}
	defaults.File, defaults.Hash, defaults.Store.Dir = example.File, example.Hash, example.Store.Dir
	if !reflect.DeepEqual(example, defaults) {
		t.Errorf("a value of the example is not the default it claims to be\n%+v\n%+v", example, defaults)
	}
	if n := len(example.Policy.Lines); n != 23 {
		t.Errorf("the example lists %d lines", n)
	}
}

func TestSetOnAnEmptyFile(t *testing.T) {
	r := recipients(t, 2)
	cfg, _, err := Load(written(t, ""), []string{
		"sip.listen.0=udp://10.0.0.5:5060", "sip.listen.1=tcp://10.0.0.5:5060", "sip.peers=[10.0.0.0/8]",
		"media.address=10.0.0.5", "store.recipients.0=" + r[0], "store.recipients.1=" + r[1],
		"policy.lines.0.name=Council tax", "policy.lines.0.number=020 8825 7050", "http.listen=''",
	}, noon())
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.SIP.Listen) != 2 || cfg.HTTP.Listen != "" || cfg.Policy.Lines[0].Number != "020 8825 7050" {
		t.Errorf("%+v", cfg)
	}
}

func TestLaterSetWins(t *testing.T) {
	cfg, _, err := Load(written(t, minimal(t)), []string{"log.level=debug", "log={level: warn}", "log.format=json"}, noon())
	if err != nil || cfg.Log != (Log{"warn", "json"}) {
		t.Errorf("%+v, %v", cfg, err)
	}
}

func TestProblemsAreValues(t *testing.T) {
	path := written(t, minimal(t)+"lgo: {}\n")
	_, _, err := Load(path, []string{"media.complexity=12"}, noon())
	e, ok := errors.AsType[*Error](err)
	if !ok || len(e.Problems) != 2 {
		t.Fatalf("%v", err)
	}
	if p := e.Problems[0]; p.At != path+":6:1" || p.Key != "lgo" {
		t.Errorf("%+v", p)
	}
	if p := e.Problems[1]; p.At != "--set media.complexity" || p.Key != "media.complexity" {
		t.Errorf("%+v", p)
	}
}

func TestThresholdsAreChecked(t *testing.T) {
	path := written(t, minimal(t))
	for set, want := range map[string]string{
		"alarms.no_media=500ms": "write 1s to 1m0s", "alarms.silence=-1s": "write 2s to 1h0m0s",
		"alarms.certificate=1m": "write 1h0m0s", "alarms.quiet=1s": "write 5s", "shutdown.drain=25h": "write 0s to 24h0m0s",
		"shutdown.drain=soon": "not a duration", "sip.flood.rate=5": "write 10 to 10000", "sip.flood.pending=-1": "write 10",
	} {
		if _, _, err := Load(path, []string{set}, noon()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", set, err, want)
		}
	}
	_, warnings, err := Load(path, []string{"shutdown.drain=2m"}, noon())
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].String(), "TimeoutStopSec to 160") {
		t.Errorf("a drain longer than systemd waits: %v %v", err, warnings)
	}
}

func TestUnreadableFile(t *testing.T) {
	_, _, err := Load(t.TempDir(), nil, noon())
	if err == nil {
		t.Fatal("a folder was read as a file")
	}
	if _, bad := errors.AsType[*Error](err); bad {
		t.Errorf("%v is told as a problem of the content", err)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"listen", "peers", "tls", "certificate", "complexity"}
	for _, tt := range []struct{ in, want string }{
		{"lisen", "listen"}, {"Listen", "listen"}, {"listne", "listen"}, {"peer", "peers"}, {"cert", "certificate"},
		{"complex", "complexity"}, {"tsl", "tls"}, {"x", ""}, {"recipients", ""}, {"", ""},
	} {
		if got := nearest(tt.in, words); got != tt.want {
			t.Errorf("nearest(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestBytes(t *testing.T) {
	for _, tt := range []struct {
		in, out string
		want    Bytes
	}{
		{"0", "0", 0}, {"1", "1B", 1}, {"1GiB", "1GiB", 1 << 30}, {"2 TB", "2TB", 2e12}, {"10kB", "10kB", 10000},
		{"512MiB", "512MiB", 512 << 20}, {"7B", "7B", 7},
	} {
		var b Bytes
		if err := b.UnmarshalText([]byte(tt.in)); err != nil || b != tt.want {
			t.Errorf("%q: %d, %v", tt.in, b, err)
		}
		var again Bytes
		if err := again.UnmarshalText([]byte(b.String())); err != nil || again != b {
			t.Errorf("%q is printed as %q", tt.in, b)
		}
	}
	for _, bad := range []string{"", "GiB", "-1", "1.5GiB", "1gib", "99999999TiB", "1 2"} {
		if err := new(Bytes).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestStreams(t *testing.T) {
	for _, tt := range []struct{ min, max, want int }{
		{20000, 29999, 5000}, {20000, 20003, 2}, {20001, 20004, 2}, {20001, 20001, 0}, {20000, 20000, 1},
	} {
		if got := (PortRange{tt.min, tt.max}).Streams(); got != tt.want {
			t.Errorf("%d-%d: %d streams, want %d", tt.min, tt.max, got, tt.want)
		}
	}
}

// FuzzLoad: whatever stands in the file or a --set, it is read or refused with
// a place, never more.
func FuzzLoad(f *testing.F) {
	f.Add(minimal(f), "media.ports=1-2")
	f.Add(string(Example(nil)), "policy.lines.0.queues.0.name=x")
	f.Add("sip: [", "a.b.c={}")
	f.Add("? [a]\n: b\n&x y: *x\n", "0.0=1")
	now := noon()
	f.Fuzz(func(t *testing.T, text, set string) {
		l := newLoader("f")
		root := l.parse([]byte(text))
		l.set(root, set)
		cfg := &Config{}
		if root != nil {
			l.mapping(root, "", reflect.ValueOf(cfg).Elem())
			l.validate(cfg, now)
		}
		for _, p := range append(l.problems, l.warnings...) {
			if p.At == "" || p.Text == "" {
				t.Fatalf("%+v", p)
			}
		}
		if len(l.problems) == 0 {
			if _, err := policy.New(cfg.Policy); err != nil {
				t.Fatalf("the policy was accepted, but: %v", err)
			}
		}
	})
}

// TestLiterals: every default of every struct is YAML of its type.
func TestLiterals(t *testing.T) {
	l := newLoader("f")
	var lines policy.Line
	var queue policy.Queue
	var window policy.Window
	empty := func() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode} }
	l.mapping(empty(), "", reflect.ValueOf(&Config{}).Elem())
	l.mapping(empty(), "line", reflect.ValueOf(&lines).Elem())
	l.mapping(empty(), "queue", reflect.ValueOf(&queue).Elem())
	l.mapping(empty(), "window", reflect.ValueOf(&window).Elem())
	for _, p := range l.problems {
		if !strings.HasPrefix(p.Text, "missing: ") {
			t.Errorf("%s: %s", p.Key, p.Text)
		}
	}
}

// The hash is of the text and of what is laid over it.
func TestHash(t *testing.T) {
	seen := map[string]bool{}
	for _, text := range []string{"a: 1", "a: 2"} {
		for _, sets := range [][]string{nil, {"log.level=debug"}} {
			for range 2 {
				seen[hashOf([]byte(text), sets)] = true
			}
		}
	}
	if len(seen) != 4 {
		t.Error(seen)
	}
}
