package ogg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxPacket is the longest packet that fits on one page.
const maxPacket = maxSegments*255 - 1

// Writer writes one Ogg Opus file.
type Writer struct {
	w       io.Writer
	head    Head
	serial  uint32
	page    uint32 // number of the next page
	body    []byte
	lacing  []byte
	out     []byte
	held    int   // samples on the page being filled
	granule int64 // samples of all packets so far
	last    int64 // granule of the last page written
	closed  bool
}

// NewWriter writes the two header pages. serial tells this stream from others
// that may be joined to it; any number will do.
func NewWriter(w io.Writer, head Head, serial uint32, tags Tags) (*Writer, error) {
	if err := head.check(); err != nil {
		return nil, err
	}
	o := &Writer{w: w, head: head, serial: serial}
	if err := o.add(head.bytes()); err != nil {
		return nil, err
	}
	if err := o.flush(flagBegin, 0); err != nil {
		return nil, err
	}
	if err := o.add(tags.bytes()); err != nil {
		return nil, fmt.Errorf("write tags: %w", err)
	}
	if err := o.flush(0, 0); err != nil {
		return nil, err
	}
	return o, nil
}

// WritePacket adds an Opus packet of the given length in samples at 48 kHz. It
// keeps nothing of data. A page goes out when it holds a second or is full and
// another packet comes; the last page is therefore always still open to Close.
func (o *Writer) WritePacket(data []byte, samples int) error {
	if o.closed {
		return errors.New("ogg: packet after close")
	}
	if len(data) == 0 || samples < 0 {
		return fmt.Errorf("ogg: packet of %d bytes and %d samples", len(data), samples)
	}
	if o.held >= second || len(o.lacing)+len(data)/255+1 > maxSegments {
		if err := o.flush(0, o.granule); err != nil {
			return err
		}
	}
	if err := o.add(data); err != nil {
		return err
	}
	o.held += samples
	o.granule += int64(samples)
	return nil
}

// Close writes the last page, so that total samples (48 kHz) play. It cannot
// play more than the packets hold, nor cut off more than the last page: a
// total out of these bounds is brought within them. A negative total plays
// everything. Close does not close the underlying writer.
func (o *Writer) Close(total int64) error {
	if o.closed {
		return nil
	}
	if len(o.lacing) == 0 { // no packet at all: players want one, so give them one of 20 ms and trim it to nothing
		silence := []byte{0x08} // SILK 20 ms, one frame of no bytes
		if o.head.Channels == 2 {
			silence[0] |= 4
		}
		if err := o.WritePacket(silence, 960); err != nil {
			return err
		}
		total = 0
	}
	end := int64(o.head.PreSkip) + total
	if total < 0 {
		end = o.granule
	}
	o.closed = true
	return o.flush(flagEnd, min(o.granule, max(end, o.last)))
}

// add puts a packet on the page being filled.
func (o *Writer) add(data []byte) error {
	if len(data) > maxPacket {
		return fmt.Errorf("ogg: packet of %d bytes, more than %d", len(data), maxPacket)
	}
	o.body = append(o.body, data...)
	for n := len(data); ; n -= 255 {
		if n < 255 {
			o.lacing = append(o.lacing, byte(n))
			return nil
		}
		o.lacing = append(o.lacing, 255)
	}
}

// flush writes the page being filled, if it holds anything.
func (o *Writer) flush(flags byte, granule int64) error {
	if len(o.lacing) == 0 {
		return nil
	}
	b := append(o.out[:0], "OggS\x00"...)
	b = append(b, flags)
	b = binary.LittleEndian.AppendUint64(b, uint64(granule))
	b = binary.LittleEndian.AppendUint32(b, o.serial)
	b = binary.LittleEndian.AppendUint32(b, o.page)
	b = append(b, 0, 0, 0, 0, byte(len(o.lacing)))
	b = append(b, o.lacing...)
	b = append(b, o.body...)
	binary.LittleEndian.PutUint32(b[22:], crc(0, b))
	o.out = b
	o.page++
	o.held, o.last = 0, granule
	o.lacing, o.body = o.lacing[:0], o.body[:0]
	if _, err := o.w.Write(b); err != nil {
		return fmt.Errorf("write an Ogg page: %w", err)
	}
	return nil
}
