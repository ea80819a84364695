package app

import (
	"net/netip"
	"slices"

	"siprecd/cmd/siprecd/config"
	"siprecd/recorder"
)

// peerOptions says how a recording client is to be treated: by the options of
// the narrowest network that holds its address, else by what holds for all.
func peerOptions(cfg *config.Config) func(netip.Addr) recorder.PeerOptions {
	type entry struct {
		network netip.Prefix
		options recorder.PeerOptions
	}
	all := recorder.PeerOptions{
		RejectUnwanted: cfg.SIP.UnwantedMedia == "reject",
		RefuseUnlisted: cfg.Policy.Unlisted == "refuse",
		SRTP:           recorder.SRTP(cfg.SIP.SRTP),
	}
	var entries []entry
	for _, c := range cfg.SIP.PeerOptions {
		o := all
		o.Strict, o.Snapshot = c.Strict, c.Snapshot
		if c.UnwantedMedia != "default" {
			o.RejectUnwanted = c.UnwantedMedia == "reject"
		}
		if c.Unlisted != "default" {
			o.RefuseUnlisted = c.Unlisted == "refuse"
		}
		if c.SRTP != "default" {
			o.SRTP = recorder.SRTP(c.SRTP)
		}
		for _, p := range c.Peers {
			entries = append(entries, entry{p, o})
		}
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return b.network.Bits() - a.network.Bits() })
	return func(a netip.Addr) recorder.PeerOptions {
		for _, e := range entries {
			if e.network.Contains(a.Unmap()) {
				return e.options
			}
		}
		return all
	}
}
