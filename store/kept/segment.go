package kept

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"siprecd/media/ogg"
	"siprecd/store/disk"
	"siprecd/store/journal"
	"siprecd/store/seal"
)

// FrameSamples is the length of every packet, 20 ms at 48 kHz.
const FrameSamples = 960

// SegmentName is the file name of a segment.
func SegmentName(seq int) string { return fmt.Sprintf("%06d.opus.age", seq) }

// Cutting is the arithmetic of segments. Packet n of a call holds samples
// n*960-PreSkip onwards, so with P packets a segment, segment k covers
//
//	start(k) = k*P*960 - PreSkip    (k > 0; start(0) = 0)
//	end(k)   = start(k+1)           or the call's length for the last one
//
// and plays exactly that: segment 0 skips PreSkip, a later one begins 4 packets
// early and skips 4*960 = 3840.
type Cutting struct{ Per, PreSkip int }

// Start is where a segment starts, in samples.
func (c Cutting) Start(seq int) int64 {
	if seq == 0 {
		return 0
	}
	return int64(seq*c.Per)*FrameSamples - int64(c.PreSkip)
}

// Length is how many samples so many packets play.
func (c Cutting) Length(packets int) int64 {
	return max(0, int64(packets)*FrameSamples-int64(c.PreSkip))
}

// Segments is how many segments so many packets make.
func (c Cutting) Segments(packets int) int { return (packets + c.Per - 1) / c.Per }

// filler makes a packet that stands for a lost one: the table-of-contents byte
// alone, which decodes as concealment (RFC 6716 section 3.2.1: a frame of
// length zero). It keeps the neighbour's mode and channels.
func filler(like []byte) []byte {
	const silkNarrow20ms = 1 << 3
	if len(like) == 0 {
		return []byte{silkNarrow20ms}
	}
	toc := like[0] &^ 3 // one frame
	if config := toc >> 3; !is20ms(config) {
		toc = silkNarrow20ms | toc&4
	}
	return []byte{toc}
}

// is20ms says whether a configuration has 20 ms frames (RFC 6716 table 2).
func is20ms(config byte) bool {
	switch {
	case config < 12: // SILK: 10, 20, 40, 60 ms
		return config%4 == 1
	case config < 16: // hybrid: 10, 20 ms
		return config%2 == 1
	}
	return config%4 == 3 // CELT: 2.5, 5, 10, 20 ms
}

// Run is the packets of one segment, ready to be written.
type Run struct {
	preRoll [][]byte // 4 for a segment after the first, else none
	packets [][]byte
	Missing []journal.Range // call packet numbers that were filled
}

// Lay takes packets from..to of the call from what the journal holds and
// fills what is missing.
func Lay(c journal.Content, from, to int) Run {
	var r Run
	like := firstOf(c.Packets)
	for n := max(0, from-journal.PreRoll); n < to; n++ {
		var p []byte
		if i := n - c.First; i >= 0 && i < len(c.Packets) {
			p = c.Packets[i]
		}
		switch {
		case len(p) > 0:
			like = p
		case n >= from:
			r.miss(n)
			p = filler(like)
		default:
			p = filler(like)
		}
		if n < from {
			r.preRoll = append(r.preRoll, p)
		} else {
			r.packets = append(r.packets, p)
		}
	}
	return r
}

// firstOf is the first packet that is there.
func firstOf(packets [][]byte) []byte {
	for _, p := range packets {
		if len(p) > 0 {
			return p
		}
	}
	return nil
}

// miss notes that packet n of the call was filled.
func (r *Run) miss(n int) {
	if k := len(r.Missing); k > 0 && r.Missing[k-1].To == n {
		r.Missing[k-1].To++
		return
	}
	r.Missing = append(r.Missing, journal.Range{From: n, To: n + 1})
}

// Coding is how a recording's segments are written.
type Coding struct {
	Recipient string // of the recording's own identity
	Channels  int
	Rate      int // encoder's input rate, Hz
	PreSkip   int // of segment 0, samples at 48 kHz
}

// Encode writes the run as an Ogg Opus file in an age file. Samples is what
// shall play.
func (r Run) Encode(s Coding, id [16]byte, seq int, samples int64) ([]byte, error) {
	var plain bytes.Buffer
	preSkip := s.PreSkip
	if seq > 0 {
		preSkip = journal.PreRoll * FrameSamples
	}
	head := ogg.Head{Channels: s.Channels, PreSkip: preSkip, InputRate: s.Rate}
	o, err := ogg.NewWriter(&plain, head, serial(id, seq), tags(id, s.Channels))
	if err != nil {
		return nil, fmt.Errorf("begin ogg: %w", err)
	}
	for _, p := range append(r.preRoll, r.packets...) {
		if err := o.WritePacket(p, FrameSamples); err != nil {
			return nil, fmt.Errorf("write ogg: %w", err)
		}
	}
	if err := o.Close(samples); err != nil {
		return nil, fmt.Errorf("end ogg: %w", err)
	}
	defer clear(plain.Bytes())
	return seal.SealTo(s.Recipient, plain.Bytes())
}

// serial is the Ogg stream's serial number; it differs between segments so
// that they may also be chained.
func serial(id [16]byte, seq int) uint32 {
	return binary.BigEndian.Uint32(id[12:]) + uint32(seq)
}

// tags go into the Opus header: no names, no numbers.
func tags(id [16]byte, channels int) ogg.Tags {
	t := ogg.Tags{Vendor: "siprecd", Comments: []string{"RECORDING_ID=" + disk.Name(id)}}
	for _, c := range Channels(channels) {
		t.Comments = append(t.Comments, fmt.Sprintf("CHANNEL_%s=%s", strings.ToUpper(c.Name), c.Role))
	}
	return t
}

// Join writes a whole call as one Ogg Opus file: the packets as they were
// encoded, without the segments' pre-rolls, with the true pre-skip and end
// trim. read returns a segment's file, own opens it.
func Join(w io.Writer, m *Manifest, own age.Identity, read func(ManifestSegment) ([]byte, error)) error {
	id, err := disk.ParseName(m.ID)
	if err != nil {
		return err
	}
	head := ogg.Head{Channels: len(m.Channels), PreSkip: m.Codec.PreSkip, InputRate: m.Codec.Rate}
	out, err := ogg.NewWriter(w, head, serial(id, 0), tags(id, len(m.Channels)))
	if err != nil {
		return err
	}
	for _, g := range m.Segments {
		data, err := read(g)
		if err == nil {
			err = copySegment(out, data, g.Seq, own)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", g.File, err)
		}
	}
	return out.Close(m.Samples)
}

// copySegment copies a segment's own packets, without the pre-roll.
func copySegment(out *ogg.Writer, file []byte, seq int, own age.Identity) error {
	plain, err := age.Decrypt(bytes.NewReader(file), own)
	if err != nil {
		return err
	}
	in, err := ogg.NewReader(plain)
	if err != nil {
		return err
	}
	skip := 0
	if seq > 0 {
		skip = journal.PreRoll
	}
	for n := 0; ; n++ {
		p, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n < skip {
			continue
		}
		if err := out.WritePacket(p.Data, FrameSamples); err != nil {
			return err
		}
	}
}
