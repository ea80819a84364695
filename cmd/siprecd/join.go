package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"siprecd/media/ogg"
)

// joiner makes one Opus file of a recording's segments. A segment after the
// first begins with packets of the one before, which its pre-skip tells a
// player to drop: here they are left out.
//
//	segment 0  [pre-skip|p0 p1 … pn]
//	segment 1        [pn-3 … pn|pn+1 …]     joined: p0 p1 … pn pn+1 …
type joiner struct {
	out       *ogg.Writer
	head      ogg.Head
	recording string
	total     int64 // samples at 48 kHz
}

// seconds is the length of what was joined.
func (j *joiner) seconds() float64 { return float64(j.total) / 48000 }

// add appends one segment.
func (j *joiner) add(w io.Writer, p *parcel, name string, own age.Identity) error {
	plain, err := p.open(name, own)
	if err != nil {
		return err
	}
	in, err := ogg.NewReader(plain)
	if err != nil {
		return err
	}
	skip := int64(0)
	if j.out == nil {
		err = j.begin(w, in)
	} else {
		skip, err = j.follows(in)
	}
	if err != nil {
		return err
	}
	for {
		packet, err := in.Next()
		if errors.Is(err, io.EOF) {
			j.total += in.Total()
			return nil
		}
		if err != nil {
			return err
		}
		if packet.End <= skip {
			continue
		}
		if err := j.out.WritePacket(packet.Data, packet.Samples); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
}

func (j *joiner) begin(w io.Writer, in *ogg.Reader) (err error) {
	j.head, j.recording = in.Head(), recordingOf(in.Tags())
	j.out, err = ogg.NewWriter(w, j.head, 1, in.Tags())
	return err
}

// follows says how much of a later segment is a repetition, in samples.
func (j *joiner) follows(in *ogg.Reader) (skip int64, err error) {
	const frame = 960 // 20 ms
	head := in.Head()
	switch {
	case recordingOf(in.Tags()) != j.recording:
		return 0, errors.New("belongs to another recording")
	case head.Channels != j.head.Channels:
		return 0, errors.New("has another number of channels")
	case head.PreSkip == 0 || head.PreSkip%frame != 0:
		return 0, errors.New("is the first segment of a recording: name it first")
	}
	return int64(head.PreSkip), nil
}

func (j *joiner) close() error {
	if err := j.out.Close(j.total); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func recordingOf(tags ogg.Tags) string {
	for _, c := range tags.Comments {
		if id, ok := strings.CutPrefix(c, "RECORDING_ID="); ok {
			return id
		}
	}
	return ""
}

// consecutive refuses a list of segments that leaves one out: the audio would
// be shorter than the call, and nobody would see it.
func consecutive(names []string) error {
	last := -1
	for _, name := range names {
		var seq int
		base := filepath.Base(name)
		if n, err := fmt.Sscanf(base, "%06d.opus.age", &seq); err != nil || n != 1 {
			return nil // renamed: no order to see
		}
		if last >= 0 && seq != last+1 {
			return usagef("%s does not follow %06d: name all segments in their order", base, last)
		}
		last = seq
	}
	return nil
}
