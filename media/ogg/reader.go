package ogg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxSpan bounds a packet that runs over several pages.
const maxSpan = 1 << 18

// Packet is one Opus packet of a file.
type Packet struct {
	Data    []byte // good until the next call of Next
	Samples int    // length at 48 kHz
	End     int64  // granule position of its end, before any end trim
}

// Reader reads one Ogg Opus file.
type Reader struct {
	r       io.Reader
	head    Head
	tags    Tags
	serial  uint32
	page    uint32 // number of the next page
	offset  int64  // bytes read
	buf     []byte // body of the current page
	lacing  []byte // what is left of its lacing values
	flags   byte
	granule int64 // of the current page
	span    []byte
	queue   []Packet // packets that end on the current page
	end     int64    // granule position that the packets so far add up to
	audio   bool     // past the first audio page
	done    bool
}

// NewReader reads the two headers.
func NewReader(r io.Reader) (*Reader, error) {
	o := &Reader{r: r}
	if err := o.nextPage(); err != nil {
		return nil, noEOF(err)
	}
	if o.flags&flagBegin == 0 {
		return nil, fmt.Errorf("%w: first page is not marked so", ErrFormat)
	}
	head, err := o.header()
	if err != nil {
		return nil, err
	}
	if o.head, err = parseHead(head); err != nil {
		return nil, err
	}
	tags, err := o.header()
	if err != nil {
		return nil, err
	}
	if o.tags, err = parseTags(tags); err != nil {
		return nil, err
	}
	return o, nil
}

// Head is the file's OpusHead.
func (o *Reader) Head() Head { return o.head }

// Tags are the file's OpusTags.
func (o *Reader) Tags() Tags { return o.tags }

// Total is the number of samples (48 kHz) that the packets read so far play:
// pre-skip taken off, and the end trim too once Next has returned io.EOF.
func (o *Reader) Total() int64 {
	end := o.end
	if o.done {
		end = min(end, o.granule)
	}
	return max(0, end-int64(o.head.PreSkip))
}

// Next returns the next packet; io.EOF after a proper end. Any other error
// wraps ErrChecksum, ErrTruncated, ErrSequence or ErrFormat, or comes from the
// underlying reader, and says where the file is at fault; packets of earlier
// pages were good.
func (o *Reader) Next() (Packet, error) {
	for len(o.queue) == 0 {
		if o.done {
			return Packet{}, io.EOF
		}
		if o.audio && o.flags&flagEnd != 0 {
			return Packet{}, o.finish()
		}
		if err := o.nextPage(); err != nil {
			return Packet{}, noEOF(err)
		}
		if err := o.audioPage(); err != nil {
			return Packet{}, err
		}
	}
	p := o.queue[0]
	o.queue = o.queue[1:]
	o.end = p.End
	return p, nil
}

// finish checks that nothing follows the last page.
func (o *Reader) finish() error {
	if len(o.span) > 0 {
		return fmt.Errorf("%w: last packet is not whole (byte %d)", ErrTruncated, o.offset)
	}
	var one [1]byte
	if n, _ := io.ReadFull(o.r, one[:]); n != 0 {
		return fmt.Errorf("%w: data after the last page (byte %d)", ErrFormat, o.offset)
	}
	o.done = true
	return io.EOF
}

// header returns the next packet, across pages, while headers are read. A
// header must end its page (RFC 7845 section 3).
func (o *Reader) header() ([]byte, error) {
	for {
		if len(o.lacing) == 0 {
			if err := o.nextPage(); err != nil {
				return nil, noEOF(err)
			}
		}
		p, whole, err := o.cut()
		if err != nil {
			return nil, err
		}
		if whole {
			if len(o.lacing) != 0 {
				return nil, fmt.Errorf("%w: header shares its page (byte %d)", ErrFormat, o.offset)
			}
			return append([]byte(nil), p...), nil
		}
	}
}

// audioPage queues the packets that end on the current page and counts back
// from its granule position to give each of them its own.
func (o *Reader) audioPage() error {
	first := !o.audio
	o.audio = true
	o.queue = o.queue[:0]
	total := int64(0)
	for len(o.lacing) > 0 {
		p, whole, err := o.cut()
		if err != nil {
			return err
		}
		if !whole {
			break
		}
		n, err := PacketSamples(p)
		if err != nil {
			return fmt.Errorf("%w (page %d)", err, o.page-1)
		}
		total += int64(n)
		o.queue = append(o.queue, Packet{Data: p, Samples: n})
	}
	start := o.end
	last := o.flags&flagEnd != 0
	if first && !last && len(o.queue) > 0 {
		start = o.granule - total // a stream may be cut from a longer one
	}
	if err := o.checkGranule(start, total, last); err != nil {
		return err
	}
	for i := range o.queue {
		start += int64(o.queue[i].Samples)
		o.queue[i].End = start
	}
	return nil
}

