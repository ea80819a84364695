package recorder

import (
	"net/netip"

	"siprecd/recorder/account"
	"siprecd/recorder/treat"
	"siprecd/siprec"
)

// How a client is treated, as package treat describes it.
type (
	PeerOptions = treat.Options
	SRTP        = treat.SRTP
)

// How encrypted media is treated.
const (
	SRTPOff     = treat.SRTPOff
	SRTPPrefer  = treat.SRTPPrefer
	SRTPRequire = treat.SRTPRequire
)

// peer is how a client is treated: as Config.Peer says, or, without that, as
// the defaults of this package do.
func (r *Recorder) peer(a netip.Addr) PeerOptions {
	o := PeerOptions{RefuseUnlisted: r.cfg.RefuseUnlisted, SRTP: SRTPPrefer}
	if r.cfg.Peer != nil {
		o = r.cfg.Peer(a.Unmap())
	}
	if o.SRTP == "" {
		o.SRTP = SRTPPrefer
	}
	return o
}

// peerOf is how the client of a session is treated.
func (r *Recorder) peerOf(s *siprec.Session) PeerOptions { return r.peer(s.Peer().Addr()) }

// strict refuses a session of a client that is held to the letter and lacks
// one of the marks of a recording session (RFC 7866 section 6.2).
func (r *Recorder) strict(s *siprec.Session) error {
	missing := r.peerOf(s).Missing(s.Tags().Src, s.Tags().Siprec)
	if missing == "" {
		return nil
	}
	return &siprec.Refusal{Code: 403, Reason: "Not A Recording Session",
		Warning: `399 siprecd "strict: the INVITE lacks ` + missing + `"`}
}

// peerFacts puts the table of recording clients into a status.
func (r *Recorder) peerFacts(s *Status, server Server, calls []*call) {
	live := map[netip.Addr]int{}
	for _, k := range calls {
		live[k.session.Peer().Addr().Unmap()]++
	}
	rows, strangers := server.Peers()
	for _, p := range rows {
		s.Peers = append(s.Peers, account.Peer(p, live[p.Addr], r.peer(p.Addr).Words()))
	}
	s.Strangers = account.Strangers(strangers)
}
