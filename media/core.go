package media

import (
	"net/netip"
	"time"
)

type core struct{ tracks []*track }
type scratch struct{}

func newScratch(int) *scratch { return nil }

type track struct {
	stats StreamStats
	allow func(netip.Addr) bool
}

func newCore(cfg CallConfig, depth, batch time.Duration) (*core, error)    { return &core{}, nil }
func (c *core) add(cfg StreamConfig, at time.Duration) *track              { return &track{} }
func (c *core) advance(now time.Duration, s *scratch)                      {}
func (c *core) finish(end, now time.Duration, s *scratch) Summary          { return Summary{} }
func (t *track) configure(cfg StreamConfig, at time.Duration)              {}
func (t *track) end(at time.Duration)                                      {}
func (t *track) push(p []byte, from netip.AddrPort, arrival time.Duration) {}
