package media

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Both laws give what ffmpeg and sox give, for every code.
func TestLawsAgainstReference(t *testing.T) {
	codes := make([]byte, 256)
	for i := range codes {
		codes[i] = byte(i)
	}
	for _, c := range []struct {
		law  *law
		name string
		cmd  []string
	}{
		{muLaw, "mu-law", []string{"ffmpeg", "-v", "error", "-f", "mulaw", "-ar", "8000", "-i", "-", "-f", "s16le", "-"}},
		{aLaw, "A-law", []string{"ffmpeg", "-v", "error", "-f", "alaw", "-ar", "8000", "-i", "-", "-f", "s16le", "-"}},
		{muLaw, "mu-law", []string{"sox", "-t", "ul", "-r", "8000", "-c", "1", "-", "-t", "s16", "-L", "-"}},
		{aLaw, "A-law", []string{"sox", "-t", "al", "-r", "8000", "-c", "1", "-", "-t", "s16", "-L", "-"}},
	} {
		cmd := exec.Command(c.cmd[0], c.cmd[1:]...)
		cmd.Stdin = bytes.NewReader(codes)
		out, err := cmd.Output()
		if err != nil || len(out) != 512 {
			t.Fatalf("%s: %v, %d bytes", c.cmd[0], err, len(out))
		}
		for i, got := range c.law {
			if want := int16(binary.LittleEndian.Uint16(out[2*i:])); got != want {
				t.Errorf("%s code %d: %d, %s says %d", c.name, i, got, c.cmd[0], want)
			}
		}
	}
}

// The library takes a slice's capacity for its length, so nothing but opus.go
// may call it.
func TestOpusIsCalledInOnePlace(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() == "opus.go" || !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte(`hraban/opus"`)) {
			t.Errorf("%s calls libopus", f.Name())
		}
	}
	text, err := os.ReadFile("opus.go")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, ".Encode(") && strings.Count(line, ":") < 5 {
			t.Errorf("not a three-index slice: %s", line)
		}
	}
}

func TestEncoderStaysInItsBuffer(t *testing.T) {
	e, err := newEncoder(48000, 2, 510000, 10)
	if err != nil {
		t.Fatal(err)
	}
	var bufs [2][maxPacket]byte
	for i := range bufs[1] {
		bufs[1][i] = 0xaa
	}
	pcm := make([]int16, 1920)
	for i := range pcm {
		pcm[i] = int16(i * 7919)
	}
	p, err := e.encode(pcm, &bufs[0])
	if err != nil || len(p) == 0 || cap(p) != len(p) {
		t.Fatalf("%d bytes, capacity %d, %v", len(p), cap(p), err)
	}
	for _, b := range bufs[1] {
		if b != 0xaa {
			t.Fatal("wrote beyond the buffer")
		}
	}
}
