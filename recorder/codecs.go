package recorder

import (
	"slices"
	"strings"

	"siprecd/media"
	"siprecd/siprec/sdp"
)

// agreed is what is taken of one offered media line.
type agreed struct {
	codecs  map[uint8]media.Codec
	formats []uint8 // in the client's order, audio before events
	audio   bool    // at least one codec that can be played
}

// played are the encodings that the media path turns into audio; beside are
// those it accepts and keeps out of the audio.
var (
	played = []string{"PCMU", "PCMA"}
	beside = []string{"TELEPHONE-EVENT", "CN"}
)

// agree picks what can be recorded of a media line.
func agree(m sdp.Media) agreed {
	a := agreed{codecs: map[uint8]media.Codec{}}
	if m.Kind != "audio" || !plainRTP(m.Proto) {
		return a
	}
	take := func(encodings []string) {
		for _, f := range m.Formats {
			if !slices.Contains(encodings, f.Encoding) || f.Clock != 8000 || f.Channels > 1 || len(a.formats) == 32 {
				continue
			}
			a.codecs[f.PT] = media.Codec{Encoding: f.Encoding, Clock: f.Clock, Channels: f.Channels}
			a.formats = append(a.formats, f.PT)
		}
	}
	take(played)
	a.audio = len(a.formats) > 0
	if a.audio {
		take(beside)
	}
	return a
}

// playable says that at least one media line can be recorded.
func playable(offer *sdp.Description) bool {
	return slices.ContainsFunc(offer.Media, func(m sdp.Media) bool { return agree(m).audio })
}

// live says that an offer holds audio that is not closed.
func live(offer *sdp.Description) bool {
	return slices.ContainsFunc(offer.Media, func(m sdp.Media) bool { return m.Kind == "audio" && m.Port != 0 })
}

// plainRTP says that a transport protocol is RTP without encryption.
func plainRTP(proto string) bool {
	proto = strings.ToUpper(proto)
	return proto == "RTP/AVP" || proto == "RTP/AVPF"
}

// rtp says that a media line is RTP at all, encrypted or not.
func rtp(proto string) bool {
	switch strings.ToUpper(proto) {
	case "RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF":
		return true
	}
	return false
}
