package wire

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/goleak"

	"siprecd/siprec/flood"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConfigIsChecked(t *testing.T) {
	good := func() Config {
		return Config{Listen: []string{"udp://127.0.0.1:0"}, Peers: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			Logger: slog.New(slog.DiscardHandler)}
	}
	if _, err := good().check(); err != nil {
		t.Fatal(err)
	}
	for name, breakIt := range map[string]func(*Config){
		"no logger": func(c *Config) { c.Logger = nil },
		"no listen": func(c *Config) { c.Listen = nil },
		"no peers":  func(c *Config) { c.Peers = nil },
		"bad peer":  func(c *Config) { c.Peers = []netip.Prefix{{}} },
		"no cert":   func(c *Config) { c.Listen = []string{"tls://127.0.0.1:0"} },
		"scheme":    func(c *Config) { c.Listen = []string{"ws://127.0.0.1:0"} },
		"no scheme": func(c *Config) { c.Listen = []string{"127.0.0.1:5060"} },
		"path":      func(c *Config) { c.Listen = []string{"udp://127.0.0.1:5060/x"} },
	} {
		c := good()
		breakIt(&c)
		if _, err := c.check(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for in, want := range map[string]string{"udp://127.0.0.1": "127.0.0.1:5060", "tls://[::1]": "[::1]:5061", "tcp://:5070": ":5070"} {
		if a, err := parseListen(in); err != nil || a.hostport != want {
			t.Errorf("%s: %v %v", in, a, err)
		}
	}
}

// FuzzScreen: whatever comes, the screen does not fail; what it lets through
// can be parsed and answered, and its own answers are SIP of one message.
func FuzzScreen(f *testing.F) {
	good := "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1;rport\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
	f.Add([]byte(good), false)
	f.Add([]byte(strings.Replace(good, "CSeq: 1", "CSeq: x", 1)), true)
	f.Add([]byte(strings.ReplaceAll(good, "\r\n", "\n")), false)
	f.Add([]byte("v: SIP/2.0/UDP h\r\n f: x\r\n"), true)
	s := &Stack{log: slog.New(slog.DiscardHandler), quiet: slog.New(slog.DiscardHandler), parser: sip.NewParser(), gate: flood.New(flood.Limits{}), counts: map[string]uint64{}}
	f.Fuzz(func(t *testing.T, in []byte, onStream bool) {
		reply, ok := s.screen(netip.MustParseAddr("10.0.0.1"), in, onStream)
		if len(reply) > 0 {
			text := string(reply)
			if ok || !strings.HasPrefix(text, "SIP/2.0 400 ") && !strings.HasPrefix(text, "SIP/2.0 503 ") && !strings.HasPrefix(text, "SIP/2.0 505 ") || strings.Count(text, "\r\n\r\n") != 1 || bareBreak(reply) {
				t.Errorf("reply %q", text)
			}
		}
		if !ok {
			return
		}
		msg, err := sip.ParseMessage(in)
		if err != nil && !onStream {
			t.Fatalf("let through: %v", err)
		}
		if req, isReq := msg.(*sip.Request); isReq && err == nil {
			_ = sip.NewResponseFromRequest(req, 200, "OK", nil).String()
		}
	})
}

func TestBadRequestNeedsAllFields(t *testing.T) {
	whole := "BYE sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP one\r\nVia: SIP/2.0/UDP two\r\nf: <sip:a@b>;tag=1\r\nt: <sip:c@d>\r\n\tfolded\r\ni: x\r\nCSeq: no BYE\r\n\r\nbody"
	got := stateless([]byte(whole), refusal{line: "400 Why", tag: "x"})
	for _, want := range []string{"SIP/2.0 400 Why\r\n", "Via: SIP/2.0/UDP one\r\nVia: SIP/2.0/UDP two\r\n", "To: <sip:c@d> folded;tag=", "CSeq: no BYE\r\n"} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
	for name, in := range map[string]string{
		"ack":      strings.Replace(whole, "BYE sip", "ACK sip", 1),
		"response": strings.Replace(whole, "BYE sip:a@b SIP/2.0", "SIP/2.0 200 OK", 1),
		"no via":   strings.NewReplacer("v:", "w:", "Via:", "w:").Replace(whole),
		"no cseq":  strings.Replace(whole, "CSeq", "Seq", 1),
	} {
		if got := stateless([]byte(in), refusal{line: "400 Why", tag: "x"}); got != nil {
			t.Errorf("%s: answered %q", name, got)
		}
	}
}

// TestNothingOpensAfterClose closes while requests come in: one that sipgo
// handles late must not open a socket for its answer.
func TestNothingOpensAfterClose(t *testing.T) {
	for range 50 {
		s, err := New(Config{Listen: []string{"udp://127.0.0.1:0"}, Peers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
			Logger: slog.New(slog.DiscardHandler)}, func(sip.Message) {}, func(_ *sip.Request, tx *sip.ServerTx) { tx.Terminate() })
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		c, err := net.Dial("udp", strings.TrimPrefix(s.Addrs()[0], "udp://"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			fmt.Fprintf(c, "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%d\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x%d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", c.LocalAddr(), i, i)
		}
		s.Close()
		c.Close()
	}
}
