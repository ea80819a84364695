package keying

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"siprecd/media"
	"siprecd/siprec/sdp"
)

// ours is the fingerprint of our certificate.
var ours = media.Fingerprint{Hash: "sha-256", Sum: []byte{1, 2}}

// line reads one media line.
func line(t *testing.T, proto string, attrs ...string) sdp.Media {
	t.Helper()
	d, err := sdp.Parse([]byte("v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 " + proto + " 0\r\na=" + strings.Join(attrs, "\r\na=") + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return d.Media[0]
}

const (
	key     = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"
	cm80    = "crypto:3 AES_CM_128_HMAC_SHA1_80 inline:" + key
	null80  = "crypto:1 NULL_HMAC_SHA1_80 inline:" + key
	short   = "crypto:2 AEAD_AES_256_GCM inline:" + key // a key of the wrong length
	prints  = "fingerprint:sha-256 0A:0B"
	actpass = "setup:actpass"
)

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy Policy
		proto  string
		attrs  []string
		want   string
		why    Refused
	}{
		{"plain", Prefer, "RTP/AVP", nil, "plain RTP", ""},
		{"plain where keys are off", Off, "RTP/AVPF", []string{cm80}, "plain RTP", ""},
		{"plain where keys must be", Require, "RTP/AVP", []string{cm80}, "plain RTP", PlainUnwanted},
		{"keys are off", Off, "RTP/SAVP", []string{cm80}, "plain RTP", EncryptedUnwanted},
		{"first good suite", Prefer, "RTP/SAVP", []string{null80, short, cm80, prints, actpass}, "SRTP, AES_CM_128_HMAC_SHA1_80", ""},
		{"none is good", Prefer, "RTP/SAVP", []string{null80, short, prints, actpass}, "plain RTP", NoCommonSuite},
		{"OSRTP", Prefer, "RTP/AVP", []string{cm80, prints}, "SRTP, AES_CM_128_HMAC_SHA1_80", ""},
		{"OSRTP with nothing good", Prefer, "RTP/AVP", []string{null80}, "plain RTP", ""},
		{"OSRTP by DTLS", Prefer, "RTP/AVP", []string{prints, actpass}, "DTLS-SRTP, active", ""},
		{"DTLS, not SDES", Require, "UDP/TLS/RTP/SAVPF", []string{cm80, prints, actpass}, "DTLS-SRTP, active", ""},
		{"DTLS, the client passive", Prefer, "UDP/TLS/RTP/SAVP", []string{prints, "setup:passive"}, "DTLS-SRTP, active", ""},
		{"DTLS, the client active", Prefer, "UDP/TLS/RTP/SAVP", []string{prints, "setup:active"}, "DTLS-SRTP, passive", ""},
		{"DTLS, no setup", Prefer, "UDP/TLS/RTP/SAVP", []string{prints}, "DTLS-SRTP, passive", ""}, // active is the offerer's default (RFC 4145 section 4)
		{"DTLS without fingerprint", Prefer, "UDP/TLS/RTP/SAVP", []string{cm80}, "plain RTP", NoFingerprint},
	} {
		ch := Chooser{Policy: c.policy, Own: func() (media.Fingerprint, error) { return ours, nil }}
		p, why := ch.Choose(line(t, c.proto, c.attrs...), Protection{})
		if p.String() != c.want || why != c.why {
			t.Errorf("%s: %s, %q; want %s, %q", c.name, p, why, c.want, c.why)
		}
		if p.Crypto != nil && p.Print != nil {
			t.Errorf("%s: two ways of keying", c.name)
		}
		if p.Keys != nil {
			if err := p.Keys.Check(); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
}

func TestOurKeyStaysWhileTheLineStays(t *testing.T) {
	ch := Chooser{Policy: Prefer}
	first, _ := ch.Choose(line(t, "RTP/SAVP", null80, cm80), Protection{})
	if bytes.Equal(first.Crypto.Keys[0].KeySalt, first.Keys.Keys[0].KeySalt) || first.Crypto.Tag != 3 {
		t.Error("the answer has the client's key, or another tag")
	}
	again, _ := ch.Choose(line(t, "RTP/SAVP", cm80), first)
	if again.Crypto != first.Crypto || !again.Keys.Equal(first.Keys) {
		t.Error("the same line is answered otherwise")
	}
	other, _ := ch.Choose(line(t, "RTP/SAVP", strings.Replace(cm80, "crypto:3", "crypto:4", 1)), first)
	if other.Crypto == first.Crypto || bytes.Equal(other.Crypto.Keys[0].KeySalt, first.Crypto.Keys[0].KeySalt) {
		t.Error("another line has our old key")
	}
}

func TestWhoBeganStaysSo(t *testing.T) {
	ch := Chooser{Policy: Prefer, Own: func() (media.Fingerprint, error) { return ours, nil }}
	first, _ := ch.Choose(line(t, "UDP/TLS/RTP/SAVP", prints, "setup:active"), Protection{})
	again, _ := ch.Choose(line(t, "UDP/TLS/RTP/SAVP", prints, actpass), first)
	if again.Setup != "passive" || !again.Keys.Equal(first.Keys) {
		t.Errorf("%s, then %s", first, again)
	}
	ch.Own = func() (media.Fingerprint, error) { return media.Fingerprint{}, errors.New("no entropy") }
	if _, why := ch.Choose(line(t, "UDP/TLS/RTP/SAVP", prints, actpass), Protection{}); why == "" {
		t.Error("a handshake without a certificate")
	}
}
