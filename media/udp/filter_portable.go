//go:build !linux || portable

package udp

import (
	"errors"
	"net/netip"
)

// Only would have the kernel drop packets of others; here it cannot.
func (s *Socket) Only(...netip.AddrPort) error { return errors.ErrUnsupported }

// All undoes Only.
func (s *Socket) All() error { return nil }
