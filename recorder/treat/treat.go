// Package treat says how one recording client is to be treated, where clients
// differ: what half of them need is what the other half cannot bear.
//
//	sip.peer_options ─► Options, by address ─► recorder: admission, answers, keys
//
// It holds data only. Whoever reads an option decides what it means there.
package treat

// SRTP says what to do with media keys that a client offers.
type SRTP string

// How encrypted media is treated. A call whose media cannot be decrypted is
// refused, whatever stands here: it is never recorded as noise.
const (
	SRTPOff     SRTP = "off"     // keys are not taken: what is offered encrypted only is refused
	SRTPPrefer  SRTP = "prefer"  // encrypted where the client offers it, plain where it does not
	SRTPRequire SRTP = "require" // a stream without keys is refused
)

// Options is how one recording client is to be treated, where clients
// differ. The zero value is the tolerant default, but for SRTP, which has none.
type Options struct {
	// RejectUnwanted answers a media line that is not recorded with port 0,
	// as RFC 3264 section 6 has it; else with a live port and inactive, for
	// some clients give up the whole session for a port of 0.
	RejectUnwanted bool
	// Strict demands what RFC 7866 section 6.2 does: +sip.src in the Contact
	// and siprec in Require. Without both an INVITE is refused.
	Strict bool
	// RefuseUnlisted refuses with 403 a call that the policy does not want;
	// else it is answered and its media thrown away.
	RefuseUnlisted bool
	// SRTP is off, prefer or require.
	SRTP SRTP
	// Snapshot says that the client answers a request for its whole metadata
	// (RFC 7866 section 9.2).
	Snapshot bool
}

// Missing says which marks of a recording session (RFC 7866 section 6.2) a
// client that is held to the letter did not give; "" for none.
func (o Options) Missing(src, siprec bool) string {
	switch {
	case !o.Strict || src && siprec:
		return ""
	case src:
		return "siprec in Require"
	case siprec:
		return "+sip.src in Contact"
	}
	return "+sip.src in Contact and siprec in Require"
}

// Words names the options that are not the tolerant defaults.
func (o Options) Words() []string {
	var out []string
	for _, w := range []struct {
		set  bool
		word string
	}{
		{o.Strict, "strict"},
		{o.RejectUnwanted, "unwanted media: reject"},
		{o.RefuseUnlisted, "unlisted: refuse"},
		{o.SRTP != SRTPPrefer, "srtp: " + string(o.SRTP)},
		{o.Snapshot, "snapshot"},
	} {
		if w.set {
			out = append(out, w.word)
		}
	}
	return out
}
