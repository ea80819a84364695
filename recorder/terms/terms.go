// Package terms reads an offer for what can be recorded of it: the codecs of
// each media line, the rate that the call is encoded at, and the refusal of an
// offer that holds nothing. It is pure: no sockets, no state.
package terms

import (
	"slices"
	"strconv"
	"strings"

	"siprecd/media"
	"siprecd/siprec"
	"siprecd/siprec/sdp"
)

// Terms is what is taken of one offered media line.
type Terms struct {
	Codecs  map[uint8]media.Codec
	Formats []uint8 // in the client's order, audio before events
	Audio   bool    // at least one codec that can be played
	Rate    int     // of the audio of the client's first choice, Hz
}

// beside are the encodings that are accepted and kept out of the audio.
var beside = []string{"TELEPHONE-EVENT", "CN"}

// maxFormats is how many payload types of a line are answered.
const maxFormats = 32

// Of picks what can be recorded of a media line: every codec that media
// plays, in the client's order, since each client sends what it likes best of
// what it is answered, and some change in the middle of a call.
func Of(m sdp.Media) Terms {
	a := Terms{Codecs: map[uint8]media.Codec{}}
	if m.Kind != "audio" || !RTP(m.Proto) {
		return a
	}
	take := func(wanted func(media.Codec) bool) {
		for _, f := range m.Formats {
			c := media.Codec{Encoding: f.Encoding, Clock: f.Clock, Channels: f.Channels}
			if _, twice := a.Codecs[f.PT]; twice || !wanted(c) || len(a.Formats) == maxFormats {
				continue
			}
			a.Codecs[f.PT] = c
			a.Formats = append(a.Formats, f.PT)
		}
	}
	take(func(c media.Codec) bool { return media.Plays(c) > 0 })
	if a.Audio = len(a.Formats) > 0; a.Audio {
		a.Rate = media.Plays(a.Codecs[a.Formats[0]])
		take(func(c media.Codec) bool { return slices.Contains(beside, c.Encoding) })
	}
	return a
}

// Rate is the encoder's rate for an offer: the highest among what its lines
// will send first. A stream that brings wider audio later widens the call.
func Rate(offer *sdp.Description) int {
	rate := 0
	for _, m := range offer.Media {
		if m.Port != 0 {
			rate = max(rate, Of(m).Rate)
		}
	}
	if rate == 0 {
		return media.Narrow
	}
	return rate
}

// NoCodec is the refusal of an offer that holds nothing we can play; it names
// everything that we can.
func NoCodec() error {
	var names []string
	for _, c := range media.Codecs() {
		n := c.Encoding + "/" + strconv.Itoa(c.Clock)
		if c.Channels > 1 {
			n += "/" + strconv.Itoa(c.Channels)
		}
		names = append(names, n)
	}
	return &siprec.Refusal{Code: 488, Reason: "Not Acceptable Here",
		Warning: `305 siprecd "no common codec: offer ` + strings.Join(names, ", ") + `"`}
}

// Playable says that at least one media line can be recorded.
func Playable(offer *sdp.Description) bool {
	return slices.ContainsFunc(offer.Media, func(m sdp.Media) bool { return Of(m).Audio })
}

// Live says that an offer holds audio that is not closed.
func Live(offer *sdp.Description) bool {
	return slices.ContainsFunc(offer.Media, func(m sdp.Media) bool { return m.Kind == "audio" && m.Port != 0 })
}

// RTP says that a media line is RTP at all, encrypted or not.
func RTP(proto string) bool {
	switch strings.ToUpper(proto) {
	case "RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF":
		return true
	}
	return false
}
