package offer

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// UID is a random UUID (RFC 9562 version 4).
type UID [16]byte

// NewUID makes one.
func NewUID() (u UID) {
	_, _ = rand.Read(u[:]) // never fails
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

// String is the usual form, 8-4-4-4-12 hexadecimal digits.
func (u UID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// base64 is the form of RFC 7865 6.10.
func (u UID) base64() string { return base64.StdEncoding.EncodeToString(u[:]) }

// urn is the form of RFC 9562 4.
func (u UID) urn() string { return "urn:uuid:" + u.String() }

// Token is a short random token for tags and the like.
func Token() string {
	u := NewUID()
	return hex.EncodeToString(u[:8])
}

// Random32 is a random number, not 0.
func Random32() uint32 {
	u := NewUID()
	return binary.BigEndian.Uint32(u[:4]) | 1
}
