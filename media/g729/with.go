//go:build g729

package g729

/*
#cgo LDFLAGS: -lbcg729
#include <stdint.h>
#include <bcg729/decoder.h>
*/
import "C"

import (
	"errors"
	"runtime"
	"unsafe"
)

// Available says whether this build decodes G.729.
const Available = true

// Decoder is one stream's. It belongs to one goroutine.
type Decoder struct {
	c *C.bcg729DecoderChannelContextStruct
}

// New makes a decoder. The library's memory goes when the decoder does.
func New() *Decoder {
	d := &Decoder{c: C.initBcg729DecoderChannel()}
	runtime.AddCleanup(d, func(c *C.bcg729DecoderChannelContextStruct) { C.closeBcg729DecoderChannel(c) }, d.c)
	return d
}

var errLength = errors.New("g729: payload and audio do not fit")

// Decode fills dst, 80 samples of 8 kHz a frame, with a payload's audio.
func (d *Decoder) Decode(dst []int16, payload []byte) error {
	for len(payload) > 0 {
		n := min(FrameBytes, len(payload))
		if n != FrameBytes && n != NoiseBytes || len(dst) < FrameSamples {
			return errLength
		}
		noise := C.uint8_t(0)
		if n == NoiseBytes {
			noise = 1
		}
		C.bcg729Decoder(d.c, (*C.uint8_t)(unsafe.Pointer(&payload[0])), C.uint8_t(n), 0, noise, 0, (*C.int16_t)(unsafe.Pointer(&dst[0])))
		payload, dst = payload[n:], dst[FrameSamples:]
	}
	clear(dst)
	return nil
}

// Conceal fills dst with what may have been there.
func (d *Decoder) Conceal(dst []int16, _ []byte) error {
	var none [FrameBytes]byte
	for len(dst) > 0 {
		var frame [FrameSamples]int16
		C.bcg729Decoder(d.c, (*C.uint8_t)(unsafe.Pointer(&none[0])), 0, 1, 0, 0, (*C.int16_t)(unsafe.Pointer(&frame[0])))
		dst = dst[copy(dst, frame[:]):]
	}
	return nil
}
