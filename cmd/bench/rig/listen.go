package rig

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"

	"siprecd/siprec/siprectest"
)

// within is how far a channel's level may be from what its party sent, dB:
// calls are cut in mid-conversation.
const within = 3.0

// Listen exports a recording, has ffmpeg decode it, and compares the level of
// each channel with what the party sent.
func (s *Server) Listen(ctx context.Context, id string) (faults []string, err error) {
	file := filepath.Join(s.Dir, "sample.opus")
	if _, err := s.Run(ctx, "export", id, "-o", file, "--force"); err != nil {
		return nil, err
	}
	var errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-i", file, "-f", "s16le", "-ar", "8000", "-")
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("decode with ffmpeg: %w: %s", err, errs.Bytes())
	}
	legs, err := siprectest.Conversation()
	if err != nil {
		return nil, err
	}
	pcm := make([]int16, len(out)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(out[2*i:]))
	}
	for i, name := range []string{"left", "right"} {
		sent, got := level(legs[i].Audio.PCM, 0, 1), level(pcm, i, 2)
		if math.Abs(sent-got) > within {
			faults = append(faults, fmt.Sprintf("%s channel at %.1f dB, sent at %.1f dB", name, got, sent))
		}
	}
	return faults, nil
}

// level is the RMS of every step-th sample from one on, dB below full scale.
func level(pcm []int16, from, step int) float64 {
	sum, n := 1e-9, 0
	for i := from; i < len(pcm); i += step {
		sum += float64(pcm[i]) * float64(pcm[i])
		n++
	}
	return 10 * math.Log10(sum/float64(max(n, 1))/(32768*32768))
}
