package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"siprecd/media/ogg"
	"siprecd/store/journal"
	"siprecd/store/seal"
)

// frameSamples is the length of every packet, 20 ms at 48 kHz.
const frameSamples = 960

// segmentName is the file name of a segment.
func segmentName(seq int) string { return fmt.Sprintf("%06d.opus.age", seq) }

// cutting is the arithmetic of segments. Packet n of a call holds samples
// n*960-PreSkip onwards, so with P packets a segment, segment k covers
//
//	start(k) = k*P*960 - PreSkip    (k > 0; start(0) = 0)
//	end(k)   = start(k+1)           or the call's length for the last one
//
// and plays exactly that: segment 0 skips PreSkip, a later one begins 4 packets
// early and skips 4*960 = 3840.
type cutting struct{ per, preSkip int }

func (c cutting) start(seq int) int64 {
	if seq == 0 {
		return 0
	}
	return int64(seq*c.per)*frameSamples - int64(c.preSkip)
}

// length is how many samples so many packets play.
func (c cutting) length(packets int) int64 {
	return max(0, int64(packets)*frameSamples-int64(c.preSkip))
}

// segments is how many segments so many packets make.
func (c cutting) segments(packets int) int { return (packets + c.per - 1) / c.per }

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

// run is the packets of one segment, ready to be written.
type run struct {
	preRoll [][]byte // 4 for a segment after the first, else none
	packets [][]byte
	missing []journal.Range // call packet numbers that were filled
}

// layRun takes packets from..to of the call from what the journal holds and
// fills what is missing.
func layRun(c journal.Content, from, to int) run {
	var r run
	var like []byte
	for _, p := range c.Packets {
		if len(p) > 0 {
			like = p
			break
		}
	}
	at := func(n int) []byte {
		if i := n - c.First; i >= 0 && i < len(c.Packets) && len(c.Packets[i]) > 0 {
			like = c.Packets[i]
			return like
		}
		return nil
	}
	if from > 0 {
		for n := from - journal.PreRoll; n < from; n++ {
			p := at(n)
			if p == nil {
				p = filler(like)
			}
			r.preRoll = append(r.preRoll, p)
		}
	}
	for n := from; n < to; n++ {
		p := at(n)
		if p == nil {
			p = filler(like)
			if k := len(r.missing); k > 0 && r.missing[k-1].To == n {
				r.missing[k-1].To++
			} else {
				r.missing = append(r.missing, journal.Range{From: n, To: n + 1})
			}
		}
		r.packets = append(r.packets, p)
	}
	return r
}

// encode writes the run as an Ogg Opus file in an age file. Samples is what
// shall play.
func (r run) encode(s *state, id [16]byte, seq int, samples int64) ([]byte, error) {
	var out bytes.Buffer
	w, err := seal.EncryptTo(&out, s.Recipient)
	if err != nil {
		return nil, err
	}
	preSkip := s.PreSkip
	if seq > 0 {
		preSkip = journal.PreRoll * frameSamples
	}
	head := ogg.Head{Channels: s.Channels, PreSkip: preSkip, InputRate: s.Rate}
	o, err := ogg.NewWriter(w, head, serial(id, seq), tags(id, s.Channels))
	if err != nil {
		return nil, fmt.Errorf("begin ogg: %w", err)
	}
	for _, p := range append(r.preRoll, r.packets...) {
		if err := o.WritePacket(p, frameSamples); err != nil {
			return nil, fmt.Errorf("write ogg: %w", err)
		}
	}
	if err := o.Close(samples); err != nil {
		return nil, fmt.Errorf("end ogg: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("end age file: %w", err)
	}
	return out.Bytes(), nil
}

// serial is the Ogg stream's serial number; it differs between segments so
// that they may also be chained.
func serial(id [16]byte, seq int) uint32 {
	return binary.BigEndian.Uint32(id[12:]) + uint32(seq)
}

// tags go into the Opus header: no names, no numbers.
func tags(id [16]byte, channels int) ogg.Tags {
	t := ogg.Tags{Vendor: "siprecd", Comments: []string{"RECORDING_ID=" + idString(id)}}
	for _, c := range manifestChannels(channels) {
		t.Comments = append(t.Comments, fmt.Sprintf("CHANNEL_%s=%s", strings.ToUpper(c.Name), c.Role))
	}
	return t
}
