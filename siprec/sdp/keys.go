package sdp

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// MaxCrypto bounds the a=crypto lines that are read of one m-line; clients
// with all suites there are offer 12.
const MaxCrypto = 32

// Secret is keying material. However it is printed, it shows nothing.
type Secret []byte

// hidden stands for a secret wherever one is printed.
const hidden = "[secret]"

// Format implements fmt.Formatter: every verb prints the same word.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText implements encoding.TextMarshaler, for JSON and slog.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Crypto is one a=crypto line (RFC 4568 section 9).
type Crypto struct {
	Tag             int         // 1 to 999999999
	Suite           string      // as registered: AES_CM_128_HMAC_SHA1_80, AEAD_AES_256_GCM, ...; upper case
	Keys            []MasterKey // at least one; several differ in MKI, all of one length
	UnencryptedRTCP bool        // session parameter UNENCRYPTED_SRTCP
}

// MasterKey is one key of an a=crypto line.
type MasterKey struct {
	KeySalt Secret // master key and master salt, together
	MKI     []byte // master key identifier as it stands in packets, big endian; nil: none
}

// Fingerprint is an a=fingerprint line (RFC 8122 section 5).
type Fingerprint struct {
	Hash string // sha-256, sha-1, ...; lower case
	Sum  []byte
}

// keyed says that an attribute holds keying material.
func keyed(attr string) bool {
	n, _, _ := strings.Cut(attr, ":")
	n = strings.ToLower(strings.TrimSpace(n))
	return n == "crypto" || n == "key-mgmt"
}

// cryptos reads a=crypto lines. One that cannot be read, or that demands what
// we do not know or do not want, is left out (RFC 4568 sections 5.1.2 and
// 6.3): the client has offered others, or will be told that none was good.
func cryptos(attrs []string) []Crypto {
	var out []Crypto
	for _, a := range attrs {
		n, v, _ := strings.Cut(a, ":")
		if !strings.EqualFold(strings.TrimSpace(n), "crypto") || len(out) == MaxCrypto {
			continue
		}
		if c, ok := parseCrypto(v); ok {
			out = append(out, c)
		}
	}
	return out
}

// parseCrypto reads "1 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^31|1:4 WSH=64".
func parseCrypto(v string) (Crypto, bool) {
	f := strings.Fields(v)
	if len(f) < 3 {
		return Crypto{}, false
	}
	tag, err := strconv.ParseUint(f[0], 10, 32)
	if err != nil || tag < 1 || tag > 999999999 {
		return Crypto{}, false
	}
	c := Crypto{Tag: int(tag), Suite: strings.ToUpper(f[1])}
	for _, p := range strings.Split(f[2], ";") {
		k, ok := parseKey(p)
		if !ok {
			return Crypto{}, false
		}
		c.Keys = append(c.Keys, k)
	}
	if !c.consistent() {
		return Crypto{}, false
	}
	for _, p := range f[3:] {
		if !c.param(p) {
			return Crypto{}, false
		}
	}
	return c, true
}

// consistent says that several keys can be told apart in packets (RFC 4568
// section 6.1).
func (c *Crypto) consistent() bool {
	seen := map[string]bool{}
	for _, k := range c.Keys {
		first := c.Keys[0]
		if len(k.KeySalt) != len(first.KeySalt) || len(k.MKI) != len(first.MKI) || seen[string(k.MKI)] {
			return false
		}
		seen[string(k.MKI)] = true
	}
	return true
}

// maxMKI is the longest master key identifier, bytes (RFC 4568 section 9.2).
const maxMKI = 128

// parseKey reads "inline:KEYSALT|lifetime|MKI:length", where either of the
// last two may be missing. Clients leave the padding of base64 away.
func parseKey(p string) (MasterKey, bool) {
	method, info, ok := strings.Cut(p, ":")
	if !ok || !strings.EqualFold(method, "inline") {
		return MasterKey{}, false
	}
	part := strings.Split(info, "|")
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(part[0], "="))
	if err != nil || len(raw) == 0 || len(part) > 3 {
		return MasterKey{}, false
	}
	k := MasterKey{KeySalt: raw}
	for i, s := range part[1:] {
		id, length, isMKI := strings.Cut(s, ":")
		switch {
		case isMKI && k.MKI == nil:
			if k.MKI, ok = mki(id, length); !ok {
				return MasterKey{}, false
			}
		case i != 0 || !lifetime(s):
			return MasterKey{}, false
		}
	}
	return k, true
}

// mki writes a decimal identifier into so many bytes.
func mki(id, length string) ([]byte, bool) {
	n, err := strconv.Atoi(length)
	v, err2 := strconv.ParseUint(id, 10, 64)
	if err != nil || err2 != nil || n < 1 || n > maxMKI || n < 8 && v>>(8*n) != 0 {
		return nil, false
	}
	out := make([]byte, n)
	for i := n - 1; i >= 0 && v != 0; i-- {
		out[i], v = byte(v), v>>8
	}
	return out, true
}

// lifetime checks "2^31" or a plain count of packets. It is not counted: a
// client that outlives its key is still recorded.
func lifetime(s string) bool {
	power, isPower := strings.CutPrefix(s, "2^")
	n, err := strconv.ParseUint(power, 10, 64)
	return err == nil && n > 0 && (!isPower || n <= 48)
}

// param reads a session parameter (RFC 4568 section 6.3); false when the line
// cannot be used with it. Audio in the clear or without authentication is not
// wanted, key derivation rates and FEC are not known.
func (c *Crypto) param(p string) bool {
	name, v, _ := strings.Cut(strings.ToUpper(p), "=")
	switch {
	case name == "UNENCRYPTED_SRTCP":
		c.UnencryptedRTCP = true
		return true
	case name == "WSH": // how far packets are out of order; ours is wider than any
		return true
	case name == "KDR":
		return v == "0"
	}
	return strings.HasPrefix(name, "-") // an extension that may be ignored
}

// fingerprints reads a=fingerprint lines.
func fingerprints(attrs []string) []Fingerprint {
	var out []Fingerprint
	for _, a := range attrs {
		n, v, _ := strings.Cut(a, ":")
		f := strings.Fields(v)
		if !strings.EqualFold(strings.TrimSpace(n), "fingerprint") || len(f) != 2 || len(out) == MaxCrypto {
			continue
		}
		if sum, err := hex.DecodeString(strings.ReplaceAll(f[1], ":", "")); err == nil && len(sum) > 0 {
			out = append(out, Fingerprint{Hash: strings.ToLower(f[0]), Sum: sum})
		}
	}
	return out
}

// writeKeys writes what keys the stream. There is at most one method.
func writeKeys(b *strings.Builder, m ReplyMedia) {
	if c := m.Crypto; c != nil {
		fmt.Fprintf(b, "a=crypto:%d %s inline:%s", c.Tag, token(c.Suite), base64.StdEncoding.EncodeToString(c.Keys[0].KeySalt))
		if c.UnencryptedRTCP {
			b.WriteString(" UNENCRYPTED_SRTCP")
		}
		b.WriteString("\r\n")
		return
	}
	if f := m.Fingerprint; f != nil {
		b.WriteString("a=fingerprint:" + token(f.Hash) + " ")
		for i, v := range f.Sum {
			if i > 0 {
				b.WriteByte(':')
			}
			fmt.Fprintf(b, "%02X", v)
		}
		b.WriteString("\r\n")
		if m.Setup != "" {
			b.WriteString("a=setup:" + token(m.Setup) + "\r\n")
		}
	}
}
