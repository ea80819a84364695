package interop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

// house is the authority that the recorder trusts, made once.
var house = sync.OnceValue(newAuthority)

func newAuthority() *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // no randomness
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		panic(err)
	}
	a := &authority{cert: c, key: key, pool: x509.NewCertPool()}
	a.pool.AddCert(c)
	return a
}

// issue makes a certificate that is good until then.
func (a *authority) issue(name string, until time.Time) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// withTLS adds a tls address; mutual demands a client certificate.
func withTLS(mutual bool) func(*setup) {
	return func(s *setup) {
		s.sip.Listen = append(s.sip.Listen, "tls://127.0.0.1:0")
		s.sip.TLS = &tls.Config{
			MinVersion:   tls.VersionTLS12,
			Certificates: []tls.Certificate{house().issue("srs.example", time.Now().Add(time.Hour))},
			ClientCAs:    house().pool,
		}
		if mutual {
			s.sip.TLS.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
}

// clientTLS trusts the house, with a certificate of its own if wanted.
func clientTLS(t *testing.T, certificate bool) *tls.Config {
	t.Helper()
	c := &tls.Config{RootCAs: house().pool, ServerName: "127.0.0.1"}
	if certificate {
		c.Certificates = []tls.Certificate{house().issue("sbc.example", time.Now().Add(time.Hour))}
	}
	return c
}
