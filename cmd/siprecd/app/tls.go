package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"siprecd/cmd/siprecd/config"
)

// ServerTLS loads what the tls:// listeners need. TLS 1.2 is the least that
// RFC 7866 section 12 asks for.
func ServerTLS(c config.TLS) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return nil, fmt.Errorf("sip.tls: %w", err)
	}
	// Without session tickets every handshake looks at the client's
	// certificate and at the authority as they are now.
	t := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}
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

// Certificates are what the tls:// listeners use, kept up to date: the files
// are looked at when a client connects, at most once a second, and read again
// when one of them has changed.
type Certificates struct {
	files config.TLS
	log   *slog.Logger

	mu      sync.Mutex // guards what follows
	current *tls.Config
	seen    string // what the files looked like when they were read
	looked  time.Time
	failed  error // why the files as they are cannot be used; nil: they are
}

// lookEvery is how often the files are looked at, at most.
const lookEvery = time.Second

// NewCertificates reads the files for the first time.
func NewCertificates(files config.TLS, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{files: files, log: log.With("component", "tls"), looked: time.Now()}
	c.seen = c.look()
	var err error
	if c.current, err = ServerTLS(files); err != nil {
		return nil, err
	}
	c.tellAge()
	return c, nil
}

// Server is the configuration for a listener; each handshake gets what the
// files hold then.
func (c *Certificates) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.refresh()
			return c.current, nil
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			own := c.Own()
			return &own, nil
		},
	}
}

// refresh reads the files if they have changed. The caller holds mu.
func (c *Certificates) refresh() {
	if now := time.Now(); now.Sub(c.looked) >= lookEvery {
		c.looked = now
		if c.look() != c.seen {
			c.read()
		}
	}
}

// Validity is from when to when the certificate in use holds, and why the
// files as they are now cannot be used; nil when they are.
func (c *Certificates) Validity(time.Time) (from, until time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh()
	leaf := c.current.Certificates[0].Leaf
	return leaf.NotBefore, leaf.NotAfter, c.failed
}

// Own is the server's certificate.
func (c *Certificates) Own() tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current.Certificates[0]
}

// Reload reads the files now. When they are no good the old ones stay, and
// the log says why.
func (c *Certificates) Reload() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read()
}

// read takes the files as they are. The caller holds mu.
func (c *Certificates) read() {
	c.seen = c.look() // before reading: a change meanwhile is seen next time
	fresh, err := ServerTLS(c.files)
	if c.failed = err; err != nil {
		c.log.Error("the certificates were not reloaded: the old ones stay in use", "err", err)
		return
	}
	c.current = fresh
	c.log.Info("certificates reloaded", "expires", fresh.Certificates[0].Leaf.NotAfter.UTC().Format(time.RFC3339))
	c.tellAge()
}

// tellAge warns of a certificate that clients do not accept for its date.
func (c *Certificates) tellAge() {
	if err := Fresh(c.current.Certificates[0].Leaf, time.Now()); err != nil {
		c.log.Warn("clients that check it refuse the certificate", "err", err)
	}
}

// look describes the files without reading them.
func (c *Certificates) look() string {
	var b strings.Builder
	for _, f := range []string{c.files.Certificate, c.files.Key, c.files.ClientCA} {
		if f == "" {
			continue
		}
		info, err := os.Stat(f)
		if err != nil {
			fmt.Fprintln(&b, "none")
			continue
		}
		fmt.Fprintln(&b, info.ModTime().UnixNano(), info.Size(), inode(info))
	}
	return b.String()
}

// inode tells a file from the one that replaced it.
func inode(info os.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// Fresh says what is wrong with a certificate's dates.
func Fresh(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.After(cert.NotAfter):
		return fmt.Errorf("it expired on %s", cert.NotAfter.UTC().Format(time.DateTime))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("it is not valid before %s", cert.NotBefore.UTC().Format(time.DateTime))
	}
	return nil
}
