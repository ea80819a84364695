package siprectest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// uid is a random UUID (RFC 9562 version 4).
type uid [16]byte

func newUID() (u uid) {
	_, _ = rand.Read(u[:]) // never fails
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

// String is the usual form, 8-4-4-4-12 hexadecimal digits.
func (u uid) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// base64 is the form of RFC 7865 6.10.
func (u uid) base64() string { return base64.StdEncoding.EncodeToString(u[:]) }

// urn is the form of RFC 9562 4.
func (u uid) urn() string { return "urn:uuid:" + u.String() }

// token is a short random token for tags and the like.
func token() string {
	u := newUID()
	return hex.EncodeToString(u[:8])
}

// random32 is a random number, not 0.
func random32() uint32 {
	u := newUID()
	return binary.BigEndian.Uint32(u[:4]) | 1
}
