// Package config reads siprecd's configuration: one YAML file, plus single
// keys given on the command line.
//
//	file ──┐
//	       ├─► tree of YAML nodes ─► decode ─► validate ─► *Config
//	--set ─┘   (positions kept)        │          │
//	                                   └─ every problem at once, each with file:line:column, key and hint
//
// Promises: a key that is not known, stands twice, has the wrong type or a bad
// value is refused, never ignored and never replaced by a default; a default
// applies to an absent key only. What the struct tags below say is all that
// the reader knows: a key exists because a field does.
//
// Tags: `yaml` is the key; `default` is the value of an absent key, in YAML;
// `required` means that there is no default; `oneof` lists the words that are
// allowed; on a bool it gives the words for false and true.
//
// Caveats: anchors and aliases are not read, so that every value has one
// place; relative paths in the file are relative to the file.
package config

import (
	"net/netip"
	"time"

	"siprecd/store/audit/sinks"
	"siprecd/store/policy"
)

// Config is everything that an operator decides.
type Config struct {
	File string `yaml:"-"` // where it was read, absolute
	Hash string `yaml:"-"` // SHA-256 in hex of its text and of what was laid over it

	SIP    SIP           `yaml:"sip"`
	Media  Media         `yaml:"media"`
	HTTP   HTTP          `yaml:"http"`
	Store  Store         `yaml:"store"`
	Log    Log           `yaml:"log"`
	Alarms Alarms        `yaml:"alarms"`
	Stop   Stop          `yaml:"shutdown"`
	Audit  Audit         `yaml:"audit"`
	Policy policy.Policy `yaml:"policy"`
}

// SIP is where recording clients reach the server, and which may.
type SIP struct {
	Listen []Listener     `yaml:"listen" required:"true"` // at least one
	Peers  []netip.Prefix `yaml:"peers" required:"true"`  // masked; a single address is a prefix of full length
	TLS    TLS            `yaml:"tls"`

	SRTP          string        `yaml:"srtp" default:"prefer" oneof:"off|prefer|require"`
	UnwantedMedia string        `yaml:"unwanted_media" default:"inactive" oneof:"inactive|reject"`
	PeerOptions   []PeerOptions `yaml:"peer_options" default:"[]"` // the narrowest network that holds an address counts
	Flood         Flood         `yaml:"flood"`
}

// Flood is what one recording client may ask for; what is more gets 503.
type Flood struct {
	Rate    int `yaml:"rate" default:"100"`    // new calls a second, for ever
	Burst   int `yaml:"burst" default:"400"`   // new calls at once
	Pending int `yaml:"pending" default:"300"` // calls that it has not acknowledged yet
}

// PeerOptions are for recording clients that differ from the others. The word
// default stands for what sip and policy say for all.
type PeerOptions struct {
	Peers         []netip.Prefix `yaml:"peers" required:"true"`
	UnwantedMedia string         `yaml:"unwanted_media" default:"default" oneof:"default|inactive|reject"`
	Unlisted      string         `yaml:"unlisted" default:"default" oneof:"default|accept|refuse"`
	SRTP          string         `yaml:"srtp" default:"default" oneof:"default|off|prefer|require"`
	Strict        bool           `yaml:"strict" default:"false"`   // RFC 7866 section 6.2 to the letter
	Snapshot      bool           `yaml:"snapshot" default:"false"` // the client answers a request for its whole metadata
}

// TLS is used by the tls:// listeners.
type TLS struct {
	Certificate string `yaml:"certificate" default:"''"` // PEM file, absolute; "" without a tls:// listener
	Key         string `yaml:"key" default:"''"`         // PEM file, absolute
	ClientCA    string `yaml:"client_ca" default:"''"`   // PEM file, absolute: who signs clients' certificates
	ClientAuth  string `yaml:"client_auth" default:"none" oneof:"none|optional|require"`
}

// Media is where media is received and how it is encoded.
type Media struct {
	Address    netip.Addr `yaml:"address" required:"true"`     // goes into the SDP, so never unspecified
	Ports      PortRange  `yaml:"ports" default:"20000-29999"` // RTP takes the even ones
	Layout     string     `yaml:"layout" default:"stereo" oneof:"stereo|mono"`
	Bitrate    int        `yaml:"bitrate" default:"36000"` // bit/s for the whole recording
	Complexity int        `yaml:"complexity" default:"5"`  // Opus, 0 to 10
}

// HTTP is the status and metrics endpoint.
type HTTP struct {
	Listen string `yaml:"listen" default:"127.0.0.1:8080"` // host:port; "" is off
}

// Store is where recordings are kept and who can open them.
type Store struct {
	Dir        string        `yaml:"dir" default:"."`            // absolute after loading
	Segment    time.Duration `yaml:"segment" default:"60s"`      // 5 s to 10 min
	Recipients []string      `yaml:"recipients" required:"true"` // age recipients, all of one kind
	Reserve    Bytes         `yaml:"reserve" default:"1GiB"`     // free bytes below which new calls get 503
}

// Alarms say when a live call, or the machine, is told to be at fault. 0 turns
// an alarm off.
type Alarms struct {
	NoMedia     time.Duration `yaml:"no_media" default:"7s"`      // a leg that is not on hold has brought no packet; one-way too
	Silence     time.Duration `yaml:"silence" default:"60s"`      // a leg has brought packets, but none above -60 dBov
	Certificate time.Duration `yaml:"certificate" default:"336h"` // so long before it expires
	Quiet       time.Duration `yaml:"quiet" default:"0s"`         // a client that was heard before sends nothing at all
}

// Stop is how the server ends.
type Stop struct {
	Drain time.Duration `yaml:"drain" default:"30s"` // how long SIGTERM waits for live calls to end by themselves
}

// Audit is where the audit log's checkpoints go, out of this machine's reach.
type Audit struct {
	Checkpoints []string `yaml:"checkpoints" default:"[]"` // file:///path, syslog://, syslog://host:port, https://host/path
}

// Sinks are the targets, which loading has checked.
func (a Audit) Sinks() (list []sinks.Target) {
	for _, text := range a.Checkpoints {
		if t, err := sinks.Parse(text); err == nil {
			list = append(list, t)
		}
	}
	return list
}

// Log is how the server logs.
type Log struct {
	Level  string `yaml:"level" default:"info" oneof:"debug|info|warn|error"`
	Format string `yaml:"format" default:"text" oneof:"text|json"`
}
