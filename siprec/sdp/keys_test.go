package sdp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// key30 is a key and salt of AES_CM_128, and as it stands in a line.
var key30 = []byte("0123456789abcdefghijklmnopqrst")

func TestParseCrypto(t *testing.T) {
	padded := base64.StdEncoding.EncodeToString(append(bytes.Clone(key30), "0123456789abcdef"...)) // 46 bytes: two "="
	plain := base64.StdEncoding.EncodeToString(key30)
	for _, c := range []struct {
		name, line string
		want       string // suite, key length, MKI, unencrypted RTCP; "" for a line left out
	}{
		{"plain", "1 AES_CM_128_HMAC_SHA1_80 inline:" + plain, "1 AES_CM_128_HMAC_SHA1_80 30 [] false"},
		{"lower case", "1 aes_cm_128_hmac_sha1_80 INLINE:" + plain, "1 AES_CM_128_HMAC_SHA1_80 30 [] false"},
		{"padded", "9 AES_256_CM_HMAC_SHA1_80 inline:" + padded, "9 AES_256_CM_HMAC_SHA1_80 46 [] false"},
		{"padding left away", "9 AES_256_CM_HMAC_SHA1_80 inline:" + strings.TrimRight(padded, "="), "9 AES_256_CM_HMAC_SHA1_80 46 [] false"},
		{"lifetime as a power", "1 A inline:" + plain + "|2^31", "1 A 30 [] false"},
		{"lifetime as a number", "1 A inline:" + plain + "|1066:4", "1 A 30 [0 0 4 42] false"},
		{"plain lifetime", "1 A inline:" + plain + "|1048576", "1 A 30 [] false"},
		{"MKI", "1 A inline:" + plain + "|1:4", "1 A 30 [0 0 0 1] false"},
		{"both", "1 A inline:" + plain + "|2^20|258:2", "1 A 30 [1 2] false"},
		{"wrong order", "1 A inline:" + plain + "|1:4|2^20", ""},
		{"MKI too large for its length", "1 A inline:" + plain + "|256:1", ""},
		{"MKI without length", "1 A inline:" + plain + "|1:", ""},
		{"MKI of 0 bytes", "1 A inline:" + plain + "|0:0", ""},
		{"two MKIs", "1 A inline:" + plain + "|1:4|2:4", ""},
		{"no lifetime", "1 A inline:" + plain + "|", ""},
		{"lifetime beyond the limit", "1 A inline:" + plain + "|2^49", ""},
		{"two keys", "1 A inline:" + plain + "|1:1;inline:" + plain + "|2:1", "1 A 30 [1] false 30 [2] false"},
		{"two keys that nothing tells apart", "1 A inline:" + plain + ";inline:" + plain, ""},
		{"RTCP in the clear", "1 A inline:" + plain + " UNENCRYPTED_SRTCP", "1 A 30 [] true"},
		{"window size", "1 A inline:" + plain + " WSH=64 KDR=0", "1 A 30 [] false"},
		{"unknown optional parameter", "1 A inline:" + plain + " -FOO=1", "1 A 30 [] false"},
		{"unknown mandatory parameter", "1 A inline:" + plain + " FOO=1", ""},
		{"key derivation rate", "1 A inline:" + plain + " KDR=16", ""},
		{"RTP in the clear", "1 A inline:" + plain + " UNENCRYPTED_SRTP", ""},
		{"no authentication", "1 A inline:" + plain + " UNAUTHENTICATED_SRTP", ""},
		{"FEC", "1 A inline:" + plain + " FEC_ORDER=FEC_SRTP", ""},
		{"other method", "1 A uri:https://192.0.2.1/key", ""},
		{"no key", "1 A inline:", ""},
		{"not base64", "1 A inline:!!!!", ""},
		{"tag 0", "0 A inline:" + plain, ""},
		{"tag too large", "1000000000 A inline:" + plain, ""},
		{"no tag", "A inline:" + plain, ""},
		{"cut off", "1 A", ""},
	} {
		d := mustParse(t, head+"m=audio 4000 RTP/SAVP 0\r\na=crypto:"+c.line+"\r\n")
		got := ""
		for _, k := range d.Media[0].Crypto {
			got = fmt.Sprint(k.Tag, " ", k.Suite)
			for _, m := range k.Keys {
				got += fmt.Sprint(" ", len(m.KeySalt), " ", m.MKI, " ", k.UnencryptedRTCP)
			}
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestParseKeepsNoRawKeys(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(key30)
	d := mustParse(t, strings.Replace(head, "t=0 0\r\n", "k=base64:"+key+"\r\nt=0 0\r\na=crypto:1 A inline:"+key+"\r\n", 1)+
		"m=audio 4000 RTP/SAVP 0\r\na=Crypto : 1 AES_CM_128_HMAC_SHA1_80 inline:"+key+"\r\na=key-mgmt:mikey "+key+"\r\n")
	if len(d.Media[0].Crypto) != 1 || !bytes.Equal(d.Media[0].Crypto[0].Keys[0].KeySalt, key30) {
		t.Fatalf("%d keys read", len(d.Media[0].Crypto))
	}
	js, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{string(js), fmt.Sprintf("%v %+v %#v %x", d, d, d.Media[0], d.Media[0].Crypto[0].Keys[0].KeySalt)} {
		for _, secret := range []string{key, string(key30), fmt.Sprintf("%x", key30), strings.Trim(fmt.Sprint(key30), "[]")} {
			if strings.Contains(s, secret) {
				t.Errorf("a key is in %s", s)
			}
		}
	}
}

func TestParseFingerprint(t *testing.T) {
	d := mustParse(t, head+"a=fingerprint:SHA-256 0a:FF\r\na=setup:ActPass\r\n"+
		"m=audio 4000 UDP/TLS/RTP/SAVP 0\r\nm=audio 4002 UDP/TLS/RTP/SAVP 0\r\na=fingerprint:sha-1 01:02\r\na=fingerprint:sha-1 zz\r\na=setup:active\r\n")
	if got := fmt.Sprint(d.Media[0].Prints, d.Media[0].Setup, d.Media[1].Prints, d.Media[1].Setup); got != "[{sha-256 [10 255]}]actpass[{sha-1 [1 2]}]active" {
		t.Error(got)
	}
}

func TestWriteKeys(t *testing.T) {
	m := ReplyMedia{Kind: "audio", Proto: "RTP/SAVP", Port: 4000, Formats: []Format{{PT: 0, Encoding: "PCMU", Clock: 8000}}}
	write := func(m ReplyMedia) string {
		b := Write(Reply{Addr: netip.MustParseAddr("192.0.2.1"), Media: []ReplyMedia{m}})
		if !grammar.Match(b) {
			t.Errorf("not by the grammar: %q", b)
		}
		return string(b)
	}
	m.Crypto = &Crypto{Tag: 7, Suite: "AES_CM_128_HMAC_SHA1_80", Keys: []MasterKey{{KeySalt: key30}}, UnencryptedRTCP: true}
	want := "a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:" + base64.StdEncoding.EncodeToString(key30) + " UNENCRYPTED_SRTCP\r\n"
	if got := write(m); !strings.HasSuffix(got, want) {
		t.Errorf("%q", got)
	}
	m.Port = 0
	if got := write(m); strings.Contains(got, "crypto") {
		t.Errorf("a rejected line has keys: %q", got)
	}
	m.Port, m.Crypto, m.Fingerprint, m.Setup = 4000, nil, &Fingerprint{Hash: "sha-256", Sum: []byte{10, 255}}, "active"
	if got := write(m); !strings.HasSuffix(got, "a=fingerprint:sha-256 0A:FF\r\na=setup:active\r\n") {
		t.Errorf("%q", got)
	}
}

func FuzzCrypto(f *testing.F) {
	key := base64.RawStdEncoding.EncodeToString(key30)
	for _, s := range []string{"1 AES_CM_128_HMAC_SHA1_80 inline:" + key + "|2^20|1:4 WSH=64", "1 A inline:" + key + ";inline:" + key, "", "1 A inline:|:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := parseCrypto(s)
		if !ok {
			return
		}
		if len(c.Keys) == 0 || len(c.Keys[0].KeySalt) == 0 || c.Tag < 1 || len(c.Keys[0].MKI) > maxMKI {
			t.Errorf("%d keys, tag %d", len(c.Keys), c.Tag)
		}
	})
}
