package siprec

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"siprecd/siprec/sdp"
)

// sdpOrigin is what makes an o= line ours: the id is constant in a dialog,
// the version grows with every description that differs from the last
// (RFC 3264 section 8).
type sdpOrigin struct{ ID, Version uint64 }

// discardPort stands in a proposed offer for a port that nobody has named.
const discardPort = 9

// ProposedOffer is what a client that sends no offer is offered: one audio
// m-line with the codecs that every one of them has. It is given to the
// Handler as if the client had sent it, so that it reads sendonly; its port
// and address mean nothing. It carries no label: labels are the client's to
// give, in its answer.
func ProposedOffer() *sdp.Description {
	return &sdp.Description{Media: []sdp.Media{{
		Kind: "audio", Proto: "RTP/AVP", Port: discardPort, Direction: sdp.SendOnly,
		FormatIDs: []string{"0", "8", "101"},
		Formats: []sdp.Format{
			{PT: 0, Encoding: "PCMU", Clock: 8000, Channels: 1},
			{PT: 8, Encoding: "PCMA", Clock: 8000, Channels: 1},
			{PT: 101, Encoding: "TELEPHONE-EVENT", Clock: 8000, Channels: 1, Params: "0-15"},
		},
	}}}
}

// buildAnswer writes the SDP answer to an offer: every m-line in its place,
// labels echoed, the direction never more than the offer allows
// (RFC 3264 section 6.1). A stream whose profile wants keys that we have none
// for is rejected; when that leaves an offer with live streams without any,
// the error is a *Refusal 488. Any other error is the handler's mistake.
func buildAnswer(offer *sdp.Description, a *Answer, origin sdpOrigin) ([]byte, error) {
	r, err := reply(offer, a, origin)
	if err != nil {
		return nil, err
	}
	keyed, live := false, false
	for i, m := range offer.Media {
		if r.Media[i].Port != 0 {
			live = true
		} else if m.Port != 0 && a.Media[i].Port != 0 {
			keyed = true
		}
		if m.Direction == sdp.Inactive || m.Direction == sdp.RecvOnly {
			r.Media[i].Direction = sdp.Inactive
		}
	}
	if keyed && !live {
		return nil, &Refusal{Code: 488, Reason: "Not Acceptable Here", Warning: `302 siprecd "Incompatible transport protocol"`}
	}
	return sdp.Write(r), nil
}

// buildOffer writes an offer of ours: the proposal to a client that sent
// none, or the streams of a running session for an offerless re-INVITE. The
// current description is the client's last, or ProposedOffer; a is the
// handler's answer to it. A stream on hold is offered as a wants it.
func buildOffer(current *sdp.Description, a *Answer, origin sdpOrigin) ([]byte, error) {
	r, err := reply(current, a, origin)
	if err != nil {
		return nil, err
	}
	return sdp.Write(r), nil
}

// reply puts the handler's answer beside the m-lines that it answers.
func reply(offer *sdp.Description, a *Answer, origin sdpOrigin) (sdp.Reply, error) {
	if a == nil || len(a.Media) != len(offer.Media) {
		return sdp.Reply{}, fmt.Errorf("siprec: answer an offer of %d m-lines: the answer has another number", len(offer.Media))
	}
	if !a.Addr.IsValid() {
		return sdp.Reply{}, fmt.Errorf("siprec: answer an offer: no media address")
	}
	r := sdp.Reply{Addr: a.Addr, SessionID: origin.ID, Version: origin.Version}
	for i, m := range offer.Media {
		rm, err := replyMedia(m, a.Media[i])
		if err != nil {
			return sdp.Reply{}, fmt.Errorf("siprec: answer m-line %d: %w", i, err)
		}
		r.Media = append(r.Media, rm)
	}
	return r, nil
}

func replyMedia(m sdp.Media, am AnswerMedia) (sdp.ReplyMedia, error) {
	if am.Port < 0 || am.Port > 65535 {
		return sdp.ReplyMedia{}, fmt.Errorf("port %d", am.Port)
	}
	r := sdp.ReplyMedia{
		Kind: m.Kind, Proto: m.Proto, FormatIDs: m.FormatIDs, Label: m.Label,
		Direction: sdp.RecvOnly, Ptime: m.Ptime,
	}
	if am.Direction == sdp.Inactive {
		r.Direction = sdp.Inactive
	}
	if am.Crypto != nil && am.Fingerprint != nil {
		return sdp.ReplyMedia{}, errors.New("two ways of keying") // RFC 8643 section 3.2
	}
	if m.Port == 0 || am.Port == 0 || unkeyed(m.Proto, am) {
		return r, nil // rejected, with the formats as offered
	}
	r.Crypto, r.Fingerprint, r.Setup = am.Crypto, am.Fingerprint, am.Setup
	r.Port, r.Formats = am.Port, m.Formats
	if len(am.Formats) == 0 {
		return r, nil
	}
	var err error
	r.Formats, err = pick(m.Formats, am.Formats)
	return r, err
}

// pick is the payload types that are taken of those offered.
func pick(offered []sdp.Format, taken []uint8) (out []sdp.Format, err error) {
	for _, pt := range taken {
		i := slices.IndexFunc(offered, func(f sdp.Format) bool { return f.PT == pt })
		if i < 0 {
			return nil, fmt.Errorf("payload type %d was not offered", pt)
		}
		out = append(out, offered[i])
	}
	return out, nil
}

// unkeyed says that a stream whose profile needs keys is answered without.
func unkeyed(proto string, am AnswerMedia) bool {
	return keyedProto(proto) && am.Crypto == nil && am.Fingerprint == nil
}

// keyedProto says that the profile needs a key exchange (RTP/SAVP, SAVPF,
// UDP/TLS/RTP/SAVP). An answer without keys would not be one (RFC 4568 7.1.2).
func keyedProto(proto string) bool {
	return strings.Contains(strings.ToUpper(proto), "/SAVP")
}
