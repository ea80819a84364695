package interop_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/srtp/v3"

	"siprecd/recorder"
)

// suites are those of pion/srtp by their registered names.
var suites = map[string]srtp.ProtectionProfile{
	"AES_CM_128_HMAC_SHA1_80": srtp.ProtectionProfileAes128CmHmacSha1_80,
	"AES_CM_128_HMAC_SHA1_32": srtp.ProtectionProfileAes128CmHmacSha1_32,
	"AES_256_CM_HMAC_SHA1_80": srtp.ProtectionProfileAes256CmHmacSha1_80,
	"AES_256_CM_HMAC_SHA1_32": srtp.ProtectionProfileAes256CmHmacSha1_32,
	"AEAD_AES_128_GCM":        srtp.ProtectionProfileAeadAes128Gcm,
	"AEAD_AES_256_GCM":        srtp.ProtectionProfileAeadAes256Gcm,
}

// newKey makes a key for a suite and returns it as SDP writes it.
func newKey(t *testing.T, suite string) (inline string) {
	t.Helper()
	p := suites[suite]
	k, err1 := p.KeyLen()
	salt, err2 := p.SaltLen()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, k+salt)
	_, _ = rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

// encrypt makes a source send SRTP with a key as SDP writes it.
func (s *source) encrypt(suite, inline string, opts ...srtp.ContextOption) {
	s.t.Helper()
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(inline, "="))
	if err != nil {
		s.t.Fatal(err)
	}
	n, err := suites[suite].KeyLen()
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := srtp.CreateContext(b[:n], b[n:], suites[suite], opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.wrapWith(c)
}

func (s *source) wrapWith(c *srtp.Context) {
	s.wrap = func(b []byte) []byte {
		out, err := c.EncryptRTP(nil, b, nil)
		if err != nil {
			return nil
		}
		return out
	}
}

// keyedCall places a call over TLS whose lines change has keyed.
func keyedCall(r *rig, change func(s *source, l *line)) (*dialog, []line) {
	r.t.Helper()
	s, l := r.two()
	for i := range l {
		l[i].proto = "RTP/SAVP"
		change(s[i], &l[i])
	}
	p := r.dialFrom("tls", "127.0.0.1:0", clientTLS(r.t, false))
	return p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p), s...), l
}

var cryptoLine = regexp.MustCompile(`(?m)^a=crypto:(\d+) (\S+) inline:(\S+)`)

// chosen reads the a=crypto line of an answered m-line.
func chosen(t *testing.T, l answerLine) (tag, suite, key string) {
	t.Helper()
	all := cryptoLine.FindAllStringSubmatch(l.text, -1)
	if len(all) != 1 {
		t.Errorf("%d crypto lines in the answer %s", len(all), l.text)
		return
	}
	return all[0][1], all[0][2], all[0][3]
}

func secureRows() []row {
	overTLS := withTLS(false)
	rows := []row{
		{numbers: "58 R50", name: "OSRTP is taken: AVP with a key", with: overTLS, run: opportunistic},
		{numbers: "58", name: "OSRTP is declined by omission where keys are off", with: func(s *setup) {
			overTLS(s)
			s.rec.Peer = peerOptions(recorder.PeerOptions{SRTP: recorder.SRTPOff})
		}, run: opportunisticOff},
		{numbers: "60", name: "twelve suites, unpadded keys, a fingerprint besides", with: overTLS, run: twelveSuites},
		{numbers: "61", name: "lifetime, MKI, unknown parameters", with: overTLS, run: keyParameters},
		{numbers: "62 R48", name: "no usable suite: refused, never recorded as noise", with: overTLS, run: noSuite},
		{numbers: "63", name: "re-offer with the same key goes on, with another rekeys", with: overTLS, run: rekey},
		{numbers: "64 R49 R27", name: "keys in the clear are refused where secrecy is required, else taken and flagged", run: keysInTheClear},
		{numbers: "65 R52", name: "DTLS-SRTP, the client active", with: overTLS, run: dtlsCall("actpass", false)},
		{numbers: "65 R52", name: "DTLS-SRTP, the client passive", with: overTLS, run: dtlsCall("passive", false)},
		{numbers: "65 R52", name: "DTLS-SRTP with another certificate than announced is not recorded", with: overTLS, run: dtlsCall("active", true)},
		{numbers: "66", name: "sequence wrap, then a hold, then resume", with: overTLS, run: wrapAndHold},
		{numbers: "R27 R51", name: "plain media is refused where SRTP is required", with: func(s *setup) {
			s.rec.Peer = peerOptions(recorder.PeerOptions{SRTP: recorder.SRTPRequire})
		}, run: refused(488, func(*invite) {})},
		{numbers: "R13 R28", name: "AVPF and SAVPF are as good", with: overTLS, run: feedbackProfiles},
		{numbers: "138 R29", name: "keys, names and numbers reach no log and no file in the clear", with: overTLS, run: nothingLeaks},
	}
	for suite := range suites {
		rows = append(rows, row{numbers: "59 R28 R48", name: "SDES with " + suite, with: overTLS, run: oneSuite(suite)})
	}
	return rows
}

