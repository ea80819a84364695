package main

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"siprecd/siprec/siprectest"
	"siprecd/store"
)

// issueUntil makes NAME.pem and NAME.key for 127.0.0.1, with a serial number
// and an end.
func (a *authority) issueUntil(name string, serial int64, end time.Time) {
	a.t.Helper()
	a.write(name, &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name + ".example"},
		NotBefore: end.Add(-48 * time.Hour), NotAfter: end, DNSNames: []string{"alt." + name + ".example"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, a.cert, a.key)
}

// client is a TLS configuration that trusts the authority and shows the
// certificate of a name, "" for none.
func (a *authority) client(name string) *tls.Config {
	a.t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	c := &tls.Config{RootCAs: pool}
	if name != "" {
		cert, err := tls.LoadX509KeyPair(a.path(name+".pem"), a.path(name+".key"))
		if err != nil {
			a.t.Fatal(err)
		}
		// Shown whoever the server says it trusts, as SBCs do.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	return c
}

// knock makes a TLS connection and asks OPTIONS over it, for a refused
// certificate shows only then. It returns the server's serial number and
// whether there was an answer.
func knock(t *testing.T, addr string, c *tls.Config) (serial int64, answered bool) {
	t.Helper()
	d := tls.Dialer{Config: c, NetDialer: &net.Dialer{Timeout: 20 * time.Second}}
	conn, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return 0, false
	}
	defer conn.Close()
	serial = conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = conn.Write([]byte("OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bKk\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=k\r\n" +
		"To: <sip:x@y>\r\nCall-ID: k\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"))
	b := make([]byte, 12)
	n, _ := conn.Read(b)
	return serial, strings.HasPrefix(string(b[:n]), "SIP/2.0 200")
}

// secured is a server with one TLS listener.
func secured(t *testing.T, ca *authority, auth string) (s *server, addr string) {
	t.Helper()
	port := freePort(t)
	s = newServer(t, "sip.listen=[tls://127.0.0.1:"+port+"]",
		"sip.tls.certificate="+ca.path("recorder.pem"), "sip.tls.key="+ca.path("recorder.key"),
		"sip.tls.client_ca="+ca.path("ca.pem"), "sip.tls.client_auth="+auth)
	return s, "127.0.0.1:" + port
}

func TestClientCertificatesAreJudged(t *testing.T) {
	t.Parallel()
	ca, foreign := newAuthority(t), newAuthority(t)
	ca.issueUntil("recorder", 100, time.Now().Add(time.Hour))
	ca.issueUntil("sbc", 101, time.Now().Add(time.Hour))
	ca.issueUntil("old", 102, time.Now().Add(-time.Hour))
	foreign.issueUntil("stranger", 103, time.Now().Add(time.Hour))
	stranger := ca.client("")
	stranger.GetClientCertificate = foreign.client("stranger").GetClientCertificate
	capped := func(c *tls.Config, least, most uint16) *tls.Config {
		c.MinVersion, c.MaxVersion = least, most
		return c
	}
	for _, auth := range []string{"require", "optional"} {
		s, addr := secured(t, ca, auth)
		s.start()
		for _, c := range []struct {
			name    string
			tls     *tls.Config
			ok      bool
			counted string
			version string
		}{
			{"good, TLS 1.3", ca.client("sbc"), true, "", "TLS 1.3"},
			{"good, TLS 1.2", capped(ca.client("sbc"), 0, tls.VersionTLS12), true, "", "TLS 1.2"},
			{"none", ca.client(""), auth == "optional", "tls-no-certificate", "TLS 1.3"},
			{"none, TLS 1.2", capped(ca.client(""), 0, tls.VersionTLS12), auth == "optional", "tls-no-certificate", "TLS 1.2"},
			{"expired", ca.client("old"), false, "tls-certificate-expired", ""},
			{"expired, TLS 1.2", capped(ca.client("old"), 0, tls.VersionTLS12), false, "tls-certificate-expired", ""},
			{"unknown authority", stranger, false, "tls-unknown-authority", ""},
			{"TLS 1.1", capped(ca.client("sbc"), tls.VersionTLS10, tls.VersionTLS11), false, "tls-version", ""},
			{"the client does not trust us", foreign.client("stranger"), false, "tls-refused-by-client", ""},
		} {
			before := s.status().Refusals[c.counted]
			_, ok := knock(t, addr, c.tls)
			if ok != c.ok {
				t.Errorf("%s, %s: answered %v", auth, c.name, ok)
			}
			if c.ok {
				if p := s.peer("127.0.0.1"); p.TLS == nil || p.TLS.Version != c.version || p.Transport != "tls" {
					t.Errorf("%s, %s: peer %+v, TLS %+v", auth, c.name, p, p.TLS)
				}
				continue
			}
			await(t, auth+", "+c.name+" to be counted", 20*time.Second, func() bool { return s.status().Refusals[c.counted] == before+1 })
			if r := s.peer("127.0.0.1").Refused; r == nil || r.Method != "TLS" || r.Reason != c.counted {
				t.Errorf("%s, %s: last refusal %+v", auth, c.name, r)
			}
		}
		if log := s.log.String(); !strings.Contains(log, "a client connected over TLS") || strings.Contains(log, "sbc.example") {
			t.Errorf("%s: the audit lines are missing, or name the client", auth)
		}
		s.kill(syscall.SIGTERM)
	}
}

