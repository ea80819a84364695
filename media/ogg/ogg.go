// Package ogg writes and reads Ogg Opus (RFC 3533, RFC 7845): one mono or
// stereo Opus stream a file.
//
//	page 0: OpusHead   page 1: OpusTags   pages 2…: about one second of audio each, the last with "end of stream"
//
// Granule positions count samples at 48 kHz from the first packet's first
// sample, pre-skip included, whatever rate was encoded. A player drops PreSkip
// samples at the start and what lies beyond the last granule at the end, so a
// file plays exactly as many samples as Writer.Close was told.
//
// The Writer keeps at most one page in memory and hands each page to its
// io.Writer in one call. The Reader checks everything that can be checked
// (checksums, page order, packet shapes, granules) and names the fault; it is
// made for foreign bytes and holds at most one page and one packet.
//
// Not done: seeking, more than two channels, several streams in one file.
package ogg

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Faults that a Reader reports, wrapped with the place.
var (
	ErrChecksum  = errors.New("ogg: page checksum is wrong")
	ErrTruncated = errors.New("ogg: file ends early")
	ErrSequence  = errors.New("ogg: a page is missing")
	ErrFormat    = errors.New("ogg: not an Ogg Opus file")
)

// Head is what a file says of its stream (RFC 7845 section 5.1).
type Head struct {
	Channels  int // 1 or 2
	PreSkip   int // samples at 48 kHz to drop at the start
	InputRate int // Hz of the original; for information only
}

// Tags are the file's comments (RFC 7845 section 5.2). Nothing is added to
// them.
type Tags struct {
	Vendor   string
	Comments []string // NAME=value
}

const (
	pageHeader   = 27
	maxSegments  = 255
	second       = 48000
	flagContinue = 1
	flagBegin    = 2
	flagEnd      = 4
	noGranule    = -1 // of a page on which no packet ends
)

func (h Head) check() error {
	if h.Channels != 1 && h.Channels != 2 {
		return fmt.Errorf("%w: %d channels", ErrFormat, h.Channels)
	}
	if h.PreSkip < 0 || h.PreSkip > 0xffff {
		return fmt.Errorf("%w: pre-skip of %d samples", ErrFormat, h.PreSkip)
	}
	return nil
}

func (h Head) bytes() []byte {
	b := append(make([]byte, 0, 19), "OpusHead\x01"...)
	b = append(b, byte(h.Channels))
	b = binary.LittleEndian.AppendUint16(b, uint16(h.PreSkip))
	b = binary.LittleEndian.AppendUint32(b, uint32(h.InputRate))
	return append(b, 0, 0, 0) // output gain 0 dB, mapping family 0
}

func parseHead(b []byte) (Head, error) {
	if len(b) < 19 || string(b[:8]) != "OpusHead" {
		return Head{}, fmt.Errorf("%w: no OpusHead", ErrFormat)
	}
	if b[8]>>4 != 0 {
		return Head{}, fmt.Errorf("%w: OpusHead version %d", ErrFormat, b[8])
	}
	if b[18] != 0 {
		return Head{}, fmt.Errorf("%w: channel mapping family %d", ErrFormat, b[18])
	}
	h := Head{
		Channels:  int(b[9]),
		PreSkip:   int(binary.LittleEndian.Uint16(b[10:])),
		InputRate: int(binary.LittleEndian.Uint32(b[12:])),
	}
	return h, h.check()
}

func (t Tags) bytes() []byte {
	b := append([]byte(nil), "OpusTags"...)
	b = appendString(b, t.Vendor)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Comments)))
	for _, c := range t.Comments {
		b = appendString(b, c)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
}

func parseTags(b []byte) (Tags, error) {
	var t Tags
	if len(b) < 8 || string(b[:8]) != "OpusTags" {
		return t, fmt.Errorf("%w: no OpusTags", ErrFormat)
	}
	b = b[8:]
	vendor, b, ok := cutString(b)
	if !ok || len(b) < 4 {
		return t, fmt.Errorf("%w: OpusTags cut short", ErrFormat)
	}
	t.Vendor = vendor
	n := binary.LittleEndian.Uint32(b)
	b = b[4:]
	for range n {
		var c string
		if c, b, ok = cutString(b); !ok {
			return t, fmt.Errorf("%w: OpusTags cut short", ErrFormat)
		}
		t.Comments = append(t.Comments, c)
	}
	return t, nil
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 4 {
		return "", b, false
	}
	n := binary.LittleEndian.Uint32(b)
	b = b[4:]
	if uint64(n) > uint64(len(b)) {
		return "", b, false
	}
	return string(b[:n]), b[n:], true
}

// crcTable is that of the polynomial 0x04c11db7, most significant bit first
// (RFC 3533 section 6); it is never changed.
var crcTable = makeCRC()

func makeCRC() *[256]uint32 {
	var t [256]uint32
	for i := range t {
		r := uint32(i) << 24
		for range 8 {
			if r&0x80000000 != 0 {
				r = r<<1 ^ 0x04c11db7
			} else {
				r <<= 1
			}
		}
		t[i] = r
	}
	return &t
}

func crc(sum uint32, b []byte) uint32 {
	for _, c := range b {
		sum = sum<<8 ^ crcTable[byte(sum>>24)^c]
	}
	return sum
}

// PacketSamples is an Opus packet's length in samples at 48 kHz, from its TOC
// byte and frame count (RFC 6716 section 3.1 and 3.2). It checks no more of
// the packet than that.
func PacketSamples(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, fmt.Errorf("%w: empty Opus packet", ErrFormat)
	}
	frames := 2
	switch p[0] & 3 {
	case 0:
		frames = 1
	case 3:
		if len(p) < 2 {
			return 0, fmt.Errorf("%w: Opus packet without its frame count", ErrFormat)
		}
		frames = int(p[1] & 0x3f)
	}
	n := frames * frameSamples(p[0]>>3)
	if frames == 0 || n > 5760 {
		return 0, fmt.Errorf("%w: Opus packet of %d frames", ErrFormat, frames)
	}
	return n, nil
}

// frameSamples is the frame length of a TOC configuration, 0 to 31.
func frameSamples(config byte) int {
	switch {
	case config < 12: // SILK: 10, 20, 40, 60 ms
		return [4]int{480, 960, 1920, 2880}[config&3]
	case config < 16: // hybrid: 10, 20 ms
		return [2]int{480, 960}[config&1]
	default: // CELT: 2.5, 5, 10, 20 ms
		return 120 << (config & 3)
	}
}
