package doctor

import (
	"crypto/x509"
	"strings"

	"filippo.io/age"

	"siprecd/store/seal"
)

// tryKeybox seals a fresh recording identity as an admission does, and opens
// it as the console does.
func tryKeybox(recipients []string, ids []age.Identity) error {
	r, err := seal.ParseRecipients(strings.Join(recipients, "\n"))
	if err != nil {
		return err
	}
	box, _, err := r.NewRecording()
	if err != nil {
		return err
	}
	_, err = seal.OpenKeybox(box, ids...)
	return err
}

// names are what a certificate is for.
func names(c *x509.Certificate) []string {
	out := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}