func oneSuite(suite string) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		var keys []string
		d, _ := keyedCall(r, func(s *source, l *line) {
			key := newKey(t, suite)
			keys = append(keys, key)
			s.encrypt(suite, key)
			l.attrs = []string{"a=crypto:1 " + suite + " inline:" + key}
		})
		d.ok().ack()
		for i, l := range d.lines() {
			tag, got, key := chosen(t, l)
			if l.proto != "RTP/SAVP" || tag != "1" || got != suite || key == keys[i] || len(strings.TrimRight(key, "=")) != len(strings.TrimRight(keys[i], "=")) {
				t.Errorf("m-line %d answered %s with tag %s, suite %s", i, l.proto, tag, got)
			}
		}
		d.play(600)
		d.bye()
		bothHeard(t, d, r.one())
	}
}

func opportunistic(t *testing.T, r *rig) {
	const suite = "AES_CM_128_HMAC_SHA1_80"
	d, _ := keyedCall(r, func(s *source, l *line) {
		key := newKey(t, suite)
		l.proto, l.attrs = "RTP/AVP", []string{"a=crypto:1 " + suite + " inline:" + key}
		s.encrypt(suite, key)
	})
	d.ok().ack()
	for _, l := range d.lines() {
		if l.proto != "RTP/AVP" || strings.Contains(l.text, "fingerprint") {
			t.Errorf("answered %s", l.text)
		}
		chosen(t, l)
	}
	d.play(600)
	d.bye()
	bothHeard(t, d, r.one())
}

func opportunisticOff(t *testing.T, r *rig) {
	const suite = "AES_CM_128_HMAC_SHA1_80"
	d, _ := keyedCall(r, func(_ *source, l *line) {
		l.proto, l.attrs = "RTP/AVP", []string{"a=crypto:1 " + suite + " inline:" + newKey(t, suite)}
	})
	d.ok().ack()
	if strings.Contains(d.answer.body, "a=crypto") {
		t.Errorf("a key was taken: %s", d.answer.body)
	}
	d.play(500)
	d.bye()
	bothHeard(t, d, r.one())
}

func twelveSuites(t *testing.T, r *rig) {
	const want = "AEAD_AES_256_GCM"
	d, _ := keyedCall(r, func(s *source, l *line) {
		key := strings.TrimRight(newKey(t, want), "=")
		for i, suite := range []string{"NULL_HMAC_SHA1_80", "NULL_HMAC_SHA1_32", "F8_128_HMAC_SHA1_80", want, "AEAD_AES_128_GCM",
			"AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32", "AES_192_CM_HMAC_SHA1_80", "AES_192_CM_HMAC_SHA1_32",
			"AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_CCM"} {
			k := key
			if suites[suite] != 0 && suite != want {
				k = strings.TrimRight(newKey(t, suite), "=")
			}
			l.attrs = append(l.attrs, fmt.Sprintf("a=crypto:%d %s inline:%s", i+1, suite, k))
		}
		l.attrs = append(l.attrs, "a=setup:actpass", "a=fingerprint:sha-256 "+strings.TrimSuffix(strings.Repeat("AB:", 32), ":"))
		s.encrypt(want, key)
	})
	d.ok().ack()
	for _, l := range d.lines() {
		if tag, suite, _ := chosen(t, l); tag != "4" || suite != want {
			t.Errorf("picked %s %s", tag, suite)
		}
		if strings.Contains(l.text, "fingerprint") || strings.Contains(l.text, "a=setup") {
			t.Error("two ways of keying in the answer")
		}
	}
	d.play(600)
	d.bye()
	bothHeard(t, d, r.one())
}

