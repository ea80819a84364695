package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates for one test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.key = a.write("ca", tmpl, tmpl, nil)
	b, err := os.ReadFile(a.path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if a.cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// issue makes NAME.pem and NAME.key for 127.0.0.1.
func (a *authority) issue(name string) {
	a.t.Helper()
	a.write(name, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, a.cert, a.key)
}

// write makes a key and its certificate, signed by signer (nil: by itself).
func (a *authority) write(name string, tmpl, parent *x509.Certificate, signer *ecdsa.PrivateKey) *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(a.path(file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return key
}

func TestTLSWithClientCertificates(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.issue("recorder")
	ca.issue("sbc")
	port := freePort(t)
	s := newServer(t,
		"sip.listen=[tls://127.0.0.1:"+port+"]",
		"sip.tls.certificate="+ca.path("recorder.pem"), "sip.tls.key="+ca.path("recorder.key"),
		"sip.tls.client_ca="+ca.path("ca.pem"), "sip.tls.client_auth=require")
	s.start()
	call := []string{"call", "tls://127.0.0.1:" + port, "--to", "02088257050", "--duration", "2s", "--ca", ca.path("ca.pem")}
	if out, err := exec.Command(program, call...).CombinedOutput(); err == nil {
		t.Errorf("a client without a certificate got through:\n%s", out)
	}
	said := siprecd(t, append(call, "--cert", ca.path("sbc.pem"), "--key", ca.path("sbc.key"))...)
	if !strings.Contains(said, "1 of 1 calls completed") {
		t.Errorf("the call said:\n%s", said)
	}
	if row := s.finished(1)[0]; row.Line != "Council tax" {
		t.Errorf("listed as %+v", row)
	}
	for try := 1; ; try++ {
		out, err := exec.Command(program, s.args("doctor")...).CombinedOutput()
		said = string(out)
		if err != nil && hurried(said) && try < canaries {
			continue
		}
		if err != nil || !strings.Contains(said, "recorder.pem") || !strings.Contains(said, "decrypted") {
			t.Errorf("%v, the doctor said:\n%s", err, said)
		}
		break
	}
}