func (o *Reader) checkGranule(start, total int64, last bool) error {
	if len(o.queue) == 0 {
		if last && o.granule == noGranule {
			o.granule = start
		}
		if o.granule == noGranule || last && o.granule == start {
			return nil
		}
		return fmt.Errorf("%w: granule position %d on page %d, where no packet ends", ErrFormat, o.granule, o.page-1)
	}
	end := start + total
	switch {
	case start < 0, o.granule < start, o.granule > end, !last && o.granule != end:
		return fmt.Errorf("%w: granule position %d on page %d, packets end at %d", ErrFormat, o.granule, o.page-1, end)
	}
	return nil
}

// cut takes a packet off the current page; not whole if it goes on on the next.
func (o *Reader) cut() (p []byte, whole bool, err error) {
	n, i := 0, 0
	for i < len(o.lacing) && !whole {
		n += int(o.lacing[i])
		whole = o.lacing[i] < 255
		i++
	}
	p, o.buf, o.lacing = o.buf[:n:n], o.buf[n:], o.lacing[i:]
	if whole && len(o.span) == 0 {
		return p, true, nil
	}
	if len(o.span)+n > maxSpan {
		return nil, false, fmt.Errorf("%w: packet of more than %d bytes", ErrFormat, maxSpan)
	}
	o.span = append(o.span, p...)
	if whole {
		p, o.span = o.span, nil
	}
	return p, whole, nil
}

// nextPage reads and checks a page. io.EOF only if there is not one byte of it.
func (o *Reader) nextPage() error {
	page := make([]byte, pageHeader, pageHeader+255)
	if err := o.fill(page, true); err != nil {
		return err
	}
	if string(page[:5]) != "OggS\x00" {
		return fmt.Errorf("%w: no Ogg page at byte %d", ErrFormat, o.offset-pageHeader)
	}
	segments := int(page[26])
	page = page[:pageHeader+segments]
	if err := o.fill(page[pageHeader:], false); err != nil {
		return err
	}
	size := 0
	for _, l := range page[pageHeader:] {
		size += int(l)
	}
	body := make([]byte, size)
	if err := o.fill(body, false); err != nil {
		return err
	}
	want := binary.LittleEndian.Uint32(page[22:])
	clear(page[22:26])
	if crc(crc(0, page), body) != want {
		return fmt.Errorf("%w (page at byte %d)", ErrChecksum, o.offset-int64(len(page)+size))
	}
	o.lacing, o.buf = page[pageHeader:], body
	return o.order(page)
}

// order checks that the page belongs where it stands.
func (o *Reader) order(page []byte) error {
	serial, number := binary.LittleEndian.Uint32(page[14:]), binary.LittleEndian.Uint32(page[18:])
	if o.page == 0 {
		o.serial = serial
	}
	if serial != o.serial {
		return fmt.Errorf("%w: page of another stream before byte %d", ErrFormat, o.offset)
	}
	if number != o.page {
		return fmt.Errorf("%w: page %d where %d was due (before byte %d)", ErrSequence, number, o.page, o.offset)
	}
	o.page++
	o.flags = page[5]
	o.granule = int64(binary.LittleEndian.Uint64(page[6:]))
	if cont := o.flags&flagContinue != 0; cont != (len(o.span) > 0) {
		return fmt.Errorf("%w: page %d does not fit the packet before it", ErrFormat, number)
	}
	return nil
}

// fill reads exactly len(b) bytes.
func (o *Reader) fill(b []byte, first bool) error {
	n, err := io.ReadFull(o.r, b)
	o.offset += int64(n)
	switch {
	case err == nil:
		return nil
	case first && n == 0 && errors.Is(err, io.EOF):
		return io.EOF
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: within a page, at byte %d", ErrTruncated, o.offset)
	default:
		return fmt.Errorf("read an Ogg page: %w", err)
	}
}

// noEOF turns a plain end of file where a page was due into a fault.
func noEOF(err error) error {
	if err == io.EOF {
		return fmt.Errorf("%w: no last page", ErrTruncated)
	}
	return err
}