func keyParameters(t *testing.T, r *rig) {
	const suite = "AES_CM_128_HMAC_SHA1_80"
	for n, form := range []struct {
		text string // %s: the key
		tag  string
		mki  []byte
	}{
		{"a=crypto:1 " + suite + " inline:%s|2^31", "1", nil},
		{"a=crypto:1 " + suite + " inline:%s|2^20|1:4", "1", []byte{0, 0, 0, 1}},
		{"a=crypto:1 " + suite + " inline:%s UNENCRYPTED_SRTCP", "1", nil},
		{"a=crypto:1 " + suite + " inline:%[1]s MUST_KNOW_THIS\r\na=crypto:2 " + suite + " inline:%[1]s", "2", nil},
		{"a=crypto:1 " + suite + " inline:%s WSH=64", "1", nil},
	} {
		d, _ := keyedCall(r, func(s *source, l *line) {
			key := newKey(t, suite)
			l.attrs = []string{fmt.Sprintf(form.text, key)}
			var opts []srtp.ContextOption
			if form.mki != nil {
				opts = append(opts, srtp.MasterKeyIndicator(form.mki))
			}
			s.encrypt(suite, key, opts...)
		})
		d.ok().ack()
		if tag, _, _ := chosen(t, d.lines()[0]); tag != form.tag {
			t.Errorf("form %d: tag %s", n, tag)
		}
		d.play(350)
		d.bye()
	}
	for _, k := range r.finished(5) {
		k.sounds("0", "1")
	}
}