func TestClientIdentityIsKeptWithTheRecording(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.issueUntil("recorder", 1, time.Now().Add(time.Hour))
	ca.issueUntil("sbc", 2, time.Now().Add(time.Hour))
	s, addr := secured(t, ca, "require")
	s.start()
	r := s.call(siprectest.Options{Target: "tls://" + addr, TLS: ca.client("sbc"), To: "02088257050", Duration: 500 * time.Millisecond})
	if !r.OK() {
		t.Fatalf("%+v", r)
	}
	row := s.finished(1)[0]
	p := s.peer("127.0.0.1")
	if p.Calls != 1 || p.TLS == nil || p.TLS.Subject != "sbc.example" || len(p.TLS.Fingerprint) != 64 ||
		time.Until(p.TLS.Expires) > time.Hour || time.Until(p.TLS.Expires) < 50*time.Minute {
		t.Errorf("%+v %+v", p, p.TLS)
	}
	dir := filepath.Join(t.TempDir(), "call")
	s.run("export", row.ID, "--sealed", "-o", dir)
	key := filepath.Join(t.TempDir(), "rec.key")
	if err := os.WriteFile(key, tool(t, "age", "-d", "-i", filepath.Join(s.dir, "keys", "console.key"), filepath.Join(dir, "keybox.age")), 0o600); err != nil {
		t.Fatal(err)
	}
	var d store.Details
	if err := json.Unmarshal(tool(t, "age", "-d", "-i", key, filepath.Join(dir, "details.json.age")), &d); err != nil {
		t.Fatal(err)
	}
	if d.Client == nil || d.Client.Subject != "sbc.example" || d.Client.TLS != "TLS 1.3" || d.Client.Fingerprint != p.TLS.Fingerprint ||
		len(d.Client.Names) != 2 || d.Client.Names[0] != "alt.sbc.example" {
		t.Errorf("kept: %+v", d.Client)
	}
	if said := s.run("trace", row.ID); !strings.Contains(said, "── INVITE ─") || !strings.Contains(said, "  TLS  "+addr) {
		t.Errorf("TLS is not traced in plain text:\n%s", said)
	}
}

func TestCertificatesAreReloaded(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.issueUntil("recorder", 1, time.Now().Add(time.Hour))
	ca.issueUntil("sbc", 50, time.Now().Add(time.Hour))
	s, addr := secured(t, ca, "require")
	s.start()
	// A connection that is up stays up throughout.
	old, err := siprectest.Dial(t.Context(), "tls://"+addr, ca.client("sbc"))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	serves := func(want int64) func() bool {
		return func() bool { serial, ok := knock(t, addr, ca.client("sbc")); return ok && serial == want }
	}
	if !serves(1)() {
		t.Fatal("the first certificate is not served")
	}
	ca.issueUntil("recorder", 2, time.Now().Add(time.Hour))
	await(t, "the changed file", 20*time.Second, serves(2))

	ca.issueUntil("recorder", 3, time.Now().Add(time.Hour))
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	await(t, "SIGHUP", 20*time.Second, serves(3))

	good, err := os.ReadFile(ca.path("recorder.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca.path("recorder.pem"), []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "the bad file to be told", 20*time.Second, func() bool {
		if !serves(3)() {
			t.Fatal("a bad file took the good certificate away")
		}
		return strings.Contains(s.log.String(), "the certificates were not reloaded")
	})
	if err := os.WriteFile(ca.path("recorder.pem"), good, 0o600); err != nil {
		t.Fatal(err)
	}
	// Another authority: the clients of the old one are out, on new connections.
	fresh := newAuthority(t)
	fresh.issueUntil("sbc", 60, time.Now().Add(time.Hour))
	pem, err := os.ReadFile(fresh.path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca.path("ca.pem"), pem, 0o600); err != nil {
		t.Fatal(err)
	}
	new := ca.client("")
	new.GetClientCertificate = fresh.client("sbc").GetClientCertificate
	await(t, "the new authority", 20*time.Second, func() bool { _, ok := knock(t, addr, new); return ok })
	if serves(3)() {
		t.Error("a certificate of the old authority is still taken")
	}
}

func TestCheckValidatesCertificates(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.issueUntil("recorder", 1, time.Now().Add(time.Hour))
	ca.issueUntil("old", 2, time.Now().Add(-time.Hour))
	s, _ := secured(t, ca, "require")
	if said := s.run("check"); !strings.Contains(said, "OK") || !strings.Contains(said, "client certificates required") {
		t.Errorf("check said:\n%s", said)
	}
	for _, c := range []struct{ set, want string }{
		{"sip.tls.certificate=" + ca.path("old.pem"), "private key does not match"},
		{"sip.tls={certificate: " + ca.path("old.pem") + ", key: " + ca.path("old.key") + "}", "expired on"},
		{"sip.tls.key=" + ca.path("none.key"), "no such file"},
		{"sip.tls.client_ca=" + ca.path("old.key"), "no certificate in"},
	} {
		b := *s
		b.sets = append(append([]string{}, s.sets...), c.set)
		if code, said := b.refused("check"); code != 2 || !strings.Contains(said, c.want) || !strings.Contains(said, "sip.tls") {
			t.Errorf("%s: exit %d, %s", c.set, code, said)
		}
	}
}
