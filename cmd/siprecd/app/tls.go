package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"siprecd/cmd/siprecd/config"
)

// ServerTLS loads what the tls:// listeners need. TLS 1.2 is the least that
// RFC 7866 section 12 asks for.
func ServerTLS(c config.TLS) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return nil, fmt.Errorf("sip.tls: %w", err)
	}
	t := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	switch c.ClientAuth {
	case "optional":
		t.ClientAuth = tls.VerifyClientCertIfGiven
	case "require":
		t.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		return t, nil
	}
	pem, err := os.ReadFile(c.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("sip.tls.client_ca: %w", err)
	}
	t.ClientCAs = x509.NewCertPool()
	if !t.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("sip.tls.client_ca: no certificate in " + c.ClientCA)
	}
	return t, nil
}