func noSuite(t *testing.T, r *rig) {
	for _, attrs := range [][]string{
		{"a=crypto:1 NULL_HMAC_SHA1_80 inline:" + newKey(t, "AES_CM_128_HMAC_SHA1_80")},
		{"a=crypto:1 F8_128_HMAC_SHA1_80 inline:" + newKey(t, "AES_CM_128_HMAC_SHA1_80")},
		{"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2hvcnQ="},
		nil,
	} {
		d, _ := keyedCall(r, func(_ *source, l *line) { l.attrs = attrs })
		d.is(488)
	}
	r.none()
	// One line that can be had is recorded, beside one that cannot.
	first := true
	d, _ := keyedCall(r, func(s *source, l *line) {
		if first {
			key := newKey(t, "AES_CM_128_HMAC_SHA1_80")
			l.attrs = []string{"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + key}
			s.encrypt("AES_CM_128_HMAC_SHA1_80", key)
		}
		first = false
	})
	d.ok().ack()
	if got := d.lines(); got[0].port == 0 || got[1].port != 0 {
		t.Errorf("answered %s", d.answer.body)
	}
	d.play(500)
	d.bye()
	r.one().sounds("0", "")
}

func rekey(t *testing.T, r *rig) {
	const suite = "AES_CM_128_HMAC_SHA1_80"
	d, l := keyedCall(r, func(s *source, l *line) {
		key := newKey(t, suite)
		l.attrs = []string{"a=crypto:9 NULL_HMAC_SHA1_80 inline:" + key, "a=crypto:7 " + suite + " inline:" + key}
		s.encrypt(suite, key)
	})
	d.ok().ack()
	talk := time.Now()
	d.play(300)
	for i := range l { // only the chosen one, same key
		l[i].attrs = l[i].attrs[1:]
	}
	d.reoffer(l...)
	same := time.Now()
	d.play(300)
	for i := range l {
		key := newKey(t, suite)
		l[i].attrs = []string{"a=crypto:7 " + suite + " inline:" + key}
		d.sources[i].encrypt(suite, key)
	}
	rekeyed := time.Now()
	d.reoffer(l...)
	again := time.Now()
	d.play(300)
	d.bye()
	k := r.one()
	k.heard(talk, same, "0", "1")
	k.heard(same, rekeyed, "0", "1")
	k.heard(again, d.over, "0", "1")
	k.spans(d)
}

func keysInTheClear(t *testing.T, r *rig) {
	const suite = "AES_CM_128_HMAC_SHA1_80"
	s, l := r.two()
	for i := range l {
		key := newKey(t, suite)
		l[i].proto, l[i].attrs = "RTP/SAVP", []string{"a=crypto:1 " + suite + " inline:" + key}
		s[i].encrypt(suite, key)
	}
	p := r.dial("tcp")
	d := p.place(p.newInvite(both(describe("127.0.0.1", 1, l...), twoParties())).text(p), s...)
	if d.answer.code == 488 {
		r.none()
		return
	}
	d.ok().ack().play(500)
	d.bye()
	k := r.one()
	k.sounds("0", "1")
	if !strings.Contains(strings.Join(k.row.Flags, " ")+r.log.String(), "unprotected") {
		t.Errorf("nothing says that the keys came in the clear: flags %q", k.row.Flags)
	}
}

func feedbackProfiles(t *testing.T, r *rig) {
	d, _ := keyedCall(r, func(_ *source, l *line) { l.proto, l.attrs = "RTP/AVPF", []string{"a=rtcp-fb:* nack"} })
	d.ok().ack().play(350)
	d.bye()
	const suite = "AES_CM_128_HMAC_SHA1_80"
	e, _ := keyedCall(r, func(s *source, l *line) {
		key := newKey(t, suite)
		l.proto, l.attrs = "RTP/SAVPF", []string{"a=crypto:1 " + suite + " inline:" + key}
		s.encrypt(suite, key)
	})
	e.ok().ack().play(350)
	e.bye()
	for _, k := range r.finished(2) {
		k.sounds("0", "1")
	}
	if got := e.lines()[0].proto; got != "RTP/SAVPF" {
		t.Errorf("answered %s", got)
	}
}

// wrapAndHold lets the sequence number pass zero, holds while a thousand
// packets go by unsent, and resumes.
func wrapAndHold(t *testing.T, r *rig) {
	const suite = "AES_CM_128_HMAC_SHA1_80"
	d, l := keyedCall(r, func(s *source, l *line) {
		key := newKey(t, suite)
		l.attrs = []string{"a=crypto:1 " + suite + " inline:" + key}
		s.seq = 65530
		s.encrypt(suite, key)
	})
	d.ok().ack()
	talk := time.Now()
	d.play(300)
	held := time.Now()
	for i := range l {
		l[i].dir = "inactive"
	}
	d.reoffer(l...)
	for _, s := range d.sources {
		for range 3000 { // the minute of the hold, on mute
			_ = s.packet()
		}
		s.phase = 0
		s.next = time.Time{}
	}
	pause(300 * time.Millisecond)
	for i := range l {
		l[i].dir = "sendonly"
	}
	d.reoffer(l...)
	resumed := time.Now()
	d.play(400)
	d.bye()
	k := r.one()
	k.heard(talk, held, "0", "1")
	k.heard(resumed.Add(60*time.Millisecond), d.over, "0", "1")
	k.spans(d)
}

// dtlsCall keys the first line by DTLS with the client's role; with lie the
// certificate is not the one announced.
func dtlsCall(setup string, lie bool) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		cert, err := selfsign.GenerateSelfSigned()
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		sum, err := fingerprint.Fingerprint(parsed, crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if other := "00" + sum[2:]; lie && other != sum {
			sum = other
		} else if lie {
			sum = "01" + sum[2:]
		}
		d, _ := keyedCall(r, func(_ *source, l *line) {
			l.proto = "UDP/TLS/RTP/SAVP"
			l.attrs = []string{"a=setup:" + setup, "a=fingerprint:sha-256 " + sum}
		})
		d.ok().ack()
		for i, l := range d.lines() {
			want := map[string]string{"actpass": "a=setup:", "active": "a=setup:passive", "passive": "a=setup:active"}[setup]
			if l.proto != "UDP/TLS/RTP/SAVP" || !strings.Contains(l.text, "a=fingerprint:sha-256 ") || !strings.Contains(l.text, want) {
				t.Fatalf("m-line %d answered %s", i, l.text)
			}
			active := strings.Contains(l.text, "a=setup:passive")
			if err := d.sources[i].shake(cert, active); err != nil && !lie {
				t.Fatalf("handshake: %v", err)
			}
		}
		talk := time.Now()
		d.play(500)
		d.bye()
		k := r.one()
		if lie {
			k.sounds("", "")
			return
		}
		k.heard(talk, d.over, "0", "1")
	}
}

