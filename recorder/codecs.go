package recorder

import (
	"slices"

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
			if !slices.Contains(encodings, f.Encoding) || len(a.formats) == 32 {
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

// plainRTP says that a transport protocol is RTP without encryption.
func plainRTP(proto string) bool { return proto == "RTP/AVP" || proto == "RTP/AVPF" }

// rtp says that a media line is RTP at all, encrypted or not.
func rtp(proto string) bool {
	switch proto {
	case "RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF":
		return true
	}
	return false
}
