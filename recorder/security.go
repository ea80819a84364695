package recorder

import (
	"slices"
	"strings"

	"siprecd/media"
	"siprecd/recorder/alarm"
	"siprecd/recorder/assure"
	"siprecd/recorder/keying"
	"siprecd/recorder/terms"
	"siprecd/siprec"
	"siprecd/siprec/sdp"
)

// bareKeysFlag: RFC 4568 section 8.3.
const bareKeysFlag = "media keys sent over unprotected signalling"

// secure decides how a media line is protected; was is how it is so far.
func (k *call) secure(m sdp.Media, was keying.Protection) (keying.Protection, keying.Refused) {
	c := keying.Chooser{Policy: keying.Policy(k.r.peerOf(k.session).SRTP), Own: k.r.cfg.Media.Fingerprint}
	return c.Choose(m, was)
}

// protected puts our half of the keying into an answer.
func protected(a siprec.AnswerMedia, p keying.Protection) siprec.AnswerMedia {
	a.Crypto, a.Fingerprint, a.Setup = p.Crypto, p.Print, p.Setup
	return a
}

// unsecured is the refusal of an offer of which no stream that we could play
// is protected as it has to be; nil when there is one, or nothing to play.
func (k *call) unsecured(offer *sdp.Description) error {
	var why keying.Refused
	for _, m := range offer.Media {
		if m.Port == 0 || !terms.Of(m).Audio {
			continue
		}
		_, w := k.secure(m, keying.Protection{})
		if w == "" {
			return nil
		}
		why = w
	}
	if why == "" {
		return nil
	}
	k.r.warn("call or change refused for its media security")
	return &siprec.Refusal{Code: 488, Reason: "Not Acceptable Here", Warning: why.Warning()}
}

// secured notes how a stream is protected now. The caller holds mu.
func (k *call) secured(name string, now, was keying.Protection) {
	if now.Crypto != nil && !strings.EqualFold(k.session.Transport(), "tls") {
		if !slices.Contains(k.flags, bareKeysFlag) {
			k.r.warn(bareKeysFlag)
		}
		k.flag(bareKeysFlag)
	}
	if now.String() != was.String() {
		k.event("security", "%s: %s", name, now)
	} else if !now.Keys.Equal(was.Keys) {
		k.event("security", "%s: new keys", name)
	}
}

// blocked flags what could not be decrypted. The caller holds mu.
func (k *call) blocked(streams []media.StreamStats) {
	for _, s := range streams {
		if !s.Security.Blocked {
			continue
		}
		k.flag(assure.Flag(alarm.Undecryptable))
		why := "its packets do not open with the keys agreed"
		if s.Security.Error != "" {
			why = s.Security.Error
		}
		k.event("security", "%s: could not be decrypted: %s", s.Name, why)
	}
}

// untaken closes the leg of a media line that is not taken, and answers it: a
// stream refused for its security is rejected, others as unwanted ones are.
func (k *call) untaken(i int, m sdp.Media, why keying.Refused) siprec.AnswerMedia {
	k.closeLeg(i)
	audio := m.Port != 0 && m.Kind == "audio"
	if audio {
		k.unplayed = append(k.unplayed, i)
	}
	switch {
	case audio && why != "":
		k.flag("stream refused for its media security")
		return siprec.AnswerMedia{}
	case audio:
		k.flag("stream without a codec we play")
	}
	return k.unwanted(m)
}

// security is how a leg is protected; a line without a leg is not.
func (l *leg) security() keying.Protection {
	if l == nil {
		return keying.Protection{}
	}
	return l.sec
}

// warn counts what was odd but taken, or refused for its media.
func (r *Recorder) warn(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.warnings[what]++
}