// shake makes the DTLS handshake from the source's port and keys its packets.
func (s *source) shake(cert tls.Certificate, active bool) error {
	conn := &dtlsSocket{s: s}
	to := net.UDPAddrFromAddrPort(s.to)
	options := []dtls.Option{
		dtls.WithCertificates(cert), dtls.WithInsecureSkipVerify(true),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AES128_CM_HMAC_SHA1_80),
	}
	var c *dtls.Conn
	var err error
	if active {
		all := make([]dtls.ClientOption, len(options))
		for i, o := range options {
			all[i] = o
		}
		c, err = dtls.ClientWithOptions(conn, to, all...)
	} else {
		all := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
		for _, o := range options {
			all = append(all, o)
		}
		c, err = dtls.ServerWithOptions(conn, to, all...)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 15*time.Second)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	s.t.Cleanup(func() { _ = c.Close() })
	state, ok := c.ConnectionState()
	if !ok {
		return errors.New("no connection state")
	}
	keys := srtp.Config{Profile: srtp.ProtectionProfileAes128CmHmacSha1_80}
	if err := keys.ExtractSessionKeysFromDTLS(&state, active); err != nil {
		return err
	}
	out, err := srtp.CreateContext(keys.Keys.LocalMasterKey, keys.Keys.LocalMasterSalt, keys.Profile)
	if err != nil {
		return err
	}
	s.wrapWith(out)
	return nil
}

// dtlsSocket is a source's socket as the DTLS stack sees it.
type dtlsSocket struct {
	s    *source
	read int
}

func (c *dtlsSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		for got := c.s.received(); c.read < len(got); {
			m := got[c.read]
			c.read++
			if len(m) > 0 && m[0] >= 20 && m[0] <= 63 {
				return copy(b, m), net.UDPAddrFromAddrPort(c.s.to), nil
			}
		}
		if c.s.t.Context().Err() != nil {
			return 0, nil, net.ErrClosed
		}
		pause(3 * time.Millisecond)
	}
}

func (c *dtlsSocket) WriteTo(b []byte, _ net.Addr) (int, error) {
	return c.s.conn.WriteToUDPAddrPort(b, c.s.to)
}

func (c *dtlsSocket) Close() error                     { return nil }
func (c *dtlsSocket) LocalAddr() net.Addr              { return c.s.conn.LocalAddr() }
func (c *dtlsSocket) SetDeadline(time.Time) error      { return nil }
func (c *dtlsSocket) SetReadDeadline(time.Time) error  { return nil }
func (c *dtlsSocket) SetWriteDeadline(time.Time) error { return nil }

func nothingLeaks(t *testing.T, r *rig) {
	const suite = "AES_CM_128_HMAC_SHA1_80"
	var keys []string
	d, _ := keyedCall(r, func(s *source, l *line) {
		key := newKey(t, suite)
		keys = append(keys, key)
		s.encrypt(suite, key)
		l.attrs = []string{"a=crypto:1 " + suite + " inline:" + key}
	})
	d.ok().ack().play(300)
	d.bye()
	k := r.one()
	if k.hasText(keys[0]) || k.hasText("crypto") {
		t.Error("the key is kept with the recording")
	}
	for _, l := range d.lines() {
		_, _, own := chosen(t, l)
		keys = append(keys, own)
	}
	secrets := append(keys, "02079460123", "2079460123", "Ann Resident", d.callID)
	for _, word := range secrets {
		if strings.Contains(r.log.String(), word) {
			t.Errorf("%q stands in the log", word)
		}
	}
	err := filepath.WalkDir(r.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, word := range secrets {
			if strings.Contains(string(b), word) {
				t.Errorf("%q stands in %s", word, path)
			}
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
