package interop_test

import (
	"strings"
	"testing"
	"time"
)

// vendorRows are shapes of makes that the rows of one behaviour do not play.
func vendorRows() []row {
	return []row{
		{numbers: "3", name: "AudioCodes 7.20: ;src and Require", run: captured("audiocodes-src-tag", "Highways", "0", "1")},
		{numbers: "4", name: "AudioCodes 7.40A.251: no Require", run: captured("audiocodes-no-require", "Pest control", "0", "1")},
		{numbers: "7 22", name: "drachtio with FreeSWITCH: no mark at all, no closing dashes", run: captured("drachtio-bare-no-closing", "Ealing together", "0", "1")},
		{numbers: "24 25 75", name: "the Python client: quoted boundary, blank lines, labels that differ", run: captured("ff-label-text-differs", "Housing demand", "0", "1", "channels by order")},
		{numbers: "17", name: "jambonz in SMART_TAP mode", run: captured("jambonz-smart-tap", "Housing benefits change of circumstances", "0", "1")},
		{numbers: "31", name: "Dialpad: types with parameters", run: captured("dialpad-sdp-charset", "Facilities management", "0", "1")},
		{numbers: "40 41", name: "OpenSIPS with RTPproxy: no address anywhere, adjacent ports", run: captured("opensips-rtpproxy-no-address", "Building control", "0", "1")},
		{numbers: "47", name: "Webex: Opus first", run: webexOpus},
		{numbers: "60", name: "OpenSIPS with rtpengine: suites and a fingerprint", run: rtpengineSuites},
		{numbers: "R45", name: "a Contact that nobody can read is answered, not met with silence", run: unclosedContact},
	}
}

func webexOpus(t *testing.T, r *rig) {
	s, _ := r.two()
	for _, x := range s {
		x.rate, x.clock = 48000, 48000
		x.codec(111, opusEncoder(t))
	}
	p := r.dial("tcp")
	d := p.place(fixture(t, "webex-opus-first"), s...).ok().ack()
	talk := time.Now()
	d.play(500)
	d.bye()
	k := r.one()
	k.on("Mobility")
	k.heard(talk, d.over, "0", "1")
}

func rtpengineSuites(t *testing.T, r *rig) {
	s, _ := r.two()
	for _, x := range s {
		x.encrypt("AES_CM_128_HMAC_SHA1_80", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd")
	}
	p := r.dial("tcp")
	d := p.place(fixture(t, "opensips-suites-and-fingerprint"), s...).ok().ack()
	for _, l := range d.lines() {
		if tag, suite, _ := chosen(t, l); tag != "4" || suite != "AES_CM_128_HMAC_SHA1_80" || strings.Contains(l.text, "fingerprint") {
			t.Errorf("answered %s", l.text)
		}
	}
	talk := time.Now()
	d.play(500)
	d.bye()
	k := r.one()
	k.on("Housing repairs")
	k.heard(talk, d.over, "0", "1")
}

func unclosedContact(t *testing.T, r *rig) {
	d := r.fixture("metaswitch-unclosed-contact", 1)
	if d.answer.code != 400 && d.answer.code != 200 {
		t.Errorf("answered %s", d.answer.first)
	}
}
