package transport

import (
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
)

// tlsReason is a constant that names why a handshake failed, "" when it did
// not. The two cases that Go has no error type for are known by its words; a
// test holds them against the library.
func tlsReason(err error) string {
	var invalid x509.CertificateInvalidError
	var authority x509.UnknownAuthorityError
	var alert *net.OpError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "tls-certificate-expired" // or not yet valid
	case errors.As(err, &invalid):
		return "tls-certificate-invalid"
	case errors.As(err, &authority):
		return "tls-unknown-authority"
	case errors.As(err, &alert) && alert.Op == "remote error":
		return "tls-refused-by-client" // it does not trust us
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "tls-handshake"
	case strings.Contains(err.Error(), "didn't provide a certificate"):
		return "tls-no-certificate"
	case strings.Contains(err.Error(), "unsupported versions"):
		return "tls-version"
	}
	return "tls-handshake"
}
